package content

import (
	"strings"
	"time"

	"mailweir/filter"
	"mailweir/internal/charset"
	"mailweir/mail"
)

// readHeader reads the facts of a header section in one pass over its fields.
// Where a field is there twice, the first is read, as for display.
func readHeader(tx *filter.Transaction) filter.HeaderFacts {
	r := headerReader{now: time.Now()}
	if tx.Envelope != nil && !tx.Envelope.Arrived.IsZero() {
		r.now = tx.Envelope.Arrived
	}
	for _, f := range tx.Header.Fields {
		r.field(f)
	}
	h := &r.facts
	h.Mixed = disguises(h)
	if h.HasTrace = h.HasDate && !r.trace.IsZero(); h.HasTrace {
		h.TraceOffset = int64(r.date.Sub(r.trace) / time.Second)
	}
	return *h
}

// disguises counts the words in Subject and From that are not what they seem.
func disguises(h *filter.HeaderFacts) int {
	var t text
	t.add([]byte(h.Subject))
	for _, a := range h.From {
		t.space()
		t.add([]byte(a.Name))
	}
	return t.mixed + t.invisible
}

type headerReader struct {
	facts filter.HeaderFacts
	now   time.Time
	date  time.Time
	trace time.Time // of the topmost Received field
	seen  uint64    // bits of read
}

func (r *headerReader) field(f mail.Field) {
	name := strings.ToLower(f.Name())
	if name == "" {
		return
	}
	h := &r.facts
	if len(name) > filter.MaxFact {
		name = name[:filter.MaxFact]
	}
	if len(h.Names) < filter.MaxNames {
		h.Names = append(h.Names, name)
	}
	if name == "received" {
		h.Hops++
	}
	bit := read[name]
	if bit == 0 || r.seen&bit != 0 {
		return
	}
	r.seen |= bit
	r.first(name, f)
}

// read are the fields whose value is read, a bit each, so that only the first
// of each is: however many thousand there are.
var read = func() map[string]uint64 {
	names := append([]string{
		"received", "from", "reply-to", "to", "cc", "sender", "subject", "message-id", "list-id", "date",
	}, filter.KeptFields...)
	m := make(map[string]uint64, len(names))
	for i, name := range names {
		m[name] = 1 << i
	}
	return m
}()

// first reads the first field of a name.
func (r *headerReader) first(name string, f mail.Field) {
	h := &r.facts
	switch name {
	case "received":
		r.received(f.Value())
	case "from":
		h.From = ParseAddresses(f.Value())
	case "reply-to":
		h.ReplyTo = ParseAddresses(f.Value())
	case "to":
		h.To = ParseAddresses(f.Value())
	case "cc":
		h.Cc = ParseAddresses(f.Value())
	case "sender":
		h.Sender = ParseAddresses(f.Value())
	case "subject":
		h.Subject = clip(charset.DecodeWords(f.Value()))
	case "message-id":
		h.MessageID = clip(f.Value())
	case "list-id":
		h.ListID = clip(f.Value())
	case "date":
		r.readDate(f.Value())
	default:
		r.keep(name, f)
	}
}

func (r *headerReader) keep(name string, f mail.Field) {
	h := &r.facts
	value := clip(charset.DecodeWords(f.Value()))
	if h.Values == nil {
		h.Values = make(map[string]string)
	}
	h.Values[name] = value
	if h.Mailer == "" && (name == "x-mailer" || name == "user-agent") {
		h.Mailer = value
	}
}

func (r *headerReader) readDate(s string) {
	t, ok := parseDate(s)
	if !ok {
		return
	}
	r.date = t
	r.facts.HasDate = true
	r.facts.DateOffset = int64(t.Sub(r.now) / time.Second)
}

// received takes the date after the last ";" (RFC 5321 section 4.4).
func (r *headerReader) received(s string) {
	i := strings.LastIndexByte(s, ';')
	if i < 0 {
		return
	}
	if t, ok := parseDate(s[i+1:]); ok {
		r.trace = t
	}
}

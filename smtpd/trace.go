package smtpd

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"mailweir/filter"
	"mailweir/filter/authres"
	"mailweir/filter/effect"
	"mailweir/filter/privacy"
	"mailweir/internal/dkimcore"
	"mailweir/mail"
)

// heads makes the header sections of one message: one for each class of
// recipients that need a different one.
type heads struct {
	tx    *transaction
	j     *filter.Judgement
	body  mail.Content
	hash  *dkimcore.BodyHash
	sign  signing
	list  [][]byte
	keys  []headKey
	edits []privacy.Edit
	done  map[int][]effect.Effect // on the header section, by view of the judgement
	// signed are the names of the keys of our DKIM signatures.
	signed []string
	err    error // the body could not be read to be signed
	memory *headMemory
}

// headKey is all that a recipient's header section depends on.
type headKey struct {
	redact   privacy.Class
	signed   string
	flagged  bool
	required float64
	view     int       // of the judgement: symbols, and what rules want
	sentOn   mail.Path // the recipient in whose place, or beside whom, it is relayed; "" for himself
}

func newHeads(tx *transaction, j *filter.Judgement, body mail.Content) *heads {
	return &heads{tx: tx, j: j, body: body, sign: newSigning(tx.s.set.Signer, &tx.env.Client, j)}
}

// index is the header section for recipient k, or in his place for others.
func (h *heads) index(k int, v filter.Verdict, action filter.Action, sentOn mail.Path) int {
	d := h.tx.domains[k]
	key := headKey{d.Redact, d.SignedFields, flagged(v, action), v.Required, h.j.View(k), sentOn}
	for k, have := range h.keys {
		if have == key {
			return k
		}
	}
	h.list = append(h.list, h.build(key, v))
	h.keys = append(h.keys, key)
	return len(h.list) - 1
}

// flagged tells what goes out with X-Spam-Flag: what has lost an attachment is
// no spam by that alone.
func flagged(v filter.Verdict, action filter.Action) bool {
	return action != filter.Accept && (action != filter.Strip || v.Score >= v.Required)
}

// report keeps what redaction did: once for each class, not for each head.
func (h *heads) report(key headKey, edits []privacy.Edit) {
	for _, have := range h.keys {
		if have.redact == key.redact && have.signed == key.signed {
			return
		}
	}
	if h.edits == nil {
		h.edits = slices.Clip(edits)
		return
	}
	h.edits = append(h.edits, edits...)
}

// build puts our fields on top of what came. Redaction goes first, since it
// needs the header section that the signatures were verified on.
func (h *heads) build(key headKey, v filter.Verdict) []byte {
	set := h.tx.s.set
	client := h.tx.env.Client
	client.Name = h.j.Facts.Client.Name
	if h.memory == nil {
		h.memory = headMemories.Get().(*headMemory)
	}
	o := set.Redaction(key.redact, key.signed, &client)
	o.Memory = h.memory.redacted
	header := h.j.Header
	result := privacy.Redact(header, h.j.Facts.DKIM, o)
	if result.Head != nil {
		h.memory.redacted = result.Head
		header = &h.memory.header
		header.Parse(result.Head)
	}
	h.report(key, result.Edits)
	edited := effect.Edit(header, h.j.Header, h.j.Facts.DKIM, h.j.Facts.Header.Subject, v.Acts)
	header = edited.Header
	if len(edited.Effects) > 0 {
		if h.done == nil {
			h.done = map[int][]effect.Effect{}
		}
		h.done[key.view] = edited.Effects
	}
	change := change{result.Edits, edited.Changed}
	hide := o.HidesClient()
	b := h.room(len(header.Raw) + 1024)
	if client.Outbound { // strangers need not know how we judge our own mail
		fields := appendMissing(nil, h.tx, header)
		if len(fields) > 0 {
			complete := mail.ParseHeader(append(fields, header.Raw...))
			header = &complete
		}
		b = h.appendTrace(b, key, client.Name, hide)
		b = h.signatures(b, header, change)
		return appendForeign(b, header, set.Hostname)
	}
	results := authres.Options{Redact: hide, UTF8: h.tx.env.UTF8}
	b = h.seal(b, header, result.Edits, results)
	b = authres.Append(b, set.Hostname, h.j.Facts.Auth, results)
	b = appendSpam(b, h.j.Views[key.view], v, key.flagged)
	if set.ReceivedSPF && !hide {
		b = appendReceivedSPF(b, h.j.Facts, set.Hostname)
	}
	b = h.appendTrace(b, key, client.Name, hide)
	b = h.signatures(b, header, change)
	return appendForeign(b, header, set.Hostname)
}

// headMemory is what header sections are made in. It serves the next message when
// this one is stored.
type headMemory struct {
	redacted []byte
	header   mail.Header // of redacted
	first    []byte      // the first section; others, if there are any, have memory of their own
}

var headMemories = sync.Pool{New: func() any { return new(headMemory) }}

// maxHeadMemory bounds the header sections whose memory is used again.
const maxHeadMemory = 16 << 10

// room is an empty slice with room for n octets.
func (h *heads) room(n int) []byte {
	if len(h.list) > 0 {
		return make([]byte, 0, n)
	}
	h.memory.first = slices.Grow(h.memory.first[:0], n)
	return h.memory.first
}

// release gives memory back. The message is stored, or never will be.
func (h *heads) release() {
	if m := h.memory; m != nil && cap(m.first) <= maxHeadMemory && cap(m.redacted) <= maxHeadMemory {
		headMemories.Put(m)
	}
	h.memory = nil
}

// appendTrace tells of our part of the way.
func (h *heads) appendTrace(b []byte, key headKey, name string, hide bool) []byte {
	if key.sentOn != "" {
		b = h.tx.s.set.Marks.Append(b, h.j.Header, key.sentOn)
	}
	return appendReceived(b, h.tx, name, hide)
}

// Redaction is what is to be redacted of a client's message for a class.
func (set *Settings) Redaction(class privacy.Class, signed string, client *mail.Client) privacy.Options {
	return privacy.Options{
		Class: class, OwnNetworks: set.OwnNetworks, SignedFields: signed,
		ClientOwn: client.Own, Client: *client, Authserv: set.Hostname, Submitted: client.Outbound,
	}
}

// dateFormat is the date-time of RFC 5322 section 3.3.
const dateFormat = time.RFC1123Z

// ownFields are ours alone: copies that come in are removed, or a sender could
// speak for us.
var ownFields = []string{"X-Spam-Status", "X-Spam-Score", "X-Spam-Flag"}

// appendForeign copies what came, without forgeries of our own fields.
func appendForeign(b []byte, header *mail.Header, authserv string) []byte {
	if len(header.Fields) > 0 && header.Fields[0].Name() == "" {
		// What came begins with its body, or with a line that would continue
		// our last field: an empty line keeps the two apart.
		b = append(b, "\r\n"...)
	}
	size := 0
	for _, f := range header.Fields {
		size += len(f.Raw)
		if !forged(f, authserv) {
			b = append(b, f.Raw...)
		}
	}
	return append(b, header.Raw[size:]...) // the empty line, where there is one
}

func forged(f mail.Field, authserv string) bool {
	for _, name := range ownFields {
		if f.Is(name) {
			return true
		}
	}
	return authres.Forged(f, authserv)
}

// appendReceived adds our trace field (RFC 5321 section 4.4). Under a
// redacting class it names no client, but it still counts as a hop.
func appendReceived(b []byte, tx *transaction, name string, hide bool) []byte {
	c := &tx.env.Client
	b = append(b, "Received: from "...)
	if hide {
		b = append(b, "redacted.invalid"...)
	} else {
		b = appendClient(b, c, name)
	}
	b = append(b, "\r\n\tby "...)
	b = append(b, tx.s.set.Hostname...)
	b = append(b, " (Mailweir) with "...)
	b = append(b, c.Protocol(tx.env.UTF8)...)
	b = append(b, " id "...)
	b = tx.env.ID.AppendTo(b)
	if c.TLS.Version != "" {
		b = append(b, "\r\n\t(version="...)
		b = append(b, c.TLS.Version...)
		b = append(b, " cipher="...)
		b = append(b, c.TLS.Cipher...)
		b = append(b, ')')
	}
	if r := tx.env.Recipients; len(r) == 1 { // more would tell them of each other
		b = append(b, "\r\n\tfor <"...)
		b = append(b, r[0].Path...)
		b = append(b, '>')
	}
	b = append(b, ";\r\n\t"...)
	b = tx.env.Arrived.AppendFormat(b, dateFormat)
	return append(b, "\r\n"...)
}

// appendClient is "helo (name [address])".
func appendClient(b []byte, c *mail.Client, name string) []byte {
	helo := c.Helo
	if !mail.ValidDomain(helo, false) {
		helo = "unknown"
	}
	b = append(b, helo...)
	b = append(b, " ("...)
	if !mail.ValidDomain(name, false) {
		name = "unknown"
	}
	b = append(b, name...)
	if c.Addr.IsValid() {
		b = append(b, " ["...)
		if c.Addr.Is6() {
			b = append(b, "IPv6:"...)
		}
		b = c.Addr.AppendTo(b)
		b = append(b, ']')
	}
	return append(b, ')')
}

// appendSpam adds the fields that mail stores and Sieve scripts look at.
func appendSpam(b []byte, symbols []filter.Symbol, v filter.Verdict, flagged bool) []byte {
	word := "No"
	if flagged {
		word = "Yes"
		b = append(b, "X-Spam-Flag: YES\r\n"...)
	}
	b = append(b, "X-Spam-Score: "...)
	b = appendScore(b, v.Score)
	b = append(b, "\r\nX-Spam-Status: "...)
	b = append(b, word...)
	b = append(b, ", score="...)
	b = appendScore(b, v.Score)
	b = append(b, " required="...)
	b = appendScore(b, v.Required)
	b = append(b, "\r\n\t"...)
	line := len(b)
	b = append(b, "tests=["...)
	first := true
	for _, s := range symbols {
		if s.Shadow() { // a draft is nothing to filter on
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		// Filters look for a test with one regexp on one line: folded only
		// before the line limit (998 octets, RFC 5322 section 2.1.1).
		if len(b)-line+len(s.Name) > 900 {
			b = append(b, "\r\n\t"...)
			line = len(b)
		}
		b = append(b, s.Name...)
		b = append(b, '=')
		b = appendScore(b, s.Score)
	}
	return append(b, "]\r\n"...)
}

// appendScore writes a score with one decimal, or two where they matter.
func appendScore(b []byte, v float64) []byte {
	v = math.Round(v*100) / 100
	if v == 0 {
		v = 0 // no "-0.0"
	}
	b = strconv.AppendFloat(b, v, 'f', 2, 64)
	return bytes.TrimSuffix(b, []byte("0"))
}

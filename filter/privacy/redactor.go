package privacy

import (
	"bytes"
	"net/netip"
	"slices"

	"mailweir/filter"
	"mailweir/mail"
)

// redactor is the state of one Redact.
type redactor struct {
	header  *mail.Header
	dkim    []filter.DKIMFacts
	options Options

	hops []hopAt // Received fields to redact, in order
	hop  client  // what the from-clause of the field at work told
	seen client  // what all of them told; see learnHops
	// learned is set when seen is filled: few messages have a field to use it on.
	learned bool
	// ownOrigin is set when the class reaches all hops, the first one included.
	ownOrigin bool

	signed    signed
	hasSigned bool // signed is made

	out    []byte // nil until the first change
	copied int    // fields before this one are in out
	body   []byte // scratch: the new body of a field
	edits  []Edit
}

// hopAt is a Received that the class reaches.
type hopAt struct {
	field int
	clauses
}

// trace finds the Received fields that the class reaches.
func (r *redactor) trace() {
	for i, f := range r.header.Fields {
		if !f.Is("Received") {
			continue
		}
		b := f.Body()
		c := parseReceived(b)
		if r.options.Class == Own && !r.inRun(b, c) {
			return
		}
		r.hops = append(r.hops, hopAt{i, c})
	}
	r.ownOrigin = true
}

// learnHops takes from the redacted from-clauses what no other field may tell.
func (r *redactor) learnHops() {
	if r.learned {
		return
	}
	r.learned = true
	r.seen.learnAddr(r.options.Client.Addr)
	for _, name := range [...]string{r.options.Client.Name, r.options.Client.Helo} {
		r.seen.learn([]byte(name))
	}
	for _, h := range r.hops {
		if h.from >= 0 {
			r.seen.learn(r.header.Fields[h.field].Body()[h.from:h.end])
		}
	}
}

// inRun reports whether a Received continues the run of class own.
func (r *redactor) inRun(b []byte, c clauses) bool {
	if c.from < 0 {
		return true
	}
	list := clientAddr(b[c.from:c.end])
	return len(list) == 0 || slices.ContainsFunc(list, func(a netip.Addr) bool { return !tells(a) || r.own(a) })
}

func (r *redactor) own(a netip.Addr) bool {
	if v4 := carried(a); v4.IsValid() && r.own(v4) {
		return true
	}
	for _, p := range r.options.OwnNetworks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// clientFields goes through all fields and writes those that change.
func (r *redactor) clientFields() {
	next := 0
	for i, f := range r.header.Fields {
		if next < len(r.hops) && r.hops[next].field == i {
			r.received(i, f, r.hops[next].clauses)
			next++
			continue
		}
		var buf [longestName]byte
		name := lowerName(&buf, nameOf(f))
		switch t := treatmentOf(name, f); t {
		case remove:
			r.edit(i, f, name, Removed, "tells the client", nil)
		case mask, report, suspect, suspectHost, told:
			if !r.ours(name, f) {
				r.body = r.maskField(r.body[:0], f.Body(), t)
				r.changed(i, f, name, "client masked")
			}
		case hop:
			c := parseReceived(f.Body())
			if r.options.Class == All || r.inRun(f.Body(), c) {
				r.received(i, f, c)
			}
		}
	}
}

// treatmentOf is what the table says; or, of a name that ends in "ip", what
// the body says; or what its words promise.
func treatmentOf(name []byte, f mail.Field) treatment {
	if t, ok := clientFields[string(name)]; ok {
		return t
	}
	if bytes.HasPrefix(name, []byte("x-")) && endsInIP(nameOf(f)) && soleAddress(f.Body()) {
		return remove
	}
	return judgeName(name, nameOf(f))
}

// endsInIP takes X-Some-IP, X-SomeIP and X-SOME-CLIENTIP, but not X-Zip.
func endsInIP(name []byte) bool {
	name = bytes.TrimRight(name, " \t")
	for _, suffix := range [...]string{"clientip", "remoteip", "senderip", "sourceip", "originip", "originatingip", "userip", "ipaddress", "ip-address"} {
		if hasSuffixFold(name, suffix) {
			return true
		}
	}
	n := len(name) - len("IP")
	if n < 2 || !equalFold(name[n:], "ip") {
		return false
	}
	before := name[n-1]
	return before == '-' || before == '_' || 'a' <= before && before <= 'z' && name[n] == 'I'
}

func hasSuffixFold(name []byte, lower string) bool {
	return len(name) > len(lower) && equalFold(name[len(name)-len(lower):], lower)
}

// soleAddress reports a body that holds addresses and nothing else.
func soleAddress(b []byte) bool {
	var buf [8]netip.Addr
	tokens := 0
	for s := (scanner{b: b}); s.next(); tokens++ {
		tok := s.token()
		if s.encoded {
			if !soleAddress(decodeWord(s.b[s.start:s.end])) {
				return false
			}
			continue
		}
		if len(readings(buf[:0], tok)) == 0 {
			return false
		}
	}
	return tokens > 0
}

// ours reports Authentication-Results under our own authserv-id.
func (r *redactor) ours(name []byte, f mail.Field) bool {
	if r.options.Authserv == "" || string(name) != "authentication-results" {
		return false
	}
	l := lexer{b: f.Body()}
	for t, ok := l.next(); ok; t, ok = l.next() {
		if t.kind == word {
			return bytes.EqualFold(bytes.Trim(l.b[t.start:t.end], `"`), []byte(r.options.Authserv))
		}
	}
	return false
}

// received redacts one Received, or a copy of one.
func (r *redactor) received(i int, f mail.Field, c clauses) {
	var buf [longestName]byte
	r.body = r.redactReceived(r.body[:0], f.Body(), c)
	r.changed(i, f, lowerName(&buf, nameOf(f)), "client in from-clause")
}

// changed writes field i with the body in r.body, if it is another.
func (r *redactor) changed(i int, f mail.Field, name []byte, reason string) {
	if !bytes.Equal(r.body, f.Body()) {
		r.edit(i, f, name, Redacted, reason, r.body)
	}
}

// edit replaces the body of field i, or removes the field, unless a signature
// covers it.
func (r *redactor) edit(i int, f mail.Field, name []byte, kind Kind, reason string, body []byte) {
	if r.options.SignedFields != RedactSigned && r.covered(name, i) {
		r.edits = append(r.edits, Edit{i, fieldName(f), KeptSigned, "covered by a DKIM signature"})
		return
	}
	if r.out == nil {
		r.out = slices.Grow(r.options.Memory[:0], len(r.header.Raw)+len(clientName))
		r.edits = append(make([]Edit, 0, len(r.hops)+4), r.edits...)
	}
	r.copyTo(i)
	r.copied = i + 1
	if kind == Redacted {
		r.out = append(r.out, f.Raw[:len(f.Raw)-len(f.Body())]...)
		r.out = append(r.out, body...)
	}
	r.edits = append(r.edits, Edit{i, fieldName(f), kind, reason})
}

// fieldName saves the copy of the name that most edits have.
func fieldName(f mail.Field) string {
	if name := nameOf(f); string(name) != "Received" {
		return f.Name()
	}
	return "Received"
}

func (r *redactor) covered(name []byte, i int) bool {
	if !r.hasSigned {
		r.signed, r.hasSigned = newSigned(r.header, r.dkim), true
	}
	return r.signed.covers(name, i)
}

// copyTo appends the fields from r.copied up to field i as they came.
func (r *redactor) copyTo(i int) {
	for ; r.copied < i; r.copied++ {
		r.out = append(r.out, r.header.Fields[r.copied].Raw...)
	}
}

func (r *redactor) result() Result {
	if r.out == nil {
		return Result{Edits: r.edits}
	}
	r.copyTo(len(r.header.Fields))
	fields := 0
	for _, f := range r.header.Fields {
		fields += len(f.Raw)
	}
	return Result{Head: append(r.out, r.header.Raw[fields:]...), Edits: r.edits}
}

// Package effect carries out what rules want done with a message that is
// accepted (filter.Act): it makes the header section, the recipients and the
// answers of it. It is pure: the session stores the result, and `gateway check`
// shows it.
package effect

import (
	"mailweir/filter"
	"mailweir/internal/jsonx"
	"mailweir/mail"
)

// Effect is one thing that a rule wanted, and what became of it.
type Effect struct {
	Rule string `json:"rule"` // its symbol
	Does string `json:"does"` // as filter.Act.Wants says it
	// Skipped is why it was not done, from the words below; "" when it was.
	Skipped string `json:"skipped,omitempty"`
	// Broke tells that it changed what a DKIM signature covers that may be
	// valid, as the rule permits.
	Broke bool `json:"broke_signature,omitempty"`
}

// The words of Skipped, beside those of autoreply.go.
const (
	SkippedSigned    = "signed"    // a DKIM signature covers the field
	SkippedLoop      = "loop"      // the message has been here for this recipient
	SkippedPresent   = "present"   // the subject has the prefix
	SkippedAbsent    = "absent"    // there is no such field
	SkippedMalformed = "malformed" // the header section begins with what is no field
)

// AppendJSON implements jsonx.Appender.
func (e *Effect) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.String("rule", e.Rule)
	o.String("does", e.Does)
	o.StringIf("skipped", e.Skipped)
	o.BoolIf("broke_signature", e.Broke)
	return o.End()
}

// String is how the effect is shown.
func (e *Effect) String() string {
	switch {
	case e.Skipped != "":
		return e.Does + " (not done: " + e.Skipped + ")"
	case e.Broke:
		return e.Does + " (a signed field: its DKIM signature is broken)"
	}
	return e.Does
}

// Kind is the first word of Does: a closed set, for metrics.
func (e *Effect) Kind() string {
	for i := range e.Does {
		if e.Does[i] == ' ' {
			return e.Does[:i]
		}
	}
	return e.Does
}

// Kinds are all that Kind gives.
func Kinds() []string {
	return []string{
		filter.AddHeader, filter.SetHeader, filter.RemoveHeader, filter.SubjectPrefix, "redirect", "copy", "next_hop", "auto_reply",
	}
}

// Looped reports a message that a rule has sent on for this recipient before:
// RFC 9228's field, which Route's caller adds, is in it.
func Looped(h *mail.Header, rcpt mail.Path) bool {
	for _, f := range h.Fields {
		if !f.Is(deliveredTo) {
			continue
		}
		if p, err := mail.ParsePath(f.Value(), true); err == nil && p.Mailbox() == rcpt.Mailbox() {
			return true
		}
	}
	return false
}

const deliveredTo = "Delivered-To"

// AppendDeliveredTo marks what is sent on in place of a recipient, or beside
// him.
func AppendDeliveredTo(b []byte, rcpt mail.Path) []byte {
	b = append(b, deliveredTo...)
	b = append(b, ": "...)
	b = append(b, rcpt...)
	return append(b, "\r\n"...)
}

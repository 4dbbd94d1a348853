// Package effect carries out what rules want done with a message that is
// accepted (filter.Act): it makes the header section, the recipients and the
// answers of it. It is pure: the session stores the result, and `gateway check`
// shows it.
package effect

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

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

// Marks tell a message that a rule has sent on for a recipient when it comes
// back: with a key that nobody else has, so that no stranger can keep his mail
// from being copied or redirected by writing the field himself. The zero Marks
// know none.
type Marks struct{ key []byte }

// NewMarks makes marks with a key.
func NewMarks(key []byte) Marks { return Marks{key} }

// The fields of what is sent on: RFC 9228's is for other systems, which stop
// loops by it, too; ours has the mark.
const (
	deliveredTo = "Delivered-To"
	sentOn      = "X-Mailweir-Sent-On"
)

// mark is for one message and one recipient.
func (m Marks) mark(h *mail.Header, rcpt mail.Path) string {
	mac := hmac.New(sha256.New, m.key)
	mac.Write([]byte(rcpt.Mailbox() + "\x00" + h.Value("Message-ID")))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// Looped reports a message that has been sent on for this recipient before.
func (m Marks) Looped(h *mail.Header, rcpt mail.Path) bool {
	if len(m.key) == 0 {
		return false
	}
	for _, f := range h.Fields {
		if f.Is(sentOn) && hmac.Equal([]byte(f.Value()), []byte(m.mark(h, rcpt))) {
			return true
		}
	}
	return false
}

// Append marks what is sent on in place of a recipient, or beside him.
func (m Marks) Append(b []byte, h *mail.Header, rcpt mail.Path) []byte {
	b = append(b, deliveredTo+": "...)
	b = append(b, rcpt...)
	if len(m.key) > 0 {
		b = append(b, "\r\n"+sentOn+": "...)
		b = append(b, m.mark(h, rcpt)...)
	}
	return append(b, "\r\n"...)
}

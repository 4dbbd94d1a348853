package filter

import (
	"strings"

	"mailweir/internal/jsonx"
	"mailweir/mail"
)

// Act is what a rule wants done with a message besides its score. It is a
// value: package effect and the session carry it out.
type Act struct {
	// Action is Tag, Strip, Quarantine, Discard, Defer or Reject; "" leaves the
	// decision to others.
	Action Action      `json:"action,omitempty"`
	Reply  *mail.Reply `json:"reply,omitempty"` // of Defer and Reject; nil: the usual one
	// Strip is what Strip takes out: extensions and types of attachments; "*" is
	// every attachment.
	Strip []string `json:"strip,omitempty"`

	Edits []HeaderEdit `json:"edits,omitempty"`
	// Redirect is who gets the message in place of the recipient, Copy who gets
	// it too, NextHop where it goes, "host:port".
	Redirect []mail.Path      `json:"redirect,omitempty"`
	Copy     []mail.Path      `json:"copy,omitempty"`
	NextHop  mail.Destination `json:"next_hop,omitempty"`

	AutoReply *AutoReply `json:"auto_reply,omitempty"`
}

// The kinds of HeaderEdit.
const (
	AddHeader     = "add_header"     // on top of the fields of the same name
	SetHeader     = "set_header"     // in place of all of them
	RemoveHeader  = "remove_header"  // all of them
	SubjectPrefix = "subject_prefix" // where the subject does not have it yet
)

// HeaderEdit is one change of the header section.
type HeaderEdit struct {
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Value string `json:"value,omitempty"` // UTF-8
	// Signed permits to change what a valid DKIM signature covers.
	Signed bool `json:"signed,omitempty"`
}

// AutoReply is an answer to the sender (RFC 3834), once in a while.
type AutoReply struct {
	Text string `json:"-"`    // UTF-8, lines end with LF
	Days int    `json:"days"` // between two to the same sender
}

// RuleAct is an Act and the rule that wants it.
type RuleAct struct {
	Symbol string
	*Act
}

// AppendJSON implements jsonx.Appender.
func (a *Act) AppendJSON(b []byte) []byte { return jsonx.AppendAny(b, a) }

// Wants are the words for what the act does, in the order of the config's keys:
// "redirect team@example.org".
func (a *Act) Wants() []string {
	var list []string
	if a.Action != "" {
		list = append(list, string(a.Action))
	}
	for _, s := range a.Strip {
		list = append(list, "strip "+s)
	}
	for i := range a.Edits {
		list = append(list, a.Edits[i].String())
	}
	for _, p := range a.Redirect {
		list = append(list, "redirect "+string(p))
	}
	for _, p := range a.Copy {
		list = append(list, "copy "+string(p))
	}
	if a.NextHop != "" {
		list = append(list, "next_hop "+string(a.NextHop))
	}
	if a.AutoReply != nil {
		list = append(list, "auto_reply")
	}
	return list
}

// String is how the edit is shown.
func (e *HeaderEdit) String() string {
	switch e.Kind {
	case SubjectPrefix:
		return e.Kind + " " + strings.TrimSpace(e.Value)
	case RemoveHeader:
		return e.Kind + " " + e.Name
	}
	return e.Kind + " " + e.Name + ": " + e.Value
}

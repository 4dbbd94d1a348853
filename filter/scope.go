package filter

import (
	"slices"
	"strings"

	"mailweir/internal/jsonx"
	"mailweir/mail"
)

// Scope limits to some recipients what counts for a message. A nil Scope is
// everybody.
type Scope struct {
	Domains    []string `json:"domains,omitempty"`    // canonical; their subdomains are not meant
	Recipients []string `json:"recipients,omitempty"` // Mailbox of each
}

// Includes tells whether a recipient is meant.
func (s *Scope) Includes(rcpt mail.Path) bool {
	if s == nil {
		return true
	}
	return slices.Contains(s.Domains, mail.CanonicalDomain(rcpt.Domain())) ||
		len(s.Recipients) > 0 && slices.Contains(s.Recipients, rcpt.Mailbox())
}

// String is how the scope is shown; "" for everybody.
func (s *Scope) String() string {
	if s == nil {
		return ""
	}
	return strings.Join(append(slices.Clone(s.Domains), s.Recipients...), ", ")
}

// AppendJSON implements jsonx.Appender.
func (s *Scope) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.StringsIf("domains", s.Domains)
	o.StringsIf("recipients", s.Recipients)
	return o.End()
}

// Scopes are those of what checks reported, in order; nil for none.
func (f *Facts) Scopes() (list []*Scope) {
	for i := range f.Symbols {
		if s := f.Symbols[i].Scope; s != nil {
			list = append(list, s)
		}
	}
	return list
}

// Class tells which of the scopes include a recipient: a string of a bit each,
// "" for none of them. InClass reads it.
func Class(rcpt mail.Path, scopes ...*Scope) string {
	var bits []byte
	for n, s := range scopes {
		if s.Includes(rcpt) {
			if bits == nil {
				bits = make([]byte, (len(scopes)+7)/8)
			}
			bits[n/8] |= 1 << (n % 8)
		}
	}
	return string(bits)
}

// InClass tells whether scope n includes the recipients of a class.
func InClass(class string, n int) bool {
	return n/8 < len(class) && class[n/8]&(1<<(n%8)) != 0
}

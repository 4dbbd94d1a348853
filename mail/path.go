package mail

import (
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Path is a reverse-path or forward-path as it stood between "<" and ">",
// quoting and all, so that it is relayed exactly as it came. "" is the null
// reverse-path. Only ParsePath makes one from outside bytes.
type Path string

// NullPath is the reverse-path of a DSN: MAIL FROM:<>.
const NullPath Path = ""

// MaxPath is the longest path: RFC 5321 section 4.5.3.1.3 has 256 octets with
// the angle brackets. The 64 octets of its local-part limit are not enforced:
// VERP and SRS reverse-paths of honest senders exceed them.
const MaxPath = 254

// ErrPath is returned by ParsePath. It has no detail on purpose: the reply to
// the client never echoes the client's bytes.
var ErrPath = errors.New("mail: not a path of RFC 5321 section 4.1.2")

// ParsePath checks s, the text between "<" and ">", by the grammar of RFC 5321
// section 4.1.2, with RFC 6531's UTF-8 when utf8 is set. A source route is
// accepted and dropped (section 4.1.1.3). "" is the null path. A local-part
// without a domain is an error but for "postmaster" (section 4.5.1).
func ParsePath(s string, utf8 bool) (Path, error) {
	if s == "" {
		return NullPath, nil
	}
	if s[0] == '@' {
		i := strings.IndexByte(s, ':')
		if i < 0 || !validRoute(s[:i], utf8) {
			return "", ErrPath
		}
		s = s[i+1:]
	}
	if len(s) > MaxPath {
		return "", ErrPath
	}
	n := localLength(s, utf8)
	if n <= 0 {
		return "", ErrPath
	}
	if n == len(s) && strings.EqualFold(s, "postmaster") {
		return Path(s), nil
	}
	if n == len(s) || s[n] != '@' || !ValidDomain(s[n+1:], utf8) {
		return "", ErrPath
	}
	return Path(s), nil
}

func validRoute(s string, utf8 bool) bool {
	for hop := range strings.SplitSeq(s, ",") {
		if len(hop) < 2 || hop[0] != '@' || !ValidDomain(hop[1:], utf8) {
			return false
		}
	}
	return true
}

// localLength is the length of the dot-string or quoted-string that s starts
// with, 0 when there is none.
func localLength(s string, utf8 bool) int {
	if s != "" && s[0] == '"' {
		return quotedLength(s, utf8)
	}
	i, atom := 0, false
	for ; i < len(s) && s[i] != '@'; i++ {
		switch c := s[i]; {
		case c == '.':
			if !atom {
				return 0
			}
			atom = false
		case isAtext(c) || utf8 && c >= 0x80:
			atom = true
		default:
			return 0
		}
	}
	if !atom {
		return 0
	}
	return i
}

func quotedLength(s string, utf8 bool) int {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			i++
			if i == len(s) || s[i] < ' ' || s[i] > '~' {
				return 0
			}
		case c < ' ' || c == 0x7f || c >= 0x80 && !utf8:
			return 0
		}
	}
	return 0
}

func isAtext(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// ValidDomain reports whether s is a domain or an address literal of RFC 5321
// section 4.1.2. Underscores are let through: real hosts greet with them.
func ValidDomain(s string, utf8 bool) bool {
	if s != "" && s[0] == '[' {
		return validLiteral(s)
	}
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := 0; i < len(label); i++ {
			c := label[i]
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
				c == '-' || c == '_' || utf8 && c >= 0x80) {
				return false
			}
		}
	}
	return true
}

func validLiteral(s string) bool {
	if len(s) < 3 || s[len(s)-1] != ']' {
		return false
	}
	_, err := LiteralAddr(s)
	return err == nil
}

// LiteralAddr is the address of an address literal such as "[192.0.2.1]" or
// "[IPv6:2001:db8::1]".
func LiteralAddr(s string) (netip.Addr, error) {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if len(s) > 5 && strings.EqualFold(s[:5], "IPv6:") {
		a, err := netip.ParseAddr(s[5:])
		if err != nil || a.Zone() != "" {
			return netip.Addr{}, ErrPath
		}
		return a, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return netip.Addr{}, ErrPath
	}
	return a, nil
}

// IsNull reports the null reverse-path.
func (p Path) IsNull() bool { return p == NullPath }

// Local is the local-part as it came, with its quotes; the whole path for
// "postmaster" without a domain.
func (p Path) Local() string {
	if i := p.at(); i >= 0 {
		return string(p[:i])
	}
	return string(p)
}

// Domain is the domain as it came; "" for the null path and "postmaster".
func (p Path) Domain() string {
	if i := p.at(); i >= 0 {
		return string(p[i+1:])
	}
	return ""
}

// at finds the last "@": a quoted local-part may hold others.
func (p Path) at() int { return strings.LastIndexByte(string(p), '@') }

// Unquoted is the local-part without its quoting: what to look a mailbox up by.
func (p Path) Unquoted() string {
	l := p.Local()
	if len(l) < 2 || l[0] != '"' {
		return l
	}
	l = l[1 : len(l)-1]
	if strings.IndexByte(l, '\\') < 0 {
		return l
	}
	b := make([]byte, 0, len(l))
	for i := 0; i < len(l); i++ {
		if l[i] == '\\' {
			i++
		}
		b = append(b, l[i])
	}
	return string(b)
}

// Routed reports a local-part that some mail systems read as a route to another
// domain, whatever ours is: user%other@example.org, other!user@example.org,
// "user@other"@example.org.
func (p Path) Routed() bool { return strings.ContainsAny(p.Unquoted(), "%!@") }

// IsPostmaster reports the one local-part that must always be served
// (RFC 5321 section 4.5.1).
func (p Path) IsPostmaster() bool { return strings.EqualFold(p.Unquoted(), "postmaster") }

// CanonicalDomain is the form that domains are compared in: A-labels, lower
// case, no trailing dot. What IDNA cannot map is only lowered.
func CanonicalDomain(s string) string {
	s = strings.TrimSuffix(s, ".")
	lower := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 0x80 {
			if a, err := idna.Lookup.ToASCII(s); err == nil {
				return strings.ToLower(a)
			}
			return strings.ToLower(s)
		} else if 'A' <= c && c <= 'Z' {
			lower = false
		}
	}
	if lower {
		return s
	}
	return strings.ToLower(s)
}

// WithinDomain reports that d is parent or a subdomain of it. Both are
// canonical.
func WithinDomain(d, parent string) bool {
	n := len(d) - len(parent)
	return n >= 0 && d[n:] == parent && (n == 0 || d[n-1] == '.')
}

// Mailbox is the form in which lists name a recipient: local-part without
// quotes and without what follows a "+", and canonical domain, in lower case.
func (p Path) Mailbox() string {
	local, _, _ := strings.Cut(p.Unquoted(), "+")
	return strings.ToLower(local) + "@" + CanonicalDomain(p.Domain())
}

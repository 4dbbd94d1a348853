package config

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"mailweir/mail"
)

// The types of values that are written as strings. Each parses itself, and its
// error is the part of the message after the value: `is not …; write …`.
type (
	// Size is a number of octets: 52428800 or "50MiB".
	Size int64
	// Path is a file or folder; relative ones are relative to the config file.
	Path string
	// Name is a domain name in canonical form: A-labels, lower case.
	Name string
	// HostPort is where to connect: a host name or address, and a port.
	HostPort string
	// Outbound is a HostPort, or "mx" for the mail exchangers of each domain.
	Outbound string
	// ListenAddr is where to listen: an address or nothing, and a port.
	ListenAddr string
	// Server is the address of a DNS server, with its port. Over TLS it is
	// "tls://address:port#name", the name being that of the certificate.
	Server string
	// ScannerAddr is a socket: "unix:/path" or "host:port".
	ScannerAddr string
	// Address is the address of a mailbox.
	Address string
	// KeySource is where a secret key comes from: the absolute path of a file,
	// or "credential:NAME" for one that systemd hands over.
	KeySource string
	// Recipient is a domain that mail is for, or one address in it.
	Recipient string
	// Date is a day, "2027-01-31", which begins in UTC.
	Date string
	// Label is a domain name that may have a single label.
	Label string
	// Code is a return code of a DNSBL, or a prefix of them.
	Code netip.Prefix
)

// wrong is the error of a parser: what the value is not, and what to write.
type wrong struct{ problem, hint string }

func (w wrong) Error() string { return w.problem + "; " + w.hint }

func notA(what, example string) error {
	return wrong{"is not " + what, "write for example " + example}
}

// parseScalar parses the types that cannot have a method of ours, and hands
// all others to theirs.
func parseScalar(t reflect.Type, s string) (reflect.Value, error) {
	v := reflect.New(t)
	var err error
	switch p := v.Interface().(type) {
	case *time.Duration:
		*p, err = ParseDuration(s)
	case *netip.Prefix:
		*p, err = parsePrefix(s)
	case encoding.TextUnmarshaler:
		err = p.UnmarshalText([]byte(s))
	default:
		return reflect.Value{}, fmt.Errorf("config: no parser for %s", t)
	}
	return v.Elem(), err
}

// isText reports whether values of t are written as strings that parseScalar
// understands.
func isText(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[time.Duration](), reflect.TypeFor[netip.Prefix]():
		return true
	}
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// ParseDuration reads Go's syntax with days besides: "90s", "1h30m", "5d".
func ParseDuration(s string) (time.Duration, error) {
	fault := notA("a duration", `"2s" (units ms, s, m, h, d)`)
	days, rest, found := strings.Cut(s, "d")
	if !found {
		days, rest = "", s
	}
	var total time.Duration
	if found {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, fault
		}
		total = time.Duration(n) * 24 * time.Hour
	}
	if rest == "" && found {
		return total, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || rest[0] == '+' || total+d < 0 {
		return 0, fault
	}
	return total + d, nil
}

// FormatDuration is the shortest form that ParseDuration reads back.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

var sizeUnits = []struct {
	suffix string
	factor int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// UnmarshalText reads "50MiB"; a plain number is octets.
func (z *Size) UnmarshalText(b []byte) error {
	s := string(b)
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 0 || n > (1<<62)/u.factor || digits[0] == '+' {
			break
		}
		*z = Size(n * u.factor)
		return nil
	}
	return notA("a size", `"50MiB" (units KiB, MiB, GiB) or a number of bytes`)
}

// String is the size in the largest unit that it is a multiple of.
func (z Size) String() string {
	for _, u := range sizeUnits[:3] {
		if z != 0 && int64(z)%u.factor == 0 {
			return strconv.FormatInt(int64(z)/u.factor, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(z), 10)
}

// credentialPrefix is how a KeySource names a credential.
const credentialPrefix = "credential:"

// UnmarshalText reads "/path" or "credential:NAME".
func (k *KeySource) UnmarshalText(b []byte) error {
	s := string(b)
	name, credential := strings.CutPrefix(s, credentialPrefix)
	if credential && (name == "" || strings.ContainsAny(name, "/\x00") || name[0] == '.') || !credential && !strings.HasPrefix(s, "/") {
		return notA("a source of a key", `"/etc/mailweir/spool.key", or "credential:spool.key" for what LoadCredential= of systemd names`)
	}
	*k = KeySource(s)
	return nil
}

// Credential is the name of the credential, "" for a file.
func (k KeySource) Credential() string {
	name, _ := strings.CutPrefix(string(k), credentialPrefix)
	if name == string(k) {
		return ""
	}
	return name
}

// UnmarshalText takes any path but an empty one; decode makes it absolute.
func (p *Path) UnmarshalText(b []byte) error {
	if len(b) == 0 || strings.ContainsRune(string(b), 0) {
		return notA("a path", `"/var/lib/mailweir"`)
	}
	*p = Path(b)
	return nil
}

// UnmarshalText takes a domain name and makes it canonical.
func (n *Name) UnmarshalText(b []byte) error {
	s := string(b)
	if !mail.ValidDomain(strings.TrimSuffix(s, "."), true) || s[0] == '[' || allNumeric(s) {
		return notA("a domain name", `"mx.example.org"`)
	}
	s = mail.CanonicalDomain(s)
	if !mail.ValidDomain(s, false) {
		return wrong{"is not a domain name that DNS can hold", "check its spelling, or write its A-label form (xn--...)"}
	}
	*n = Name(s)
	return nil
}

// Selector is a DKIM selector: labels, which may all be numbers.
type Selector string

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Selector) UnmarshalText(b []byte) error {
	text := string(b)
	if !mail.ValidDomain(text, false) || text[0] == '[' {
		return notA("a selector", `"2026a"`)
	}
	*s = Selector(strings.ToLower(text))
	return nil
}

// splitPort takes "host:port", a port from 0 to 65535.
func splitPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", "", false
	}
	host, port = s[:i], s[i+1:]
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n != 0 && port[0] == '0' || port != "0" && n == 0 {
		return "", "", false
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
		return host, port, strings.Contains(host, ":")
	}
	return host, port, !strings.Contains(host, ":")
}

// UnmarshalText takes "mail.example.org:25", "192.0.2.1:25", "[2001:db8::1]:25".
func (h *HostPort) UnmarshalText(b []byte) error {
	host, port, ok := splitPort(string(b))
	if _, err := netip.ParseAddr(host); !ok || port == "0" || err != nil && (!mail.ValidDomain(host, false) || allNumeric(host)) {
		return notA("a host and port", `"mail.example.org:25", "192.0.2.1:25" or "[2001:db8::1]:25"`)
	}
	*h = HostPort(b)
	return nil
}

// OutboundMX is the Outbound that stands for a look-up in DNS.
const OutboundMX Outbound = "mx"

// UnmarshalText takes "mx", or what a HostPort takes.
func (o *Outbound) UnmarshalText(b []byte) error {
	var h HostPort
	if Outbound(b) != OutboundMX && h.UnmarshalText(b) != nil {
		return notA(`"mx" or a host and port`, `"mx", "mail.example.org:25" or "[2001:db8::1]:25"`)
	}
	*o = Outbound(b)
	return nil
}

// allNumeric tells "192.0.2.300" from a host name.
func allNumeric(s string) bool { return strings.Trim(s, "0123456789.") == "" }

// UnmarshalText takes "192.0.2.1:25", "[2001:db8::1]:25" or ":25" for all
// addresses. Port 0 is one that the system chooses.
func (l *ListenAddr) UnmarshalText(b []byte) error {
	host, _, ok := splitPort(string(b))
	if _, err := netip.ParseAddr(host); !ok || err != nil && host != "" {
		return notA("an address to listen on", `"192.0.2.1:25", "[2001:db8::1]:25", or ":25" for all addresses`)
	}
	*l = ListenAddr(b)
	return nil
}

// UnmarshalText takes an IP address, with or without a port (53).
func (v *Server) UnmarshalText(b []byte) error {
	if rest, secure := strings.CutPrefix(string(b), tlsScheme); secure {
		return v.overTLS(rest)
	}
	if a, err := netip.ParseAddr(string(b)); err == nil {
		*v = Server(netip.AddrPortFrom(a, 53).String())
		return nil
	}
	ap, err := netip.ParseAddrPort(string(b))
	if err != nil || ap.Port() == 0 {
		return notA("the address of a DNS server", `"127.0.0.1:53"`)
	}
	*v = Server(ap.String())
	return nil
}

// UnmarshalText takes local-part@domain, in ASCII, without angle brackets.
func (a *Address) UnmarshalText(b []byte) error {
	p, err := mail.ParsePath(string(b), false)
	if err != nil || p.Domain() == "" || p.Domain()[0] == '[' {
		return notA("an address", `"dmarc@example.org"`)
	}
	*a = Address(p)
	return nil
}

// UnmarshalText takes a domain, or local-part@domain.
func (r *Recipient) UnmarshalText(b []byte) error {
	var name Name
	if p, err := mail.ParsePath(string(b), true); err == nil && p.Domain() != "" {
		*r = Recipient(p)
		return nil
	}
	if err := name.UnmarshalText(b); err != nil {
		return notA("a domain or an address", `"example.org" or "bob@example.org"`)
	}
	*r = Recipient(name)
	return nil
}

// UnmarshalText takes year, month and day.
func (d *Date) UnmarshalText(b []byte) error {
	if _, err := time.Parse(time.DateOnly, string(b)); err != nil {
		return notA("a day", `"2027-01-31"`)
	}
	*d = Date(b)
	return nil
}

// Time is the begin of the day; zero for no Date.
func (d Date) Time() time.Time {
	t, _ := time.Parse(time.DateOnly, string(d))
	return t
}

// UnmarshalText takes a name without the demand that it has a dot.
func (l *Label) UnmarshalText(b []byte) error {
	name := mail.CanonicalDomain(string(b))
	if name == "" || name[0] == '[' || !mail.ValidDomain(name, false) {
		return notA("a name of a DNS list", `"test"`)
	}
	*l = Label(name)
	return nil
}

const tlsScheme = "tls://"

func (v *Server) overTLS(s string) error {
	addr, name, named := strings.Cut(s, "#")
	fault := notA("the address of a DNS server over TLS", `"tls://192.0.2.53:853#dns.example"`)
	if a, err := netip.ParseAddr(strings.Trim(addr, "[]")); err == nil {
		addr = netip.AddrPortFrom(a, 853).String() // RFC 7858 section 3.1
	}
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || ap.Port() == 0 {
		return fault
	}
	*v = Server(tlsScheme + ap.String())
	if !named {
		return nil
	}
	name = mail.CanonicalDomain(name)
	if _, err := netip.ParseAddr(name); err != nil && (!mail.ValidDomain(name, false) || name[0] == '[') {
		return fault
	}
	*v += Server("#" + name)
	return nil
}

// IsTLS reports that the server is asked over TLS.
func (v Server) IsTLS() bool { return strings.HasPrefix(string(v), tlsScheme) }

// UnmarshalText takes "unix:/path", "host:port" or "tcp:host:port".
func (a *ScannerAddr) UnmarshalText(b []byte) error {
	s := string(b)
	if path, ok := strings.CutPrefix(s, "unix:"); ok && path != "" {
		*a = ScannerAddr(s)
		return nil
	}
	var h HostPort
	if err := h.UnmarshalText([]byte(strings.TrimPrefix(s, "tcp:"))); err != nil {
		return notA("a scanner's socket", `"unix:/run/clamav/clamd.ctl" or "127.0.0.1:3310"`)
	}
	*a = ScannerAddr(h)
	return nil
}

// parsePrefix takes a network or a single address.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, notA("a network", `"10.0.0.0/8" or "2001:db8::/32"`)
	case p.Addr().Is4In6():
		return p, wrong{"is an IPv4 network written as IPv6", "write it as IPv4, for example \"192.0.2.0/24\""}
	case p.Masked() != p:
		return p, wrong{"has address bits after its prefix", fmt.Sprintf("write %q", p.Masked())}
	}
	return p, nil
}

var (
	codeSpace  = netip.MustParsePrefix("127.0.0.0/8")
	codeErrors = netip.MustParsePrefix("127.255.255.0/24")
)

// UnmarshalText takes "127.0.0.2" or "127.0.0.0/24". RFC 5782 section 2.1 puts
// codes into 127.0.0.0/8; lists use 127.255.255.0/24 to say that they refuse
// to answer, which must never count as a listing.
func (c *Code) UnmarshalText(b []byte) error {
	p, err := parsePrefix(string(b))
	switch {
	case err != nil || p.Bits() < 8 || !codeSpace.Contains(p.Addr()):
		return notA("a return code of a DNSBL", `"127.0.0.2" or "127.0.0.0/24"`)
	case p.Overlaps(codeErrors):
		return wrong{"holds 127.255.255.0/24, which lists answer when they refuse a query", `write the codes of real listings, for example "127.0.0.2"`}
	}
	*c = Code(p)
	return nil
}

// Prefix is the code as a prefix of 32 bits or fewer.
func (c Code) Prefix() netip.Prefix { return netip.Prefix(c) }

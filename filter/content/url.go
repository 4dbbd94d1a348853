package content

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"mailweir/filter"
	"mailweir/mail"
)

// maxURL is how much of one address is looked at; longer ones are cut.
const maxURL = 4096

// maxSeen bounds how many different addresses are remembered; those beyond
// filter.MaxURLs are only counted.
const maxSeen = 4 * filter.MaxURLs

// links collects the addresses of one message, each once.
type links struct {
	list    []filter.URL
	seen    map[string]int
	more    bool // there were more than the facts keep
	mailtos int
	scripts int // javascript:, vbscript: and data: links
}

// add takes an address as it was found and returns its index in list, -1 when
// it is not there.
func (l *links) add(raw []byte, image bool) int {
	if len(raw) > maxURL {
		raw = raw[:maxURL]
	}
	if i, ok := l.seen[string(raw)]; ok {
		if i >= 0 && !image {
			l.list[i].Image = false
		}
		return i
	}
	if len(l.seen) >= maxSeen {
		l.more = true
		return -1
	}
	if l.seen == nil {
		l.seen = make(map[string]int)
	}
	i := l.store(string(raw), image)
	l.seen[string(raw)] = i
	return i
}

func (l *links) store(raw string, image bool) int {
	u, ok := l.parse(raw)
	if !ok {
		return -1
	}
	u.Image = image
	if len(l.list) >= filter.MaxURLs {
		l.more = true
		return -1
	}
	l.list = append(l.list, u)
	return len(l.list) - 1
}

// parse reads an address the way browsers do: white space and control
// characters inside vanish, backslashes are slashes.
func (l *links) parse(raw string) (filter.URL, bool) {
	raw = browserForm(raw)
	scheme, rest, ok := strings.Cut(raw, ":")
	if !ok || strings.ContainsAny(scheme, "/.?#@") {
		return relative(raw)
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "http", "https", "ftp":
		return parseAuthority(scheme, strings.TrimLeft(rest, "/"))
	case "mailto":
		l.mailtos++
	case "javascript", "vbscript", "data":
		l.scripts++
	}
	return filter.URL{}, false
}

// relative is an address without a scheme: "//host/" and "www.host".
func relative(raw string) (filter.URL, bool) {
	if strings.HasPrefix(raw, "//") {
		return parseAuthority("http", raw[2:])
	}
	if len(raw) > 4 && strings.EqualFold(raw[:4], "www.") {
		return parseAuthority("http", raw)
	}
	return filter.URL{}, false
}

func browserForm(s string) string {
	s = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
	if strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == '\\' }) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\\':
			return '/'
		case r < ' ':
			return -1
		}
		return r
	}, s)
}

func parseAuthority(scheme, s string) (filter.URL, bool) {
	u := filter.URL{Scheme: scheme}
	host := s
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		host, u.Path = s[:i], clip(s[i:])
	}
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		u.Userinfo, host = true, host[i+1:]
	}
	host = percentDecode(host)
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host, u.Port = host[:i], clip(host[i+1:])
	}
	u.Host, u.IP = canonicalHost(host)
	if u.Host == "" {
		return u, false
	}
	if !u.IP {
		u.Domain = filter.Organization(u.Host)
	}
	return u, true
}

// canonicalHost is the host in the form that is compared, "" when it is none.
func canonicalHost(s string) (host string, ip bool) {
	if addr, ok := hostAddr(s); ok {
		return addr.String(), true
	}
	s = mail.CanonicalDomain(s)
	if len(s) > 253 || !strings.Contains(s, ".") || !mail.ValidDomain(s, true) {
		return "", false
	}
	return s, false
}

// hostAddr reads an address host in every spelling that browsers take: up to
// four numbers in decimal, octal or hexadecimal, the last of which fills the
// octets that are left; and IPv6 in brackets.
func hostAddr(s string) (netip.Addr, bool) {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		a, err := netip.ParseAddr(s[1 : len(s)-1])
		return a, err == nil
	}
	s = strings.TrimSuffix(s, ".")
	if s == "" || s[0] < '0' || s[0] > '9' || len(s) > 48 {
		return netip.Addr{}, false
	}
	fields := strings.Split(s, ".")
	if len(fields) > 4 {
		return netip.Addr{}, false
	}
	var v uint64
	for i, f := range fields {
		n, err := strconv.ParseUint(strings.TrimSuffix(f, "."), 0, 32)
		last := i == len(fields)-1
		if err != nil || strings.Contains(f, "_") || !last && n > 255 {
			return netip.Addr{}, false
		}
		if last {
			v = v<<(8*(5-len(fields))) | n
		} else {
			v = v<<8 | n
		}
	}
	if v > 0xffffffff {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}), true
}

func percentDecode(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(n))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

// scan finds the addresses in running text: what stands around "://", and
// words that begin with "www.".
func (l *links) scan(b []byte) {
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("://"))
		if i < 0 {
			break
		}
		i += at
		start := schemeStart(b[:i])
		end := i + 3 + extent(b[i+3:])
		if start < i && end > i+3 {
			l.add(b[start:end], false)
		}
		at = end
	}
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("www."))
		if i < 0 {
			return
		}
		i += at
		if i > 0 && (isLinkOctet(b[i-1]) || b[i-1] == '/') {
			at = i + 4
			continue
		}
		at = i + extent(b[i:])
		l.add(b[i:at], false)
		at = max(at, i+4)
	}
}

func schemeStart(b []byte) int {
	i := len(b)
	for i > 0 && len(b)-i < 10 && isLatin(b[i-1]) {
		i--
	}
	return i
}

// isLinkOctet reports what goes on with the word before a "www.".
func isLinkOctet(c byte) bool {
	return isLatin(c) || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '@'
}

// extent is how far an address goes that b begins with: to white space or a
// mark that closes it, without the punctuation of the sentence around it.
func extent(b []byte) int {
	n, open := 0, 0
	for n < len(b) && n < maxURL && linkEnd[b[n]] == 0 {
		switch b[n] {
		case '(':
			open++
		case ')':
			open--
		}
		if open < 0 {
			break
		}
		n++
	}
	for n > 0 && strings.IndexByte(".,;:!?'*_", b[n-1]) >= 0 {
		n--
	}
	return n
}

var linkEnd = func() (t [256]byte) {
	for c := range 0x21 {
		t[c] = 1
	}
	for _, c := range []byte("<>\"`{}|^[]\x7f") {
		t[c] = 1
	}
	return t
}()

// shownHost is the host that the visible text of a link shows, "" when the
// text does not look like an address.
func shownHost(text []byte) string {
	s := strings.Trim(string(text), " .,:;()<>[]\"'")
	if s == "" || len(s) > 200 || strings.ContainsAny(s, " @") {
		return ""
	}
	if i := strings.Index(s, "://"); i >= 0 && i < 8 {
		s = s[i+3:]
	}
	if i := strings.IndexAny(s, "/?#:"); i >= 0 {
		s = s[:i]
	}
	host, ip := canonicalHost(s)
	if ip || host == "" {
		return host
	}
	// "report.pdf" and "e.g" are no hosts: the suffix has to be one.
	suffix, icann := publicsuffix.PublicSuffix(host)
	if !icann || suffix == host {
		return ""
	}
	return host
}

// clip bounds a string of the facts.
func clip(s string) string {
	if len(s) > filter.MaxFact {
		return strings.ToValidUTF8(s[:filter.MaxFact], "")
	}
	return s
}

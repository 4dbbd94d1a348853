package privacy

import (
	"bytes"
	"net/netip"
	"strings"
)

// Addresses are written in more ways than netip reads: ports and zones behind
// them, keys before them, octal, hexadecimal, one number, dashes, or as a part
// of a host name. A reading is what such text can mean; text may have several.

// maxToken bounds what is looked at as an address or host name: RFC 1035 ends
// names at 255 octets, and no spelling of an address is as long.
const maxToken = 255

// span is the part of a token that spells an address.
type span struct{ start, end int }

// trimAddress finds the part of tok that can be an address: without a key such
// as "IPv6:" or "CIP:" before it, without a port, a zone, or a dot behind it.
func trimAddress(tok []byte) span {
	s := span{0, len(tok)}
	if n := len("ipv6-"); len(tok) > n && equalFold(tok[:n], "ipv6-") && bytes.IndexByte(tok, ':') > n {
		s.start = n // IPv6-2001:db8::1
	}
	for {
		i := bytes.IndexByte(tok[s.start:], ':')
		if i <= 0 || isHex(tok[s.start:s.start+i]) || bytes.IndexByte(tok[s.start:s.start+i], '.') >= 0 && !isHostName(tok[s.start:s.start+i]) {
			break
		}
		s.start += i + 1
	}
	for s.end > s.start && (tok[s.end-1] == '.' || tok[s.end-1] == ',') {
		s.end--
	}
	colons, last := 0, 0
	for i, c := range tok[s.start:s.end] {
		switch c {
		case ':':
			colons, last = colons+1, i
		case '%', '#':
			s.end = s.start + i // a zone, or a port
			return s
		}
	}
	if colons == 1 && last > 0 {
		s.end = s.start + last // IPv4 and a port
	}
	return s
}

func isHex(b []byte) bool {
	for _, c := range b {
		if hexDigit(c) < 0 {
			return false
		}
	}
	return len(b) > 0
}

func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// address is the address that a token is beyond doubt.
func address(tok []byte) (netip.Addr, bool) {
	if len(tok) < 2 || len(tok) > maxToken {
		return netip.Addr{}, false
	}
	s := trimAddress(tok)
	return plain(tok[s.start:s.end])
}

// plain is the address that text is beyond doubt: a dotted quad, leading zeros
// allowed, 0x and eight digits, or IPv6.
func plain(b []byte) (netip.Addr, bool) {
	if bytes.IndexByte(b, ':') >= 0 {
		if a, ok := parse6(b); ok {
			return a, true
		}
		return parse6(b[:bytes.LastIndexByte(b, ':')]) // without a port, or a word
	}
	if len(b) == 10 && (b[1] == 'x' || b[1] == 'X') {
		return readNumber(b)
	}
	if bytes.Count(b, dot) != 3 {
		return netip.Addr{}, false
	}
	if a, ok := quad(b, 10); ok {
		return a, true
	}
	return quad(b, 0)
}

var dot = []byte(".")

func parse6(b []byte) (netip.Addr, bool) {
	if len(b) < 2 || len(b) > 45 {
		return netip.Addr{}, false
	}
	colons := 0
	for _, c := range b {
		if c == ':' {
			colons++
		} else if hexDigit(c) < 0 && c != '.' {
			return netip.Addr{}, false
		}
	}
	if colons < 6 && !bytes.Contains(b, []byte("::")) {
		return netip.Addr{}, false // 10:20:30, a time
	}
	a, err := netip.ParseAddr(string(b))
	return a.Unmap(), err == nil
}

// quad reads one to four numbers with dots between, the last one filling what
// is left, as inet_aton does. base 0 lets 0 and 0x say which base it is.
func quad(b []byte, base int) (netip.Addr, bool) {
	var v uint64
	for n := 0; ; n++ {
		part, rest, more := bytes.Cut(b, dot)
		x, ok := number(part, base)
		if !more {
			bits := 32 - 8*n
			if !ok || n > 3 || x >= 1<<bits {
				return netip.Addr{}, false
			}
			return addr4(uint32(v<<bits | x)), true
		}
		if !ok || x > 255 || n == 3 {
			return netip.Addr{}, false
		}
		v = v<<8 | x
		b = rest
	}
}

func addr4(v uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

// number reads digits of a base; 0 takes C's prefixes.
func number(b []byte, base int) (uint64, bool) {
	if base == 0 {
		switch {
		case len(b) > 2 && b[0] == '0' && (b[1] == 'x' || b[1] == 'X'):
			b, base = b[2:], 16
		case len(b) > 1 && b[0] == '0':
			b, base = b[1:], 8
		default:
			base = 10
		}
	}
	if len(b) == 0 || len(b) > 12 {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		d := hexDigit(c)
		if d < 0 || d >= base {
			return 0, false
		}
		v = v*uint64(base) + uint64(d)
	}
	return v, true
}

// readNumber reads an IPv4 address that is one number: 3405803853, 0xcb00714d.
func readNumber(b []byte) (netip.Addr, bool) {
	if v, ok := number(b, 0); ok && v >= 1<<24 && v < 1<<32 {
		return addr4(uint32(v)), true
	}
	return netip.Addr{}, false
}

// readings appends every address that the token can spell.
func readings(dst []netip.Addr, tok []byte) []netip.Addr {
	if len(tok) < 2 || len(tok) > maxToken {
		return dst
	}
	s := trimAddress(tok)
	b := tok[s.start:s.end]
	if a, ok := plain(b); ok {
		dst = append(dst, a)
	}
	if len(b) == 0 || !isAddressByte(b[0]) {
		return dst
	}
	if i := bytes.LastIndexByte(b, ':'); i >= 0 {
		if a, ok := parse6(b[:i]); ok {
			dst = append(dst, a) // the rest was a port
		}
		return dst
	}
	if a, ok := quad(b, 0); ok && bytes.IndexByte(b, '.') >= 0 {
		dst = append(dst, a) // octal, hexadecimal, fewer than four parts
	}
	if a, ok := readNumber(b); ok {
		dst = append(dst, a)
	}
	return hexReading(dst, b)
}

func isAddressByte(c byte) bool { return hexDigit(c) >= 0 || c == ':' }

// hexReading takes eight or thirty-two hexadecimal digits.
func hexReading(dst []netip.Addr, b []byte) []netip.Addr {
	if len(b) != 8 && len(b) != 32 || !isHex(b) {
		return dst
	}
	var raw [16]byte
	for i := range b {
		raw[i/2] = raw[i/2]<<4 | byte(hexDigit(b[i]))
	}
	if len(b) == 8 {
		return append(dst, netip.AddrFrom4([4]byte(raw[:4])))
	}
	return append(dst, netip.AddrFrom16(raw).Unmap())
}

// embedded appends the addresses that a host name is made from, the way access
// networks do it: four numbers in a row, forwards or backwards, eight
// hexadecimal digits in a label, one number, twelve digits, IPv6 with dashes for
// its colons, or a digit a label.
func embedded(dst []netip.Addr, name []byte) []netip.Addr {
	if len(name) > maxToken {
		return dst
	}
	dst = numberRuns(dst, name)
	dst = nibbleRun(dst, name)
	for len(name) > 0 {
		label, rest, _ := bytes.Cut(name, dot)
		dst = labelAddress(dst, label)
		name = rest
	}
	return dst
}

// labelAddress appends what one label of a host name can stand for.
func labelAddress(dst []netip.Addr, label []byte) []netip.Addr {
	dst = hexRuns(dst, label)
	if a, ok := readNumber(label); ok {
		dst = append(dst, a)
	}
	if len(label) == 32 {
		dst = hexReading(dst, label)
	}
	if bytes.Count(label, []byte("-")) >= 2 {
		if a, ok := parse6([]byte(strings.ReplaceAll(string(label), "-", ":"))); ok {
			dst = append(dst, a)
		}
	}
	return dst
}

// hexRuns looks at eight hexadecimal digits that nothing hexadecimal is around,
// or that end a label, and at twelve decimal ones.
func hexRuns(dst []netip.Addr, label []byte) []netip.Addr {
	for i := 0; i < len(label); {
		start := i
		for i < len(label) && hexDigit(label[i]) >= 0 {
			i++
		}
		run := label[start:i]
		switch {
		case len(run) == 12:
			dst = twelveDigits(dst, run)
		case len(run) == 8 || len(run) > 8 && i == len(label):
			dst = hexReading(dst, run[len(run)-8:])
		}
		i++
	}
	return dst
}

// twelveDigits is a dotted quad with leading zeros and without its dots.
func twelveDigits(dst []netip.Addr, run []byte) []netip.Addr {
	var raw [4]byte
	for k := range raw {
		v, ok := number(run[3*k:3*k+3], 10)
		if !ok || v > 255 {
			return dst
		}
		raw[k] = byte(v)
	}
	return append(dst, netip.AddrFrom4(raw))
}

// nibbleRun is a name of the ip6.arpa kind: thirty-two labels of one digit,
// backwards (RFC 3596 section 2.5).
func nibbleRun(dst []netip.Addr, name []byte) []netip.Addr {
	const size = 2*32 - 1
	if len(name) < size {
		return dst
	}
	var raw [16]byte
	for k := range 32 {
		d := hexDigit(name[2*k])
		if d < 0 || k < 31 && name[2*k+1] != '.' {
			return dst
		}
		raw[15-k/2] |= byte(d << (4 * (k % 2)))
	}
	return append(dst, netip.AddrFrom16(raw).Unmap())
}

// carried is the IPv4 address inside of an IPv6 one: IPv4-compatible (RFC 4291
// section 2.5.5.1), NAT64 (RFC 6052), 6to4 (RFC 3056). Mapped ones are unmapped
// wherever they are read.
func carried(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return netip.Addr{}
	}
	raw := a.As16()
	switch {
	case raw[0] == 0x20 && raw[1] == 0x02:
		return netip.AddrFrom4([4]byte(raw[2:6]))
	case [12]byte(raw[:12]) == nat64:
		return netip.AddrFrom4([4]byte(raw[12:]))
	case [12]byte(raw[:12]) == [12]byte{} && raw[12] != 0:
		return netip.AddrFrom4([4]byte(raw[12:]))
	}
	return netip.Addr{}
}

var nat64 = [12]byte{0, 0x64, 0xff, 0x9b}

// numberRuns looks at every four decimal numbers with one separator between.
func numberRuns(dst []netip.Addr, name []byte) []netip.Addr {
	var last [4]byte
	count, end := 0, -2
	for i := 0; i < len(name); {
		if name[i] < '0' || name[i] > '9' {
			i++
			continue
		}
		start, v := i, 0
		for ; i < len(name) && '0' <= name[i] && name[i] <= '9'; i++ {
			v = min(v*10+int(name[i]-'0'), 1000)
		}
		if v > 255 {
			count = 0
			continue
		}
		if start != end+1 {
			count = 0
		}
		end = i
		last = [4]byte{last[1], last[2], last[3], byte(v)}
		if count++; count >= 4 {
			dst = append(dst, netip.AddrFrom4(last), netip.AddrFrom4([4]byte{last[3], last[2], last[1], last[0]}))
		}
	}
	return dst
}

package privacy

import (
	"bytes"
	"net/netip"
)

// client is what from-clauses have told of clients: the text that must not
// stand anywhere else in the trace. Few messages tell more than a handful of
// each, which are quickest to compare one by one; maps take what a hostile one
// has more.
type client struct {
	addrs     []netip.Addr
	names     [][]byte // in the header section itself
	moreAddrs map[netip.Addr]struct{}
	moreNames map[string]struct{} // lower case

	buf  []netip.Addr // scratch
	text []byte       // scratch
}

// few is how many of each are compared one by one.
const few = 16

func (c *client) reset() {
	c.addrs, c.names = c.addrs[:0], c.names[:0]
	clear(c.moreAddrs)
	clear(c.moreNames)
}

// learn takes in the addresses and host names of a from-clause. Mail addresses
// in it ("Authenticated sender: ...") are no hosts. What is in doubt, such as one
// large number, is an address where it stands in brackets.
func (c *client) learn(clause []byte) {
	for s := (scanner{b: clause}); s.next(); {
		if s.encoded {
			if text := decodeWord(s.b[s.start:s.end]); encodedWord(text) == 0 {
				c.learn(text)
			}
			continue
		}
		tok := s.token()
		a, ok := address(tok)
		switch {
		case ok:
			c.learnAddr(a)
		case s.start > 0 && clause[s.start-1] == '[':
			c.learnAll(embedded(readings(c.buf[:0], tok), tok))
		case !s.atSign():
			if isHostName(tok) {
				c.learnName(s.stable(tok))
			}
			c.learnAll(embedded(c.buf[:0], tok))
		}
	}
}

func (c *client) learnAll(list []netip.Addr) {
	for _, a := range list {
		c.learnAddr(a)
	}
	c.buf = list[:0]
}

func (c *client) learnAddr(a netip.Addr) {
	if v4 := carried(a); v4.IsValid() {
		c.learnAddr(v4)
	}
	switch {
	case !tells(a) || c.knowsAddr(a):
	case len(c.addrs) < few:
		c.addrs = append(c.addrs, a)
	default:
		if c.moreAddrs == nil {
			c.moreAddrs = map[netip.Addr]struct{}{}
		}
		c.moreAddrs[a] = struct{}{}
	}
}

func (c *client) knowsAddr(a netip.Addr) bool {
	if v4 := carried(a); v4.IsValid() && c.knowsAddr(v4) {
		return true
	}
	for _, known := range c.addrs {
		if known == a {
			return true
		}
	}
	_, ok := c.moreAddrs[a]
	return ok
}

// tells reports whether an address says anything of who the client is.
func tells(a netip.Addr) bool { return a.IsValid() && !a.IsLoopback() && !a.IsUnspecified() }

// learnName keeps name, which lies in the header section.
func (c *client) learnName(name []byte) {
	name = bytes.TrimSuffix(name, dot)
	switch {
	case equalFold(name, clientName) || c.hasName(name):
	case len(c.names) < few:
		c.names = append(c.names, name)
	default:
		if c.moreNames == nil {
			c.moreNames = map[string]struct{}{}
		}
		c.text = appendLower(c.text[:0], name)
		c.moreNames[string(c.text)] = struct{}{}
	}
}

func appendLower(dst, b []byte) []byte {
	for _, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// isHostName takes two labels or more, the last one of which begins with a
// letter: "TLSv1.3" names no host.
func isHostName(b []byte) bool {
	if len(b) < 4 || len(b) > maxToken {
		return false
	}
	dots, letters := 0, false
	for _, c := range b {
		switch {
		case c == '.':
			dots++
		case 'a' <= c|0x20 && c|0x20 <= 'z' || c >= 0x80:
			letters = true
		case '0' <= c && c <= '9' || c == '-' || c == '_':
		default:
			return false
		}
	}
	if dots == 0 || !letters || b[0] == '.' {
		return false
	}
	last := bytes.TrimSuffix(b, dot)
	first := last[bytes.LastIndexByte(last, '.')+1:]
	return len(first) > 0 && (isLower(first[0]|0x20) || first[0] >= 0x80)
}

// hasAddr reports whether the token spells one of the addresses, or is a host
// name that is made from one.
func (c *client) hasAddr(tok []byte) bool {
	if len(c.addrs) == 0 {
		return false
	}
	c.buf = readings(c.buf[:0], tok)
	c.buf = embedded(c.buf, tok)
	for _, a := range c.buf {
		if c.knowsAddr(a) {
			return true
		}
	}
	return false
}

// hasName reports whether the token is one of the host names.
func (c *client) hasName(tok []byte) bool {
	tok = bytes.TrimSuffix(tok, dot)
	for _, known := range c.names {
		if len(known) == len(tok) && bytes.EqualFold(known, tok) {
			return true
		}
	}
	if len(c.moreNames) == 0 || len(tok) > maxToken {
		return false
	}
	c.text = appendLower(c.text[:0], tok)
	_, ok := c.moreNames[string(c.text)]
	return ok
}

package privacy

import (
	"net/netip"
)

// client is what from-clauses have told of clients: the text that must not
// stand anywhere else in the trace.
type client struct {
	addrs map[netip.Addr]struct{}
	names map[string]struct{} // lower case
	buf   []netip.Addr        // scratch
	text  []byte              // scratch
}

func (c *client) reset() {
	clear(c.addrs)
	clear(c.names)
}

func (c *client) empty() bool { return len(c.addrs) == 0 && len(c.names) == 0 }

// learn takes in the addresses and host names of a from-clause. Mail addresses
// in it ("Authenticated sender: …") are no hosts.
func (c *client) learn(clause []byte) {
	for s := (scanner{b: clause}); s.next(); {
		tok := s.token()
		if a, ok := plain(tok[trimAddress(tok).start:trimAddress(tok).end]); ok {
			c.learnAddr(a)
			continue
		}
		if isHostName(tok) && !s.atSign() {
			c.learnName(tok)
		}
	}
}

func (c *client) learnAddr(a netip.Addr) {
	if !tells(a) {
		return
	}
	if c.addrs == nil {
		c.addrs = make(map[netip.Addr]struct{}, 8)
	}
	c.addrs[a] = struct{}{}
}

// tells reports whether an address says anything of who the client is.
func tells(a netip.Addr) bool { return a.IsValid() && !a.IsLoopback() && !a.IsUnspecified() }

func (c *client) learnName(name []byte) {
	if c.names == nil {
		c.names = make(map[string]struct{}, 8)
	}
	c.text = appendLower(c.text[:0], name)
	if _, known := c.names[string(c.text)]; !known && string(c.text) != clientName {
		c.names[string(c.text)] = struct{}{}
	}
}

func appendLower(dst, b []byte) []byte {
	for _, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	if n := len(dst); n > 0 && dst[n-1] == '.' {
		dst = dst[:n-1]
	}
	return dst
}

// isHostName takes two labels or more with a letter among them.
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
	return dots > 0 && letters && b[0] != '.'
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
		if _, ok := c.addrs[a]; ok {
			return true
		}
	}
	return false
}

// hasName reports whether the token is one of the host names.
func (c *client) hasName(tok []byte) bool {
	if len(c.names) == 0 || len(tok) > maxToken {
		return false
	}
	c.text = appendLower(c.text[:0], tok)
	_, ok := c.names[string(c.text)]
	return ok
}

package privacy

import "net/netip"

// clientAddr is the address that the server saw, out of a from-clause: the
// first one in its comments, unless the client itself gave it as its HELO; else
// the one in the from-domain; nothing when the clause gives no address. It can
// have two readings: leading zeros are decimal to some and octal to others.
//
//	from helo (name [192.0.2.1])            Postfix, Sendmail
//	from [192.0.2.1] (helo=name)            Exim
//	from name ([192.0.2.1]:4711 helo=[…])   Exim
//	from unknown (HELO name) (192.0.2.1)    qmail
//	from name (2001:db8::1)                 Exchange
func clientAddr(clause []byte) []netip.Addr {
	var domain []netip.Addr
	helo := false
	for s := (scanner{b: clause}); s.next(); {
		tok := s.token()
		if s.encoded {
			if list := firstAddr(decodeWord(s.b[s.start:s.end])); list != nil && s.depth > 0 && !helo {
				return list
			} else if s.depth == 0 && domain == nil {
				domain = list
			}
			helo = false
			continue
		}
		if s.depth > 0 && (equalFold(tok, "helo") || equalFold(tok, "ehlo")) {
			helo = true
			continue
		}
		a, ok := address(tok)
		switch {
		case ok && s.depth > 0 && !helo:
			return readingsOf(a, tok)
		case ok && s.depth == 0 && domain == nil:
			domain = readingsOf(a, tok)
		}
		helo = false
	}
	return domain
}

// firstAddr is the first address in the text of an encoded word.
func firstAddr(text []byte) []netip.Addr {
	for s := (scanner{b: text}); s.next(); {
		if tok := s.token(); !s.encoded {
			if a, ok := address(tok); ok {
				return readingsOf(a, tok)
			}
		}
	}
	return nil
}

// readingsOf is a, and what else tok can mean when it has leading zeros.
func readingsOf(a netip.Addr, tok []byte) []netip.Addr {
	if tok[0] == '0' {
		return readings([]netip.Addr{a}, tok)
	}
	return []netip.Addr{a}
}

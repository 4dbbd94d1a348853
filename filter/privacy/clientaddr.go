package privacy

import "net/netip"

// clientAddr is the address that the server saw, out of a from-clause: the
// first one in its comments, unless the client itself gave it as its HELO; else
// the one in the from-domain. ok is false when the clause gives no address.
//
//	from helo (name [192.0.2.1])            Postfix, Sendmail
//	from [192.0.2.1] (helo=name)            Exim
//	from name ([192.0.2.1]:4711 helo=[…])   Exim
//	from unknown (HELO name) (192.0.2.1)    qmail
//	from name (2001:db8::1)                 Exchange
func clientAddr(clause []byte) (a netip.Addr, ok bool) {
	var domain netip.Addr
	helo := false
	for s := (scanner{b: clause}); s.next(); {
		tok := s.token()
		if s.depth > 0 && (equalFold(tok, "helo") || equalFold(tok, "ehlo")) {
			helo = true
			continue
		}
		a, ok := address(tok)
		switch {
		case ok && s.depth > 0 && !helo:
			return a, true
		case ok && s.depth == 0 && !domain.IsValid():
			domain = a
		}
		helo = false
	}
	return domain, domain.IsValid()
}

package dns

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// endpoint is where a server listens, and how it is spoken to.
type endpoint struct {
	addr string // host:port
	tls  bool
	name string // with tls: whom the certificate must be for, a host name or an address
}

// parseEndpoint reads "host:port", or "tls://address:port#name" for a server
// that is asked over TLS and must show a certificate for name. The port may be
// absent there: it is 853 then (RFC 7858 section 3.1). So may the name: the
// certificate must be for the address then.
func parseEndpoint(s string) (endpoint, error) {
	rest, secure := strings.CutPrefix(s, "tls://")
	if !secure {
		_, _, err := net.SplitHostPort(s)
		return endpoint{addr: s}, err
	}
	rest, name, _ := strings.Cut(rest, "#")
	if a, err := netip.ParseAddr(strings.Trim(rest, "[]")); err == nil {
		rest = netip.AddrPortFrom(a, 853).String()
	}
	ap, err := netip.ParseAddrPort(rest)
	if err != nil {
		return endpoint{}, fmt.Errorf("a server that is asked over TLS needs an address: %w", err)
	}
	if name == "" {
		name = ap.Addr().WithZone("").String()
	}
	return endpoint{addr: ap.String(), tls: true, name: name}, nil
}

// loopback reports that what the server says cannot be changed on the way.
func (e endpoint) loopback() bool {
	ap, err := netip.ParseAddrPort(e.addr)
	return err == nil && ap.Addr().IsLoopback()
}

// Trust tells whose word counts that an answer was validated with DNSSEC: the
// AD bit is an assertion of the server, and anybody on the way could set it
// (RFC 6840 section 5.7, RFC 3655 section 3).
type Trust uint8

// Whose AD bit is believed.
const (
	TrustSecure Trust = iota // that of servers on loopback or over TLS
	TrustAll                 // that of every server: the network to them is trusted
	TrustNone                // nobody's
)

func (t Trust) in(e endpoint) bool {
	return t == TrustAll || t == TrustSecure && (e.tls || e.loopback())
}

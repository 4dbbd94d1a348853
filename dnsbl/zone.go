package dnsbl

import (
	"fmt"
	"net/netip"
)

// Zone is one list. The zero Codes, NoIPv4 and NoIPv6 are right for most.
type Zone struct {
	Name  string  // "zen.example"
	Score float64 // of a listing; below zero the list welcomes (DNSWL)
	// Codes are the return codes that are listings; empty: DefaultCodes.
	// 127.255.255.0/24 and 127.0.0.1 are none even if Codes hold them.
	Codes []netip.Prefix
	// NoIPv4 and NoIPv6 keep addresses of a family from being asked, where
	// the list has none.
	NoIPv4, NoIPv6 bool
	// TestPoint makes it a list of domain names (URIBL): a name that it must
	// list, while it must not list "invalid" (RFC 5782 section 5, which has
	// "test" for the former; some lists have another one).
	TestPoint string
}

var (
	// DefaultCodes is where listings are (RFC 5782 section 2.1).
	DefaultCodes = netip.MustParsePrefix("127.0.0.0/8")

	// errorCodes tell that the query was refused, or over a quota: list
	// operators agree on this block, RFC 5782 does not know it.
	errorCodes = netip.MustParsePrefix("127.255.255.0/24")

	// notListed is what a list must never answer for a listing: RFC 5782
	// section 5 uses the address as the test point that is not listed.
	notListed = netip.MustParseAddr("127.0.0.1")
	testPoint = netip.MustParseAddr("127.0.0.2") // the one that is listed
)

// ParseCodes reads declared return codes: "127.0.0.2" or "127.0.0.0/28".
func ParseCodes(codes []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range codes {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			addr, addrErr := netip.ParseAddr(s)
			if addrErr != nil {
				return nil, fmt.Errorf("return code %q is neither an IPv4 address nor a prefix", s)
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		if !DefaultCodes.Contains(p.Addr()) || p.Bits() < DefaultCodes.Bits() {
			return nil, fmt.Errorf("return code %q is not within %s", s, DefaultCodes)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// declared reports that code means a listing in this zone.
func (z *Zone) declared(code netip.Addr) bool {
	if errorCodes.Contains(code) || code == notListed {
		return false
	}
	if len(z.Codes) == 0 {
		return DefaultCodes.Contains(code)
	}
	for _, p := range z.Codes {
		if p.Contains(code) {
			return true
		}
	}
	return false
}

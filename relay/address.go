package relay

import (
	"math/rand/v2"
	"net/netip"
	"slices"
)

// unreal are networks that no mail exchanger of somebody else can be in, with
// what they are. DNS is written by strangers: a domain whose MX leads to
// 127.0.0.1 would have us talk to whatever listens here, with content of the
// stranger's choice, and 169.254.169.254 is where clouds keep credentials.
// Private networks (RFC 1918, RFC 4193) are not among them: they are where
// many sites have their other mail servers.
var unreal = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"}, // Linux takes 0.0.0.0 for itself
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"}, // with 255.255.255.255
	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("::/96"), "reserved"}, // IPv4-compatible, RFC 4291 section 2.5.5.1
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// refuse says what is wrong with an address that DNS or a recipient's address
// literal names, "" for nothing. addr is unmapped.
func (m *MX) refuse(addr netip.Addr) string {
	for _, p := range m.Allow {
		if p.Contains(addr) {
			return ""
		}
	}
	for _, u := range unreal {
		if u.prefix.Contains(addr) {
			return u.what
		}
	}
	return ""
}

func (m *MX) own(addr netip.Addr) bool {
	for _, a := range m.Own {
		if a.Unmap() == addr {
			return true
		}
	}
	return false
}

// arrange puts the addresses of one host into the order of trying: the
// families in turn, so that a bounded number of tries sees both, IPv6 first as
// RFC 6724 has it (on a host without it that costs no time, there is no route);
// within a family at random, which spreads the load as DNS servers mean it.
func arrange(v4, v6 []netip.Addr) []netip.Addr {
	v4, v6 = slices.Clone(v4), slices.Clone(v6)
	for _, list := range [][]netip.Addr{v4, v6} {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	out := make([]netip.Addr, 0, len(v4)+len(v6))
	for i := range max(len(v4), len(v6)) {
		if i < len(v6) {
			out = append(out, v6[i].Unmap())
		}
		if i < len(v4) {
			out = append(out, v4[i].Unmap())
		}
	}
	return out
}

package dns

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	wire "github.com/miekg/dns"
	"pgregory.net/rapid"
)

// FuzzParse gives any octets to what reads replies. Whatever comes, a reply
// gives records of the type that was asked, a certain absence, or an error,
// and never more than the limits allow.
func FuzzParse(f *testing.F) {
	for typ := range wireTypes {
		k := key{"x.example", Type(typ)}
		for _, lines := range [][]string{
			nil, chain(2), chain(9),
			{"x.example. 60 TXT \"a\" \"b\\200\"", "x.example. 60 MX 10 a\\.b.example.", "x.example. 60 PTR a\\032b."},
			{"x.example. 60 AAAA 2001:db8::1", "example. 60 SOA a. b. 1 2 3 4 5", "example. 60 NS a."},
		} {
			raw, err := message(f, k, lines...).Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(byte(typ), raw)
			f.Add(byte(typ), raw[:len(raw)-1])
		}
	}
	f.Fuzz(func(t *testing.T, typ byte, reply []byte) {
		k := key{"x.example", Type(typ % byte(len(wireTypes)))}
		q := newQuery(k, true)
		if len(reply) >= 2 {
			copy(reply, q.msg[:2])
		}
		if !q.matches(reply) {
			return
		}
		a, err := parse(q, reply)
		if err != nil {
			if a != nil {
				t.Error("an answer beside an error")
			}
			return
		}
		n := len(a.addrs) + len(a.texts) + len(a.mx)
		switch {
		case a.err == nil && n == 0, a.err != nil && n > 0:
			t.Errorf("neither found nor absent: %+v", a)
		case a.err != nil && a.err.Kind != NotFound:
			t.Errorf("kind %d", a.err.Kind)
		case n > maxAnswer, a.ttl < minTTL, a.ttl > maxTTL:
			t.Errorf("%d records, TTL %v", n, a.ttl)
		}
	})
}

// FuzzName: what canonical takes can be asked, and stands on the wire as the
// octets that were given.
func FuzzName(f *testing.F) {
	for _, s := range []string{"example.org", "A b%c:d.example.", "..", "x.\x00\xff.y", "\\046.x", strings.Repeat("a", 64), strings.Repeat("a.", 127)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, ok := canonical(s)
		if !ok {
			return
		}
		q := newQuery(key{name, TypeTXT}, true)
		var m wire.Msg
		if err := m.Unpack(q.msg); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if len(m.Question) != 1 || m.Question[0].Qtype != wire.TypeTXT || m.IsEdns0() == nil || !m.RecursionDesired {
			t.Fatalf("message %v", &m)
		}
		if got, ok := unescape(m.Question[0].Name); !ok || got != name {
			t.Fatalf("%q came out as %q", name, got)
		}
		if again, ok := canonical(name); !ok || again != name {
			t.Fatalf("%q is not canonical", name)
		}
		reply := bytes.Clone(q.msg)
		reply[2] |= 0x80
		upper := bytes.ToUpper(reply[headerLen : headerLen+len(q.question)-4])
		if isASCII(upper) {
			copy(reply[headerLen:], upper)
		}
		if !q.matches(reply) {
			t.Fatalf("%q: its own reply does not match", name)
		}
	})
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c > 127 {
			return false
		}
	}
	return true
}

// Octets of a TXT record come out as they went in.
func TestTextOctets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "octets")
		raw, err := message(t, key{"x.example", TypeTXT}).Pack()
		if err != nil {
			t.Fatal(err)
		}
		raw[7] = 1
		raw = append(raw, 0xc0, headerLen, 0, byte(wire.TypeTXT), 0, 1, 0, 0, 1, 0, 0, byte(len(want)+1), byte(len(want)))
		raw = append(raw, want...)
		a, err := parse(newQuery(key{"x.example", TypeTXT}, true), raw)
		if err != nil || len(a.texts) != 1 || a.texts[0] != string(want) {
			t.Fatalf("%q became %+v, %v", want, a, err)
		}
	})
}

func TestReverse(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.10":         "10.2.0.192.in-addr.arpa",
		"255.100.0.99":       "99.0.100.255.in-addr.arpa",
		"::ffff:192.0.2.1":   "1.2.0.192.in-addr.arpa",
		"2001:db8::567:89ab": "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		if got := reverseName(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %s", addr, got)
		}
	}
}

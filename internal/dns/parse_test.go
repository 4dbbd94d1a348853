package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	wire "github.com/miekg/dns"
)

// Records that nobody asked for are not taken: other owners, other classes,
// other types.
func TestStrangeRecords(t *testing.T) {
	k := key{"x.example", TypeA}
	for _, c := range []struct {
		name  string
		lines []string
		rcode int
		want  Kind // 0: found
	}{
		{"other owner", []string{"evil.example. 60 A 192.0.2.66"}, 0, NotFound},
		{"other class", []string{"x.example. 60 CH A 192.0.2.66"}, 0, NotFound},
		{"other type", []string{"x.example. 60 TXT hello"}, 0, NotFound},
		{"beside", []string{"evil.example. 60 A 192.0.2.66", "x.example. 60 A 192.0.2.1"}, 0, 0},
		{"alias of another", []string{"y.example. 60 CNAME z.example.", "z.example. 60 A 192.0.2.66"}, 0, NotFound},
		{"name error with records", []string{"x.example. 60 A 192.0.2.66"}, wire.RcodeNameError, Temporary},
		{"name error behind an alias", []string{"x.example. 60 CNAME y.example."}, wire.RcodeNameError, NotFound},
		{"refused with records", []string{"x.example. 60 A 192.0.2.66"}, wire.RcodeRefused, Temporary},
		{"extended code", []string{"x.example. 60 A 192.0.2.66"}, wire.RcodeBadVers, Temporary},
		{"chain of 8", chain(8), 0, 0},
		{"chain of 9", chain(9), 0, Temporary},
	} {
		m := message(t, k, c.lines...)
		m.SetEdns0(1232, false)
		m.Rcode = c.rcode
		raw, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		a, err := parse(newQuery(k, true), raw)
		var got Kind
		if err != nil {
			got = Temporary
		} else if a.err != nil {
			got = a.err.Kind
		}
		if got != c.want || got == 0 && a.addrs[0] != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("%s: %v %v", c.name, a, err)
		}
	}
}

func chain(n int) []string {
	name := "x.example."
	var lines []string
	for i := range n {
		next := fmt.Sprintf("c%d.example.", i)
		lines = append(lines, name+" 60 CNAME "+next)
		name = next
	}
	return append(lines, name+" 60 A 192.0.2.1")
}

func TestErrorCauses(t *testing.T) {
	err := error(failed(key{"x", TypeA}, Temporary, fmt.Errorf("%w: x", errGarbage)).err)
	if !errors.Is(err, errGarbage) || !IsTemporary(err) || IsNotFound(err) {
		t.Error(err)
	}
	if !IsTemporary(errors.New("anything else")) || IsTemporary(nil) {
		t.Error("an unknown error must count as temporary")
	}
}

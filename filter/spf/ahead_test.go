package spf

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"mailweir/internal/dns"
)

// aheadFake notes what is begun ahead.
type aheadFake struct {
	*dns.Fake
	names []string
}

func (a *aheadFake) Prefetch(t dns.Type, name string) {
	a.names = append(a.names, []string{"A", "AAAA", "TXT", "MX", "PTR"}[t]+":"+name)
}

// TestAhead: the terms behind the first that needs DNS are asked for at once,
// never more than the limits allow, and the result is the same.
func TestAhead(t *testing.T) {
	many := strings.Repeat(" include:x.example", 20)
	for _, c := range []struct{ record, ip, want string }{
		{"v=spf1 ip4:192.0.2.1 include:x.example a mx -all", "192.0.2.1", ""},
		{"v=spf1 include:x.example -all", "192.0.2.1", ""},
		{"v=spf1 include:x.example a:a.example mx:m.example exists:%{i}.e.example ptr -all redirect=r.example", "192.0.2.1",
			"A:a.example MX:m.example A:192.0.2.1.e.example A:h2.example A:h3.example"},
		{"v=spf1 a:a.example a:%{p}.example include:x.example redirect=r.example", "2001:db8::1", "TXT:x.example TXT:r.example"},
		{"v=spf1 include:x.example -all a:after.example", "192.0.2.1", ""},
		{"v=spf1" + many, "192.0.2.1", strings.TrimSpace(strings.Repeat("TXT:x.example ", 9))},
	} {
		fake := &dns.Fake{
			TXT: map[string][]string{"d.example": {c.record}, "x.example": {"v=spf1 ?all"}, "r.example": {"v=spf1 -all"}},
			MX:  map[string][]dns.MX{"m.example": {{Host: "h1.example"}, {Host: "h2.example"}, {Host: "h3.example"}}},
			A:   map[string][]string{"a.example": {"192.0.2.9"}, "h1.example": {"192.0.2.8"}},
		}
		args := Args{IP: netip.MustParseAddr(c.ip), Helo: "h.example", MailFrom: "a@d.example"}
		a := &aheadFake{Fake: fake}
		got, want := CheckHost(context.Background(), a, args), CheckHost(context.Background(), fake, args)
		if got.Status != want.Status || got.Mechanism != want.Mechanism || got.Problem != want.Problem {
			t.Errorf("%s: %s by %q, without %s by %q", c.record, got.Status, got.Mechanism, want.Status, want.Mechanism)
		}
		if names := strings.Join(a.names, " "); names != c.want {
			t.Errorf("%s:\n%s, want\n%s", c.record, names, c.want)
		}
	}
}

// TestAheadBound: a tree of records that fan out does not fan out our queries.
func TestAheadBound(t *testing.T) {
	a := &aheadFake{Fake: &dns.Fake{TXT: map[string][]string{}}}
	for i := range 10 {
		name := strings.Repeat("n", i+1)
		a.TXT[name+".example"] = []string{"v=spf1 include:n" + name + ".example" + strings.Repeat(" a:%{s}"+name+".example", 9)}
	}
	CheckHost(context.Background(), a, Args{IP: netip.MustParseAddr("192.0.2.1"), Helo: "h.example", MailFrom: "a@n.example"})
	if len(a.names) != maxAhead {
		t.Errorf("%d look-ups begun", len(a.names))
	}
}

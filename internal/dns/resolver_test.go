package dns_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mailweir/internal/dns"
	"mailweir/internal/dns/dnstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func resolver(t testing.TB, servers ...string) *dns.Resolver {
	t.Helper()
	r, err := dns.New(dns.Options{Servers: servers, Timeout: 400 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

const records = `
	example.org            TXT "v=spf1 " "-all"
	example.org            TXT "second; \"quoted\" \\ \200"
	example.org            MX  20 b.example.org.
	example.org            MX  10 a.example.org.
	null.example           MX  0 .
	a.example.org          A    192.0.2.1
	a.example.org          AAAA 2001:db8::1
	a\032b%c:d.example     TXT "strange name"
	x.\194\164.example     TXT "not ASCII"
	alias.example          CNAME other.example.
	other.example          CNAME A.Example.Org.
	1.2.0.192.in-addr.arpa PTR a.example.org.
	1.2.0.192.in-addr.arpa PTR bad\032host.example.
	1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR six.example.
	*.wild.example         A 192.0.2.7
`

func TestLookups(t *testing.T) {
	ctx := context.Background()
	r := resolver(t, dnstest.Start(t, records))
	check := func(what string, got any, err error, want any) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		} else if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
	for range 2 { // from the server, then from the cache
		txt, err := r.LookupTXT(ctx, "Example.ORG.")
		check("TXT", txt, err, []string{"v=spf1 -all", "second; \"quoted\" \\ \xc8"})
		txt, err = r.LookupTXT(ctx, "a b%c:d.example")
		check("odd TXT", txt, err, []string{"strange name"})
		txt, err = r.LookupTXT(ctx, "x.\xc2\xa4.example")
		check("octets TXT", txt, err, []string{"not ASCII"})
		mx, err := r.LookupMX(ctx, "example.org")
		check("MX", mx, err, []dns.MX{{Host: "a.example.org", Preference: 10}, {Host: "b.example.org", Preference: 20}})
		mx, err = r.LookupMX(ctx, "null.example")
		check("null MX", mx, err, []dns.MX{{}})
		a, err := r.LookupA(ctx, "alias.example")
		check("A by CNAME", a, err, []netip.Addr{netip.MustParseAddr("192.0.2.1")})
		a, err = r.LookupA(ctx, "b.wild.example")
		check("A by wildcard", a, err, []netip.Addr{netip.MustParseAddr("192.0.2.7")})
		a, err = r.LookupAAAA(ctx, "a.example.org")
		check("AAAA", a, err, []netip.Addr{netip.MustParseAddr("2001:db8::1")})
		ptr, err := r.LookupPTR(ctx, netip.MustParseAddr("::ffff:192.0.2.1"))
		check("PTR", ptr, err, []string{"a.example.org", "bad host.example"})
		ptr, err = r.LookupPTR(ctx, netip.MustParseAddr("2001:db8::1"))
		check("PTR6", ptr, err, []string{"six.example"})
	}
}

func TestKinds(t *testing.T) {
	srv := dnstest.Run(t, records+`
		!servfail  servfail.example
		!refused   refused.example
		!drop      drop.example
		!wrongid   wrongid.example
		!wrongname wrongname.example
		!garbage   garbage.example
		!cut       cut.example
		!huge      huge.example
		loop1.example CNAME loop2.example.
		loop2.example CNAME loop1.example.
		self.example CNAME self.example.
		dangling.example CNAME nowhere.example.
	`)
	r := resolver(t, srv.Addr())
	for name, want := range map[string]dns.Kind{
		"nx.example":        dns.NotFound,
		"a.example.org":     dns.NotFound, // NODATA
		"wild.example":      dns.NotFound, // empty non-terminal
		"dangling.example":  dns.NotFound,
		"servfail.example":  dns.Temporary,
		"refused.example":   dns.Temporary,
		"drop.example":      dns.Temporary,
		"wrongid.example":   dns.Temporary,
		"wrongname.example": dns.Temporary,
		"garbage.example":   dns.Temporary,
		"cut.example":       dns.Temporary,
		"huge.example":      dns.Temporary,
		"loop1.example":     dns.Temporary,
		"self.example":      dns.Temporary,
		"":                  dns.Invalid,
		"a..example":        dns.Invalid,
		".example":          dns.Invalid,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := r.LookupTXT(context.Background(), name)
			var e *dns.Error
			if !errors.As(err, &e) || e.Kind != want || got != nil {
				t.Errorf("%q: %q, %v; want kind %d", name, got, err, want)
			}
			if none := name == "nx.example" || want == dns.Invalid; dns.IsNoName(err) != none {
				t.Errorf("%q: that there is no such name: %v, want %v", name, !none, none)
			}
		})
	}
}

package iprev

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mailweir/filter"
	"mailweir/internal/dns"
	"mailweir/internal/dns/dnstest"
	"mailweir/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const zone = `
	1.2.0.192.in-addr.arpa  PTR Mail.Example.org.
	mail.example.org        A   192.0.2.1
	mail.example.org        A   192.0.2.99
	2.2.0.192.in-addr.arpa  PTR other.example.org.
	other.example.org       A   192.0.2.77
	3.2.0.192.in-addr.arpa  PTR nowhere.example.org.
	4.2.0.192.in-addr.arpa  PTR z.example.org.
	4.2.0.192.in-addr.arpa  PTR mail4.example.org.
	4.2.0.192.in-addr.arpa  PTR a.broken.example.
	mail4.example.org       A   192.0.2.4
	5.2.0.192.in-addr.arpa  PTR a.broken.example.
	6.2.0.192.in-addr.arpa  PTR slow.example.
	9.2.0.192.in-addr.arpa  PTR evil\013\010name.example.
	9.2.0.192.in-addr.arpa  PTR 192.0.2.9.
	9.2.0.192.in-addr.arpa  PTR a\032b.example.
	evil\013\010name.example A  192.0.2.9
	192.0.2.9               A   192.0.2.9
	a\032b.example          A   192.0.2.9
	10.2.0.192.in-addr.arpa PTR six.example.
	1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR six.example.
	six.example             AAAA 2001:db8::1
	!servfail a.broken.example
	!drop     slow.example
	!servfail 7.2.0.192.in-addr.arpa
	!drop     8.2.0.192.in-addr.arpa
`

func resolver(t testing.TB, zone string) *dns.Resolver {
	t.Helper()
	r, err := dns.New(dns.Options{Servers: []string{dnstest.Start(t, zone)}, Timeout: 150 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestCheck(t *testing.T) {
	check := New(resolver(t, zone))
	for _, c := range []struct {
		addr   string
		result string
		name   string
		symbol string
		state  filter.State
	}{
		{"192.0.2.1", "pass", "mail.example.org", "", filter.OK},
		{"::ffff:192.0.2.1", "pass", "mail.example.org", "", filter.OK},
		{"192.0.2.2", "fail", "", SymMismatch, filter.OK},
		{"192.0.2.3", "fail", "", SymMismatch, filter.OK},
		{"192.0.2.4", "pass", "mail4.example.org", "", filter.OK}, // one name cannot be resolved, another one confirms
		{"192.0.2.5", "temperror", "", "", filter.Error},
		{"192.0.2.6", "temperror", "", "", filter.Timeout},
		{"192.0.2.7", "temperror", "", "", filter.Error},
		{"192.0.2.8", "temperror", "", "", filter.Timeout},
		{"192.0.2.9", "fail", "", SymMismatch, filter.OK}, // names that no host can have, though they point back
		{"192.0.2.10", "fail", "", SymMismatch, filter.OK},
		{"192.0.2.11", "permerror", "", SymNone, filter.OK},
		{"2001:db8::1", "pass", "six.example", "", filter.OK},
		{"2001:db8::2", "permerror", "", SymNone, filter.OK},
	} {
		r := check.Run(context.Background(), &filter.Transaction{Client: &mail.Client{Addr: netip.MustParseAddr(c.addr)}})
		var f filter.Facts
		r.Set(&f)
		if f.IPRev != c.result || f.Client.Name != c.name || r.State != c.state || symbol(r) != c.symbol {
			t.Errorf("%s: %s %q %s %q", c.addr, f.IPRev, f.Client.Name, r.State, symbol(r))
		}
		want := []filter.AuthResult{{Method: "iprev", Result: c.result, Client: true,
			Props: []filter.AuthProp{{Type: "policy", Property: "iprev", Value: c.addr, Client: true}}}}
		if d := cmp.Diff(want, r.Auth); d != "" {
			t.Errorf("%s: %s", c.addr, d)
		}
		if (r.Cause != nil) != (r.State != filter.OK) {
			t.Errorf("%s: %s with the cause %v", c.addr, r.State, r.Cause)
		}
	}
}

func symbol(r filter.Report) string {
	var names []string
	for _, s := range r.Symbols {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

// failing is a resolver that must not be asked.
type failing struct{ t *testing.T }

func (f failing) LookupPTR(context.Context, netip.Addr) ([]string, error) {
	f.t.Error("PTR asked")
	return nil, nil
}
func (f failing) LookupA(context.Context, string) ([]netip.Addr, error)    { return nil, nil }
func (f failing) LookupAAAA(context.Context, string) ([]netip.Addr, error) { return nil, nil }

// What a trusted proxy has found out stands; without an address there is
// nothing to find out.
func TestNoLookup(t *testing.T) {
	check := New(failing{t})
	r := check.Run(context.Background(), &filter.Transaction{
		Client: &mail.Client{Addr: netip.MustParseAddr("192.0.2.1"), Name: "given.example"},
	})
	var f filter.Facts
	r.Set(&f)
	if f.IPRev != "pass" || f.Client.Name != "given.example" || r.State != filter.OK || len(r.Auth) != 1 {
		t.Errorf("%+v %+v", f, r)
	}
	if r = check.Run(context.Background(), &filter.Transaction{Client: &mail.Client{}}); r.State != filter.Skipped || r.Auth != nil {
		t.Errorf("%+v", r)
	}
}

// An address with many names costs ten look-ups, and a caller's end is a
// time-out.
func TestLimits(t *testing.T) {
	var zone strings.Builder
	for i := range 100 {
		fmt.Fprintf(&zone, "1.2.0.192.in-addr.arpa PTR n%02d.example.\n", i)
	}
	srv := dnstest.Run(t, zone.String())
	r, err := dns.New(dns.Options{Servers: []string{srv.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	res, _, err := Lookup(context.Background(), r, netip.MustParseAddr("192.0.2.1"))
	if res != Fail || err != nil {
		t.Errorf("%s %v", res, err)
	}
	names := map[string]bool{}
	for _, q := range srv.Queries() {
		names[q.Name] = true
	}
	if len(names) != 1+maxNames {
		t.Errorf("%d names asked", len(names))
	}
	ctx, cancel := context.WithDeadline(context.Background(), time.Now())
	defer cancel()
	report := New(r).Run(ctx, &filter.Transaction{Client: &mail.Client{Addr: netip.MustParseAddr("192.0.2.2")}})
	if report.State != filter.Timeout || report.Auth[0].Result != "temperror" {
		t.Errorf("%+v", report)
	}
}

// The name does not depend on the order of the records.
func TestOrder(t *testing.T) {
	f := &dns.Fake{
		PTR: map[string][]string{"192.0.2.1": {"b.example", "a.example"}, "192.0.2.2": {"A.example", "b.example"}},
		A:   map[string][]string{"a.example": {"192.0.2.1", "192.0.2.2"}, "b.example": {"192.0.2.1", "192.0.2.2"}},
	}
	for addr := range f.PTR {
		if _, name, _ := Lookup(context.Background(), f, netip.MustParseAddr(addr)); name != "a.example" {
			t.Errorf("%s: %s", addr, name)
		}
	}
}

func FuzzCandidates(f *testing.F) {
	f.Add("mail.example.org", "a b")
	f.Add("192.0.2.1", "x\r\ny.example")
	f.Add("..", "-")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, n := range candidates([]string{a, b}) {
			if strings.ContainsAny(n, "\r\n\x00 ()<>\"\\;,@") || n == "" || n != strings.ToLower(n) {
				t.Errorf("%q passed", n)
			}
			if _, err := netip.ParseAddr(n); err == nil {
				t.Errorf("%q is an address", n)
			}
		}
	})
}

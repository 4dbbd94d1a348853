package dnsbl

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"mailweir/internal/dns"
	"mailweir/internal/dns/dnstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const zoneText = `
	; two entries, one of them with several codes
	7.2.0.192.one.example   A 127.0.0.4
	7.2.0.192.one.example   A 127.0.0.2
	7.2.0.192.two.example   A 127.0.0.9
	7.2.0.192.white.example A 127.0.15.1
	1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.one.example A 127.0.0.3

	; what must never be a listing
	8.2.0.192.one.example   A 127.255.255.254
	8.2.0.192.two.example   A 127.0.0.1
	8.2.0.192.parked.example A 203.0.113.5
	9.2.0.192.one.example   A 127.0.0.2
	9.2.0.192.one.example   A 127.255.255.255
	9.2.0.192.two.example   A 127.0.0.77
	!drop      10.2.0.192.one.example
	!servfail  10.2.0.192.two.example
	!garbage   10.2.0.192.white.example
	!wrongid   10.2.0.192.parked.example

	*.parked.example        A 203.0.113.5
`

func lists(t testing.TB, zones ...Zone) *Lists {
	t.Helper()
	return New(zones, resolver(t, dnstest.Start(t, zoneText)), nil, nil)
}

func resolver(t testing.TB, addr string) *dns.Resolver {
	t.Helper()
	r, err := dns.New(dns.Options{Servers: []string{addr}, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestLookup(t *testing.T) {
	codes, err := ParseCodes([]string{"127.0.0.9", "127.0.0.16/28"})
	if err != nil {
		t.Fatal(err)
	}
	l := lists(t,
		Zone{Name: "one.example", Score: 5},
		Zone{Name: "two.example", Score: 2, Codes: codes},
		Zone{Name: "white.example", Score: -3},
		Zone{Name: "parked.example", Score: 9, NoIPv6: true},
	)
	type want struct {
		state State
		code  string
		score float64
	}
	off, clear := want{state: Off}, want{}
	for addr, want := range map[string][4]want{
		"192.0.2.7":        {{Listed, "127.0.0.2", 5}, {Listed, "127.0.0.9", 2}, {Listed, "127.0.15.1", -3}, clear},
		"::ffff:192.0.2.7": {{Listed, "127.0.0.2", 5}, {Listed, "127.0.0.9", 2}, {Listed, "127.0.15.1", -3}, clear},
		"192.0.2.8":        {{Error, "127.255.255.254", 0}, clear, clear, clear},
		"192.0.2.9":        {{Error, "127.255.255.255", 0}, clear, clear, clear}, // an error beside a code; a code that two does not declare
		"192.0.2.10":       {{state: Timeout}, {state: Error}, {state: Error}, {state: Timeout}},
		"192.0.2.11":       {clear, clear, clear, clear},
		"2001:db8::1":      {{Listed, "127.0.0.3", 5}, clear, clear, off},
		"127.0.0.2":        {off, off, off, off},
		"::1":              {off, off, off, off},
	} {
		for i, r := range l.Lookup(context.Background(), netip.MustParseAddr(addr)) {
			w := want[i]
			code := ""
			if r.Code.IsValid() {
				code = r.Code.String()
			}
			if r.State != w.state || code != w.code || r.Score != w.score || r.Zone != l.zones[i].Name {
				t.Errorf("%s in %s: %+v, want %+v", addr, l.zones[i].Name, r, w)
			}
			if (r.Err != nil) != (r.State == Error || r.State == Timeout) {
				t.Errorf("%s in %s: %v with the error %v", addr, r.Zone, r.State, r.Err)
			}
		}
	}
	for _, r := range l.Lookup(context.Background(), netip.Addr{}) {
		if r.State != Off {
			t.Errorf("no address: %+v", r)
		}
	}
}

// The end of the caller's time is a time-out, for every zone that has no
// answer by then, and only for those.
func TestLookupDeadline(t *testing.T) {
	l := lists(t, Zone{Name: "one.example", Score: 5}, Zone{Name: "two.example", Score: 2})
	addr := netip.MustParseAddr("192.0.2.7")
	l.Lookup(context.Background(), addr)
	l.zones = append(l.zones, &zone{Zone: Zone{Name: "three.example"}, metrics: l.metrics.zone("three.example")})
	ctx, cancel := context.WithDeadline(context.Background(), time.Now())
	defer cancel()
	res := l.Lookup(ctx, addr)
	if res[0].State != Listed || res[1].State != Listed || res[2].State != Timeout {
		t.Errorf("%+v", res)
	}
}

func TestParseCodes(t *testing.T) {
	for _, bad := range []string{"", "2", "192.0.2.1", "126.0.0.0/7", "0.0.0.0/0", "::1", "127.0.0.2/33", "::ffff:127.0.0.2"} {
		if p, err := ParseCodes([]string{"127.0.0.2", bad}); err == nil {
			t.Errorf("%q gave %v", bad, p)
		}
	}
}

// Even a config that declares them makes no listing of the codes that mean
// something else.
func TestDeclared(t *testing.T) {
	all, err := ParseCodes([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	z := Zone{Codes: all}
	for code, want := range map[string]bool{
		"127.0.0.2": true, "127.255.254.255": true, "127.0.0.1": false, "127.0.0.0": true,
		"127.255.255.0": false, "127.255.255.252": false, "128.0.0.2": false, "::ffff:127.0.0.2": false,
	} {
		if z.declared(netip.MustParseAddr(code)) != want {
			t.Errorf("%s: want %v", code, want)
		}
	}
}

// healthy answers the canaries as RFC 5782 section 5 wants.
const healthy = "2.0.0.127.bl.example A 127.0.0.2\n"

func TestCanaries(t *testing.T) {
	srv := dnstest.Run(t, healthy)
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	l := New([]Zone{{Name: "bl.example", Score: 5}}, resolver(t, srv.Addr()), m, nil)
	client := netip.MustParseAddr("192.0.2.7")
	for _, step := range []struct {
		name, zone string
		up         bool
	}{
		{"healthy", healthy, true},
		{"lists everything", healthy + "*.bl.example A 127.0.0.2", false},
		{"temporary failure while off", "!servfail 2.0.0.127.bl.example\n!servfail 1.0.0.127.bl.example", false},
		{"healthy again", healthy, true},
		{"gone", "", false},
		{"healthy once more", healthy, true},
		{"temporary failure", "!servfail 2.0.0.127.bl.example", true},
		{"time-out", healthy + "!drop 1.0.0.127.bl.example", true},
		{"refuses us", "*.bl.example A 127.255.255.254", false},
		{"temporary failure after that", "!refused 1.0.0.127.bl.example", false},
		{"healthy at last", healthy, true},
		{"parked", "*.bl.example A 203.0.113.5", false},
		{"answers the listed point with no code", "2.0.0.127.bl.example A 203.0.113.5", false},
		{"lists all of IPv6", healthy + "*.f.f.bl.example A 127.0.0.2\n*.f.bl.example A 127.0.0.2\n*.0.bl.example A 127.0.0.2\n1.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.bl.example A 127.0.0.2", false},
		{"healthy for the end", healthy, true},
	} {
		if err := srv.Replace(step.zone); err != nil {
			t.Fatal(err)
		}
		l.Canaries(context.Background())
		if up := !l.zones[0].off.Load(); up != step.up {
			t.Errorf("%s: on is %v", step.name, up)
		}
		if got := testutil.ToFloat64(m.up.WithLabelValues("bl.example")); (got == 1) != step.up {
			t.Errorf("%s: the metric says %v", step.name, got)
		}
		if r := l.Lookup(context.Background(), client)[0]; (r.State != Off) != step.up {
			t.Errorf("%s: a look-up is %v", step.name, r.State)
		}
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
}

// A list of IPv6 addresses alone has IPv6 test points alone.
func TestCanariesOfIPv6List(t *testing.T) {
	zone := "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.bl.example A 127.0.0.2"
	srv := dnstest.Run(t, zone)
	l := New([]Zone{{Name: "bl.example", NoIPv4: true}}, resolver(t, srv.Addr()), nil, nil)
	if l.Canaries(context.Background()); l.zones[0].off.Load() {
		t.Error("a healthy list was switched off")
	}
	if err := srv.Replace(""); err != nil {
		t.Fatal(err)
	}
	if l.Canaries(context.Background()); !l.zones[0].off.Load() {
		t.Error("a dead list stayed on")
	}
	if n := srv.Count("2.0.0.127.bl.example"); n != 0 {
		t.Error("an IPv4 test point was asked")
	}
}

// counting is a resolver that fails and counts.
type counting struct{ n atomic.Int64 }

func (c *counting) LookupA(context.Context, string) ([]netip.Addr, error) {
	c.n.Add(1)
	return nil, &dns.Error{Kind: dns.Temporary, Cause: errors.New("down")}
}

// Run asks at once and every ten minutes, and ends with its context.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{}
		l := New([]Zone{{Name: "bl.example"}}, c, nil, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { l.Run(ctx); close(done) }()
		for round := 1; round <= 4; round++ {
			synctest.Wait()
			if got := c.n.Load(); got != int64(round) {
				t.Errorf("%d questions after round %d", got, round)
			}
			time.Sleep(10 * time.Minute)
		}
		cancel()
		<-done
	})
}

func BenchmarkLookup3(b *testing.B) {
	l := lists(b, Zone{Name: "one.example"}, Zone{Name: "two.example"}, Zone{Name: "three.example"})
	ctx := context.Background()
	addr := netip.MustParseAddr("192.0.2.200")
	b.ReportAllocs()
	for b.Loop() {
		l.Lookup(ctx, addr)
	}
}

package relay

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mailweir/internal/dns"
	"mailweir/mail"
)

// FuzzMX: whatever a recipient's domain and the names in DNS are, there is one
// outcome, nothing panics, and nothing in the reply could forge a line of a log
// or a DSN.
func FuzzMX(f *testing.F) {
	for _, domain := range []string{"d.example", "[192.0.2.1]", "[IPv6:2001:db8::1]", "[", "[]", "]:", "a:25", "bücher.example", ".", "", "[IPv6:::1]", "1.2.3.4"} {
		f.Add(domain, "m.example", "192.0.2.1")
	}
	f.Add("d.example", "", "")
	f.Add("d.example", "a b\r\nX: y", "192.0.2.1")
	f.Add("d.example", "[192.0.2.1]", "192.0.2.1")
	f.Add("d.example", "MX.Example.ORG.", "192.0.2.1")
	f.Fuzz(func(t *testing.T, domain, host, second string) {
		fake := &dns.Fake{
			MX: map[string][]dns.MX{strings.ToLower(strings.TrimSuffix(domain, ".")): {{Host: host}, {Host: second, Preference: 1}}},
			A:  map[string][]string{"m.example": {"192.0.2.1", "2001:db8::1"}},
		}
		var network dialed
		metrics := NewMetrics(prometheus.NewRegistry())
		r := New(Options{Hostname: "mx.example.org", Dial: network.dial, MX: &MX{Resolver: fake}, Metrics: metrics})
		outcomes := 0
		r.Deliver(context.Background(), mail.Destination(domain), message("x\r\n", "a@d.example"), []int{0}, func(o mail.Outcome) {
			outcomes++
			if o.Result != mail.Deferred && o.Result != mail.Failed {
				t.Errorf("%+v", o)
			}
			if strings.ContainsFunc(o.Reply.Text, func(c rune) bool { return c < ' ' || c == 0x7f }) {
				t.Errorf("%q", o.Reply.Text)
			}
		})
		if outcomes != 1 || testutil.ToFloat64(metrics.panics) != 0 {
			t.Errorf("%d outcomes, %v panics", outcomes, testutil.ToFloat64(metrics.panics))
		}
	})
}

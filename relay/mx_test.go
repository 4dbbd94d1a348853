package relay

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mailweir/internal/dns"
	"mailweir/internal/dns/dnstest"
	"mailweir/internal/mailtest"
	"mailweir/mail"
)

// ours is 127.0.0.0/8, where the exchangers of the tests are.
var ours = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// newResolver answers from a zone text over the real protocol.
func newResolver(t testing.TB, zone string) Resolver {
	t.Helper()
	r, err := dns.New(dns.Options{Servers: []string{dnstest.Start(t, zone)}, Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// newExchangeSinks starts sinks on one port of the addresses 127.0.0.host.
func newExchangeSinks(t testing.TB, options map[int]mailtest.SinkOptions) (map[int]*mailtest.Sink, uint16) {
	t.Helper()
	var listeners map[int]net.Listener
	var port string
	for range 50 {
		listeners, port = map[int]net.Listener{}, "0"
		for host := range options {
			ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:%s", host, port))
			if err != nil {
				break
			}
			listeners[host] = ln
			_, port, _ = net.SplitHostPort(ln.Addr().String())
		}
		if len(listeners) == len(options) {
			break
		}
		for _, ln := range listeners {
			ln.Close()
		}
	}
	sinks := map[int]*mailtest.Sink{}
	for host, ln := range listeners {
		s := mailtest.ServeSink(ln, options[host])
		sinks[host] = s
		t.Cleanup(func() {
			s.Close()
			for _, fault := range s.Faults() {
				t.Errorf("sink %s: %s", s.Addr(), fault)
			}
		})
	}
	n, _ := strconv.Atoi(port)
	return sinks, uint16(n)
}

// newMXRelay delivers by MX look-up; the options that are not given fit tests.
func newMXRelay(t testing.TB, mx MX, o Options) *Relay {
	t.Helper()
	if mx.Allow == nil {
		mx.Allow = ours
	}
	o.MX, o.Hostname = &mx, "mx.example.org"
	r := New(o)
	t.Cleanup(func() { r.Close() })
	return r
}

func scripted(verb, reply string) mailtest.SinkOptions {
	return mailtest.SinkOptions{On: mailtest.Script(map[string]string{verb: reply})}
}

// The matrix: what DNS says and what the exchangers do, and what becomes of a
// message. 127.0.0.2 and 127.0.0.3 take all mail, nobody listens on 127.0.0.9.
func TestMX(t *testing.T) {
	sinks := map[int]mailtest.SinkOptions{
		2: {}, 3: {},
		4: scripted("RCPT", "450 4.2.1 Later"), 5: scripted("RCPT", "550 5.1.1 No such user"),
		6: scripted("CONNECT", "554 5.3.2 No mail here"), 7: scripted("EHLO", "421 4.3.2 Busy"),
	}
	const hosts = `
		ok.example A 127.0.0.2
		other.example A 127.0.0.3
		later.example A 127.0.0.4
		never.example A 127.0.0.5
		closed.example A 127.0.0.6
		busy.example A 127.0.0.7
		dead.example A 127.0.0.9
		us.example A 127.0.0.1
		mx.example.org A 127.0.0.1
		meta.example A 169.254.169.254
		zero.example A 0.0.0.0
		group.example A 224.0.0.1
		top.example A 255.255.255.255
		loop6.example AAAA ::1
		mapped.example AAAA ::ffff:169.254.169.254
		link.example AAAA fe80::1
		both.example A 169.254.1.1
		both.example A 127.0.0.2
		!servfail broken.example
		!servfail half.example AAAA
		!servfail blind6.example AAAA
		half.example A 127.0.0.2
		!servfail blind.example A
		!drop silent.example
	`
	for _, c := range []struct {
		name, zone string
		want       string // result, enhanced code
		text       string // a part of the reply
		sink       int    // that has the message
	}{
		{"one", "d.example MX 10 ok.example.", "relayed", "", 2},
		{"capital letters", "d.example MX 10 OK.Example.", "relayed", "", 2},
		{"no MX", "d.example A 127.0.0.2", "relayed", "", 2},
		{"alias without MX", "d.example CNAME ok.example.", "relayed", "", 2},
		{"alias with MX", "d.example CNAME e.example.\ne.example MX 10 ok.example.", "relayed", "", 2},
		{"exchanger is an alias", "d.example MX 10 a.example.\na.example CNAME ok.example.", "relayed", "", 2},
		{"preference", "d.example MX 20 other.example.\nd.example MX 10 ok.example.", "relayed", "", 2},
		{"preference 0 and 65535", "d.example MX 65535 ok.example.\nd.example MX 0 other.example.", "relayed", "", 3},
		{"null MX", "d.example MX 0 .", "failed 5.1.10", "does not accept mail", 0},
		{"null MX with another preference", "d.example MX 10 .", "failed 5.1.10", "does not accept mail", 0},
		{"null MX among others", "d.example MX 0 .\nd.example MX 10 ok.example.", "relayed", "", 2}, // RFC 7505 section 3: not one
		{"no such domain", "", "failed 5.1.2", "d.example has no MX, A or AAAA record", 0},
		{"domain without addresses", `d.example TXT "x"`, "failed 5.1.2", "no MX, A or AAAA", 0},
		{"exchanger without address", "d.example MX 10 nowhere.example.", "failed 5.4.4", "nowhere.example of d.example has no address", 0},
		{"only the first has no address", "d.example MX 10 nowhere.example.\nd.example MX 20 ok.example.", "relayed", "", 2},
		{"exchanger is no host name", `d.example MX 10 a\032b.example.`, "failed 5.4.4", "no MX record of d.example names a host", 0},
		{"exchanger is a literal", `d.example MX 10 \[127.0.0.2].`, "failed 5.4.4", "names a host", 0},
		{"exchanger is an address", `d.example MX 10 127.0.0.2.`, "failed 5.4.4", "has no address", 0},

		{"MX unknown", "!servfail d.example MX\nd.example A 127.0.0.2", "deferred 4.4.3", "temporary DNS failure", 0},
		{"MX silent", "!drop d.example\nd.example MX 10 ok.example.", "deferred 4.4.3", "temporary DNS failure", 0},
		{"MX garbage", "!garbage d.example\nd.example MX 10 ok.example.", "deferred 4.4.3", "temporary DNS failure", 0},
		{"address unknown", "d.example MX 10 broken.example.", "deferred 4.4.3", "broken.example", 0},
		{"address silent", "d.example MX 10 silent.example.", "deferred 4.4.3", "silent.example", 0},
		{"one family unknown", "d.example MX 10 half.example.", "relayed", "", 2},
		{"the other family unknown", "d.example MX 10 blind.example.", "deferred 4.4.3", "blind.example", 0},
		{"IPv6 unknown, no IPv4", "d.example MX 10 blind6.example.", "deferred 4.4.3", "blind6.example", 0},
		{"second is known", "d.example MX 10 broken.example.\nd.example MX 20 ok.example.", "relayed", "", 2},
		{"unknown is more than absent", "d.example MX 10 broken.example.\nd.example MX 20 nowhere.example.", "deferred 4.4.3", "", 0},
		{"unknown is more than refused", "d.example MX 10 meta.example.\nd.example MX 20 broken.example.", "deferred 4.4.3", "", 0},
		{"unknown is more than a loop", "d.example MX 10 broken.example.\nd.example MX 20 mx.example.org.", "deferred 4.4.3", "", 0},

		{"first is dead", "d.example MX 10 dead.example.\nd.example MX 20 ok.example.", "relayed", "", 2},
		{"first has a dead address", "d.example MX 10 m.example.\nm.example A 127.0.0.9\nm.example A 127.0.0.2", "relayed", "", 2},
		{"first takes no mail", "d.example MX 10 closed.example.\nd.example MX 20 ok.example.", "relayed", "", 2},
		{"first is busy", "d.example MX 10 busy.example.\nd.example MX 20 ok.example.", "relayed", "", 2},
		{"first says 4yz", "d.example MX 10 later.example.\nd.example MX 20 ok.example.", "deferred 4.2.1", "Later", 0},
		{"first says 5yz", "d.example MX 10 never.example.\nd.example MX 20 ok.example.", "failed 5.1.1", "No such user", 0},
		{"all are dead", "d.example MX 10 dead.example.", "deferred 4.4.1", "dead.example[127.0.0.9]:", 0},
		{"dead and unknown", "d.example MX 10 dead.example.\nd.example MX 20 broken.example.", "deferred 4.4.1", "connection refused", 0},
		{"dead and absent", "d.example MX 10 dead.example.\nd.example MX 20 nowhere.example.", "deferred 4.4.1", "connection refused", 0},

		{"we by name", "d.example MX 10 mx.example.org.", "failed 5.4.6", "mx.example.org is this host", 0},
		{"we by name in capitals", "d.example MX 10 MX.Example.ORG.", "failed 5.4.6", "is this host", 0},
		{"we by address", "d.example MX 10 us.example.", "failed 5.4.6", "us.example is this host", 0},
		{"we without MX", "d.example A 127.0.0.1", "failed 5.4.6", "d.example is this host", 0},
		{"we are the backup", "d.example MX 10 ok.example.\nd.example MX 20 mx.example.org.", "relayed", "", 2},
		{"we are the backup of the dead", "d.example MX 10 dead.example.\nd.example MX 20 mx.example.org.\nd.example MX 30 ok.example.", "deferred 4.4.1", "refused", 0},
		{"the backup by address", "d.example MX 10 dead.example.\nd.example MX 20 us.example.\nd.example MX 30 ok.example.", "deferred 4.4.1", "refused", 0},
		{"we are an equal", "d.example MX 10 ok.example.\nd.example MX 10 mx.example.org.", "failed 5.4.6", "is this host", 0},
		{"an equal by address", "d.example MX 10 ok.example.\nd.example MX 10 us.example.", "failed 5.4.6", "is this host", 0},
		{"worse than we", "d.example MX 10 mx.example.org.\nd.example MX 20 ok.example.", "failed 5.4.6", "is this host", 0},

		{"metadata", "d.example MX 10 meta.example.", "failed 5.4.4", "169.254.169.254 (link-local)", 0},
		{"unspecified", "d.example MX 10 zero.example.", "failed 5.4.4", "0.0.0.0 (unspecified)", 0},
		{"multicast", "d.example MX 10 group.example.", "failed 5.4.4", "224.0.0.1 (multicast)", 0},
		{"broadcast", "d.example MX 10 top.example.", "failed 5.4.4", "255.255.255.255 (reserved)", 0},
		{"loopback of IPv6", "d.example MX 10 loop6.example.", "failed 5.4.4", "::1 (loopback)", 0},
		{"mapped", "d.example MX 10 mapped.example.", "failed 5.4.4", "169.254.169.254 (link-local)", 0},
		{"link-local of IPv6", "d.example MX 10 link.example.", "failed 5.4.4", "fe80::1 (link-local)", 0},
		{"a good address beside it", "d.example MX 10 both.example.", "relayed", "", 2},
		{"a good host behind it", "d.example MX 10 meta.example.\nd.example MX 20 ok.example.", "relayed", "", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			servers, port := newExchangeSinks(t, sinks)
			metrics := NewMetrics(prometheus.NewRegistry())
			r := newMXRelay(t, MX{Resolver: newResolver(t, c.zone+"\n"+hosts), Port: port, Own: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, Options{Metrics: metrics})
			got := deliver(t, r, message("x\r\n", "a@d.example", "b@D.EXAMPLE"))
			for _, o := range got {
				if is := strings.TrimSpace(o.Result.String() + " " + failureCode(o)); is != c.want || !strings.Contains(o.Reply.Text, c.text) {
					t.Errorf("%s: %s", is, o.Reply)
				}
			}
			for host, s := range servers {
				if n := len(s.Messages()); n != 0 && host != c.sink || n != 1 && host == c.sink {
					t.Errorf("127.0.0.%d has %d messages", host, n)
				}
			}
			counted := 0.0
			for what := mxFound; int(what) < len(findings); what++ {
				counted += testutil.ToFloat64(metrics.lookups[what])
			}
			if counted != 1 {
				t.Errorf("%v look-ups are counted", counted)
			}
		})
	}
}

func failureCode(o mail.Outcome) string {
	if o.Result == mail.Relayed {
		return ""
	}
	return o.Reply.Enhanced.String()
}

// With the default options nothing goes to loopback.
func TestMXRefusesLoopback(t *testing.T) {
	servers, port := newExchangeSinks(t, map[int]mailtest.SinkOptions{2: {}})
	zone := "d.example MX 10 m.example.\nm.example A 127.0.0.2"
	r := newMXRelay(t, MX{Resolver: newResolver(t, zone), Port: port, Allow: []netip.Prefix{}}, Options{})
	for _, rcpt := range []string{"a@d.example", "a@[127.0.0.2]", "a@[IPv6:::1]", "a@[IPv6:::ffff:127.0.0.2]", "a@[IPv6:::127.0.0.2]"} {
		o := deliver(t, r, message("x\r\n", rcpt))[0]
		if o.Result != mail.Failed || o.Reply.Enhanced.String() != "5.4.4" || o.NextHop != "" {
			t.Errorf("%s: %+v", rcpt, o)
		}
	}
	if n := servers[2].Connections(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// Destinations: what needs no look-up, and what cannot have one.
func TestMXDomains(t *testing.T) {
	servers, port := newExchangeSinks(t, map[int]mailtest.SinkOptions{2: {}})
	resolver := newResolver(t, "xn--bcher-kva.example MX 10 m.example.\nm.example A 127.0.0.2\nd.example A 127.0.0.2\n_x.example A 127.0.0.2")
	r := newMXRelay(t, MX{Resolver: resolver, Port: port, Own: []netip.Addr{netip.MustParseAddr("192.0.2.25"), netip.MustParseAddr("2001:db8::25")}},
		Options{Routes: map[string]*Route{"example.org": {NextHops: []string{servers[2].Addr()}}}})
	for rcpt, want := range map[string]string{
		"a@[127.0.0.2]":             "relayed",
		"a@[IPv6:::ffff:127.0.0.2]": "relayed",
		"a@[192.0.2.25]":            "failed 5.4.6",
		"a@[IPv6:2001:db8::25]":     "failed 5.4.6",
		"a@Bücher.example":          "relayed",
		"a@xn--bcher-kva.example":   "relayed",
		"a@D.example":               "relayed",
		"a@_x.example":              "relayed",
		"a@1.2.3.4":                 "failed 5.1.2",
		"a@\u00ad.example":          "failed 5.1.2", // IDNA maps it to nothing
		"a@example.org":             "relayed",      // ours, never by MX
	} {
		m := message("x\r\n", rcpt)
		m.Envelope.UTF8 = true
		o := deliver(t, r, m)[0]
		if is := strings.TrimSpace(o.Result.String() + " " + failureCode(o)); is != want {
			t.Errorf("%s: %s: %s", rcpt, is, o.Reply)
		}
	}
	if d := r.Route("postmaster"); d != "" {
		t.Errorf("<postmaster> goes to %q", d)
	}
	m := message("x\r\n", "a@example.org")
	r.Deliver(context.Background(), "192.0.2.1:25", m, []int{0}, func(o mail.Outcome) {
		if o.Result != mail.Deferred || o.Reply.Text != "no route" {
			t.Errorf("a route that is no more: %+v", o)
		}
	})
}

// dialed is a network of dead hosts that notes who was called.
type dialed struct{ calls []string }

func (d *dialed) dial(_ context.Context, _, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	d.calls = append(d.calls, host)
	return nil, &net.OpError{Op: "dial", Err: fmt.Errorf("connection refused")}
}

// attemptOn makes one attempt in a network of dead hosts.
func attemptOn(t *testing.T, resolver Resolver, mx MX) []string {
	t.Helper()
	var network dialed
	mx.Resolver = resolver
	r := newMXRelay(t, mx, Options{Dial: network.dial})
	wantResults(t, deliver(t, r, message("x\r\n", "a@d.example")), mail.Deferred)
	return network.calls
}

// Equals are tried in each order, worse ones after them, always.
func TestMXOrder(t *testing.T) {
	fake := &dns.Fake{
		MX: map[string][]dns.MX{"d.example": {{Host: "a.example", Preference: 10}, {Host: "b.example", Preference: 10}, {Host: "c.example", Preference: 20}}},
		A:  map[string][]string{"a.example": {"192.0.2.1"}, "b.example": {"192.0.2.2"}, "c.example": {"192.0.2.3"}},
	}
	seen := map[string]int{}
	for range 60 {
		seen[strings.Join(attemptOn(t, fake, MX{}), " ")]++
	}
	if len(seen) != 2 || seen["192.0.2.1 192.0.2.2 192.0.2.3"] == 0 || seen["192.0.2.2 192.0.2.1 192.0.2.3"] == 0 {
		t.Errorf("%v", seen)
	}
}

// The families take turns, IPv6 first, and can be switched off.
func TestMXFamilies(t *testing.T) {
	fake := &dns.Fake{A: map[string][]string{"d.example": {"192.0.2.1", "192.0.2.2", "2001:db8::1"}}}
	for range 20 {
		got := attemptOn(t, fake, MX{})
		if len(got) != 3 || got[0] != "2001:db8::1" || !strings.HasPrefix(got[1], "192.0.2.") {
			t.Errorf("any: %v", got)
		}
	}
	if got := attemptOn(t, fake, MX{Family: IPv6}); !slices.Equal(got, []string{"2001:db8::1"}) {
		t.Errorf("IPv6: %v", got)
	}
	if got := attemptOn(t, fake, MX{Family: IPv4}); len(got) != 2 || slices.Contains(got, "2001:db8::1") {
		t.Errorf("IPv4: %v", got)
	}
}

// An attempt is bounded, whatever a stranger's DNS has.
func TestMXLimits(t *testing.T) {
	fake := &dns.Fake{MX: map[string][]dns.MX{}, A: map[string][]string{}}
	for i := range 40 {
		host := fmt.Sprintf("m%d.example", i)
		fake.MX["d.example"] = append(fake.MX["d.example"], dns.MX{Host: host, Preference: uint16(i / 4)})
		for j := range 40 {
			fake.A[host] = append(fake.A[host], fmt.Sprintf("192.0.%d.%d", i, j))
		}
	}
	hosts := map[string]int{}
	for _, call := range attemptOn(t, fake, MX{}) {
		hosts[strings.Split(call, ".")[2]]++
	}
	if len(hosts) != 2 || slices.ContainsFunc(slices.Collect(maps.Values(hosts)), func(n int) bool { return n != maxHostAddresses }) {
		t.Errorf("tries by host: %v", hosts)
	}
	// One with few addresses leaves the tries to others; they are five at most.
	for host := range fake.A {
		fake.A[host] = fake.A[host][:1]
	}
	if got := attemptOn(t, fake, MX{}); len(got) != maxExchangers {
		t.Errorf("%d hosts: %v", len(got), got)
	}
	fake.MX["d.example"] = []dns.MX{{Host: "m1.example", Preference: 10}, {Host: "M1.example", Preference: 20}}
	if got := attemptOn(t, fake, MX{}); len(got) != 1 {
		t.Errorf("a host that is named twice: %v", got)
	}
}

// A dead exchanger costs the next message nothing, of whatever domain.
func TestMXSuspension(t *testing.T) {
	servers, port := newExchangeSinks(t, map[int]mailtest.SinkOptions{2: scripted("CONNECT", "554 5.3.2 No"), 3: {}})
	const mx = "MX 10 bad.example.\n%[1]s MX 20 good.example.\n"
	zone := fmt.Sprintf("%[1]s "+mx, "d.example") + fmt.Sprintf("%[1]s "+mx, "e.example") +
		"bad.example A 127.0.0.2\ngood.example A 127.0.0.3\nonly.example MX 10 bad.example."
	r := newMXRelay(t, MX{Resolver: newResolver(t, zone), Port: port}, Options{HopRetry: time.Hour})
	for _, rcpt := range []string{"a@d.example", "a@d.example", "a@e.example"} {
		wantResults(t, deliver(t, r, message("x\r\n", rcpt)), mail.Relayed)
	}
	if n := servers[2].Connections(); n != 1 {
		t.Errorf("the dead exchanger was called %d times", n)
	}
	wantResults(t, deliver(t, r, message("x\r\n", "a@only.example")), mail.Deferred)
	if n := servers[2].Connections(); n != 2 {
		t.Errorf("without another it was called %d times", n)
	}
}

// Domains with the same exchanger share its connection; another name for the
// same address does not: a certificate is for a name.
func TestMXSharesConnections(t *testing.T) {
	servers, port := newExchangeSinks(t, map[int]mailtest.SinkOptions{2: {}})
	zone := "d.example MX 10 m.example.\ne.example MX 10 m.example.\nf.example MX 10 n.example.\nm.example A 127.0.0.2\nn.example A 127.0.0.2"
	r := newMXRelay(t, MX{Resolver: newResolver(t, zone), Port: port}, Options{})
	for _, step := range []struct {
		rcpt  string
		conns int
	}{{"a@d.example", 1}, {"a@e.example", 1}, {"a@d.example", 1}, {"a@f.example", 2}} {
		wantResults(t, deliver(t, r, message("x\r\n", step.rcpt)), mail.Relayed)
		if n := servers[2].Connections(); n != step.conns {
			t.Errorf("%s: %d connections, want %d", step.rcpt, n, step.conns)
		}
	}
	// A reload that changes nothing keeps them, one that changes the policy not.
	o := r.state.Load().Options
	r.Reload(o)
	deliver(t, r, message("x\r\n", "a@d.example"))
	if n := servers[2].Connections(); n != 2 {
		t.Errorf("after a reload: %d connections", n)
	}
	mx := *o.MX
	mx.TLS = TLSRequired
	o.MX = &mx
	r.Reload(o)
	if got := deliver(t, r, message("x\r\n", "a@d.example"))[0]; got.Result != mail.Deferred || got.Reply.Enhanced.String() != "4.7.5" {
		t.Errorf("%+v", got)
	}
}

// The certificate has to be for the exchanger's name, where one is required.
func TestMXTLS(t *testing.T) {
	config, roots := mailtest.Certificate(t, "m.example")
	server := &tls.Config{Certificates: config.Certificates}
	servers, port := newExchangeSinks(t, map[int]mailtest.SinkOptions{2: {TLS: server}})
	zone := "d.example MX 10 m.example.\ne.example MX 10 n.example.\nm.example A 127.0.0.2\nn.example A 127.0.0.2"
	resolver := newResolver(t, zone)
	required := newMXRelay(t, MX{Resolver: resolver, Port: port, TLS: TLSRequired}, Options{RootCAs: roots})
	wantResults(t, deliver(t, required, message("x\r\n", "a@d.example")), mail.Relayed)
	wantResults(t, deliver(t, required, message("x\r\n", "a@e.example")), mail.Deferred)
	opportunistic := newMXRelay(t, MX{Resolver: resolver, Port: port}, Options{})
	wantResults(t, deliver(t, opportunistic, message("x\r\n", "a@e.example")), mail.Relayed)
	for _, m := range servers[2].Messages() {
		if !m.TLS {
			t.Errorf("%s came in the clear", m.Rcpts[0].Path)
		}
	}
}

// Not more connections than allowed to one exchanger, all its addresses and
// domains together; who waits too long goes on to the next.
func TestMXConnectionLimit(t *testing.T) {
	var open, most atomic.Int32
	release := make(chan struct{})
	slow := mailtest.SinkOptions{On: func(e mailtest.Event) mailtest.Step {
		if e.Verb == "MESSAGE" {
			n := open.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			<-release
			open.Add(-1)
		}
		return mailtest.Step{}
	}}
	_, port := newExchangeSinks(t, map[int]mailtest.SinkOptions{2: slow, 3: slow})
	zone := "d.example MX 10 m.example.\ne.example MX 10 m.example.\nm.example A 127.0.0.2\nm.example A 127.0.0.3"
	r := newMXRelay(t, MX{Resolver: newResolver(t, zone), Port: port, MaxConnections: 2}, Options{})
	results := make(chan mail.Outcome)
	const messages = 6
	for i := range messages {
		go func() {
			r.Deliver(context.Background(), mail.Destination([]string{"d.example", "e.example"}[i%2]), message("x\r\n", "a@d.example"), []int{0}, func(o mail.Outcome) { results <- o })
		}()
	}
	for open.Load() < 2 {
		time.Sleep(time.Millisecond) // until both connections are busy
	}
	time.AfterFunc(200*time.Millisecond, func() { close(release) })
	for range messages {
		if o := <-results; o.Result != mail.Relayed {
			t.Errorf("%+v", o)
		}
	}
	if most.Load() != 2 {
		t.Errorf("%d connections at once", most.Load())
	}
}

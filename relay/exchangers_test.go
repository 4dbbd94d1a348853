package relay

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"mailweir/internal/dns"
	"mailweir/internal/mailtest"
	"mailweir/mail"
)

// A stranger's DNS can name a new host for every message: what is kept of them
// has a bound, and what is in use is kept.
func TestExchangersForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := newExchangers(&MX{MaxConnections: 1, Port: 25}, NewMetrics(prometheus.NewRegistry()))
		used := table.hold("used.example", netip.MustParseAddr("192.0.2.1"))
		for i := range 20 * minSweep {
			addr := netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)})
			h := table.hold(fmt.Sprintf("m%d.example", i%7), addr)
			h.suspend(time.Minute)
			table.release([]*heldHop{h})
			time.Sleep(3 * time.Second) // at most 20 are suspended at any time
			if table.count > 2*minSweep {
				t.Fatalf("%d hops are kept", table.count)
			}
		}
		if table.sweep(time.Now()); table.count < 10 {
			t.Errorf("only %d hops are kept: that they are dead is forgotten", table.count)
		}
		if table.hold("used.example", netip.MustParseAddr("192.0.2.1")) != used {
			t.Error("a hop in use was forgotten")
		}
		table.release([]*heldHop{used, used})
		time.Sleep(time.Hour)
		table.sweep(time.Now())
		if table.count != 0 || len(table.hosts) != 0 {
			t.Errorf("%d hops, %d hosts remain", table.count, len(table.hosts))
		}
	})
}

// Idle connections to strangers have a bound of their own, and end soon.
func TestExchangersIdle(t *testing.T) {
	servers, port := newExchangeSinks(t, map[int]mailtest.SinkOptions{2: {}})
	fake := &dns.Fake{A: map[string][]string{}}
	metrics := NewMetrics(prometheus.NewRegistry())
	r := newMXRelay(t, MX{Resolver: fake, Port: port}, Options{Metrics: metrics})
	r.state.Load().mx.idle.max = 3
	for i := range 6 {
		domain := fmt.Sprintf("d%d.example", i)
		fake.A[domain] = []string{"127.0.0.2"}
		wantResults(t, deliver(t, r, message("x\r\n", "a@"+domain)), mail.Relayed)
	}
	if n := testutil.ToFloat64(metrics.idle); n != 3 || servers[2].Connections() != 6 {
		t.Errorf("%v idle of %d connections", n, servers[2].Connections())
	}
	wantResults(t, deliver(t, r, message("x\r\n", "a@d0.example")), mail.Relayed)
	if servers[2].Connections() != 6 {
		t.Error("a kept connection was not used again")
	}
	s := r.state.Load()
	if d := s.idleFor(&hop{}); d != 30*time.Second {
		t.Errorf("a next hop of a route is kept for %s", d)
	}
	if d := s.idleFor(&hop{spare: &s.mx.idle}); d != exchangeIdle {
		t.Errorf("an exchanger is kept for %s", d)
	}
	r.Close()
	if n := s.mx.idle.n.Load(); n != 0 {
		t.Errorf("%d idle connections are on the account after Close", n)
	}
	fake.A["new.example"] = []string{"127.0.0.2"}
	for _, rcpt := range []string{"a@d0.example", "a@new.example"} {
		wantResults(t, deliver(t, r, message("x\r\n", rcpt)), mail.Relayed)
		if n := testutil.ToFloat64(metrics.open); n != 0 {
			t.Errorf("%s: %v connections are open after Close", rcpt, n)
		}
	}
	for host, e := range s.mx.hosts {
		for addr, h := range e.hops {
			if h.users != 0 {
				t.Errorf("%s[%s] is held by %d, without an attempt", host, addr, h.users)
			}
		}
	}
}

// Who finds all connections to an exchanger in use goes on to the next one.
func TestExchangersCrowded(t *testing.T) {
	busy := make(chan struct{})
	release := make(chan struct{})
	slow := mailtest.SinkOptions{On: func(e mailtest.Event) mailtest.Step {
		if e.Verb == "MESSAGE" {
			close(busy)
			<-release
		}
		return mailtest.Step{}
	}}
	servers, port := newExchangeSinks(t, map[int]mailtest.SinkOptions{2: slow, 3: {}})
	zone := "d.example MX 10 m.example.\nd.example MX 20 n.example.\nalone.example MX 10 m.example.\nm.example A 127.0.0.2\nn.example A 127.0.0.3"
	r := newMXRelay(t, MX{Resolver: newResolver(t, zone), Port: port, MaxConnections: 1}, Options{})
	r.state.Load().mx.wait = 50 * time.Millisecond
	first := make(chan mail.Outcome, 1)
	go r.Deliver(context.Background(), "d.example", message("x\r\n", "a@d.example"), []int{0}, func(o mail.Outcome) { first <- o })
	<-busy
	wantResults(t, deliver(t, r, message("x\r\n", "a@d.example")), mail.Relayed)
	if len(servers[3].Messages()) != 1 {
		t.Error("the second exchanger has no message")
	}
	o := deliver(t, r, message("x\r\n", "a@alone.example"))[0]
	if o.Result != mail.Deferred || o.Reply.Enhanced.String() != "4.4.5" {
		t.Errorf("%+v", o)
	}
	close(release)
	if o := <-first; o.Result != mail.Relayed {
		t.Errorf("%+v", o)
	}
}

// Slow strangers take a part of the queue's workers, not all.
func TestExchangersTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resolver := &hanging{asked: make(chan struct{}, 1), only: "MX"}
		r := New(Options{MX: &MX{Resolver: resolver, MaxAttempts: 1}})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			deliverContext(t, ctx, r, message("x\r\n", "a@slow.example"))
		}()
		<-resolver.asked
		begin := time.Now()
		o := deliver(t, r, message("x\r\n", "a@d.example"))[0]
		if o.Result != mail.Deferred || o.Reply.Enhanced.String() != "4.4.5" || time.Since(begin) != turnWait {
			t.Errorf("%+v after %s", o, time.Since(begin))
		}
		cancel()
		<-done
		resolver.only = ""
		o = deliver(t, r, message("x\r\n", "a@d.example"))[0]
		if o.Reply.Enhanced.String() != "5.1.2" {
			t.Errorf("the turn was not given back: %+v", o)
		}
	})
}

// An attempt ends some time, however many slow addresses a domain has.
func TestExchangersTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := &dns.Fake{A: map[string][]string{}}
		for i := range maxExchangers {
			host := fmt.Sprintf("m%d.example", i)
			fake.MX = map[string][]dns.MX{"d.example": append(fake.MX["d.example"], dns.MX{Host: host})}
			fake.A[host] = []string{fmt.Sprintf("192.0.2.%d", i)}
		}
		var network dialed
		r := New(Options{MX: &MX{Resolver: fake}, Dial: func(ctx context.Context, n, address string) (net.Conn, error) {
			time.Sleep(exchangeTime/2 + time.Second)
			return network.dial(ctx, n, address)
		}})
		o := deliver(t, r, message("x\r\n", "a@d.example"))[0]
		if o.Result != mail.Deferred || o.Reply.Enhanced.String() != "4.4.1" || len(network.calls) != 2 {
			t.Errorf("%+v after %v", o, network.calls)
		}
	})
}

// hanging is a resolver that answers when nobody wants it any more.
type hanging struct {
	dns.Fake
	asked chan struct{}
	only  string // the type that hangs
}

func (h *hanging) wait(ctx context.Context, typ string) error {
	if h.only != typ {
		return nil
	}
	h.asked <- struct{}{}
	<-ctx.Done()
	return &dns.Error{Name: "d.example", Type: typ, Kind: dns.Temporary, Cause: ctx.Err()}
}

func (h *hanging) LookupMX(ctx context.Context, name string) ([]dns.MX, error) {
	if err := h.wait(ctx, "MX"); err != nil {
		return nil, err
	}
	return h.Fake.LookupMX(ctx, name)
}

func (h *hanging) LookupA(ctx context.Context, name string) ([]netip.Addr, error) {
	if err := h.wait(ctx, "A"); err != nil {
		return nil, err
	}
	return h.Fake.LookupA(ctx, name)
}

func TestCancelInterruptsLookup(t *testing.T) {
	for _, typ := range []string{"MX", "A"} {
		resolver := &hanging{asked: make(chan struct{}, 1), only: typ}
		r := newMXRelay(t, MX{Resolver: resolver}, Options{})
		ctx, cancel := context.WithCancel(context.Background())
		go func() { <-resolver.asked; cancel() }()
		o := deliverContext(t, ctx, r, message("x\r\n", "a@d.example"))[0]
		if o.Result != mail.Deferred || o.Reply.Text != "relay: the attempt was interrupted" {
			t.Errorf("%s: %+v", typ, o)
		}
	}
}

// faulty is a resolver with a bug.
type faulty struct {
	dns.Fake
	mx bool
}

func (f *faulty) LookupMX(ctx context.Context, name string) ([]dns.MX, error) {
	if f.mx {
		panic("a bug")
	}
	return f.Fake.LookupMX(ctx, name)
}

func (f *faulty) LookupAAAA(context.Context, string) ([]netip.Addr, error) { panic("a bug") }

// A panic of the resolver defers, and costs no turn.
func TestExchangersPanic(t *testing.T) {
	for _, mx := range []bool{true, false} {
		metrics := NewMetrics(prometheus.NewRegistry())
		r := newMXRelay(t, MX{Resolver: &faulty{mx: mx}, MaxAttempts: 1}, Options{Metrics: metrics})
		for range 3 {
			wantResults(t, deliver(t, r, message("x\r\n", "a@d.example", "b@d.example")), mail.Deferred, mail.Deferred)
		}
		if n := testutil.ToFloat64(metrics.panics); n != 3 || len(r.state.Load().mx.turns) != 0 {
			t.Errorf("MX %v: %v panics, %d turns taken", mx, n, len(r.state.Load().mx.turns))
		}
	}
}

// drawnWorld is DNS with anything in it, and a network where some live.
type drawnWorld struct {
	fake  dns.Fake
	own   netip.Addr
	alive map[string]bool
	sink  string
	calls []string
}

func (w *drawnWorld) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	w.calls = append(w.calls, host)
	if !w.alive[host] {
		return nil, &net.OpError{Op: "dial", Err: fmt.Errorf("connection refused")}
	}
	return new(net.Dialer).DialContext(ctx, network, w.sink)
}

func drawWorld(t *rapid.T, sink string) *drawnWorld {
	w := &drawnWorld{sink: sink, own: netip.MustParseAddr("192.0.2.25"), alive: map[string]bool{}}
	w.fake = dns.Fake{A: map[string][]string{}, MX: map[string][]dns.MX{}, Fail: map[string]bool{}}
	addrs := []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.25", "127.0.0.1", "169.254.169.254", "::1"}
	hosts := []string{"a.example", "b.example", "c.example", "mx.example.org", "d.example", ""}
	for _, host := range hosts[:5] {
		w.fake.A[host] = rapid.SliceOfNDistinct(rapid.SampledFrom(addrs), 0, 3, rapid.ID[string]).Draw(t, host)
	}
	for _, host := range rapid.SliceOfN(rapid.SampledFrom(hosts), 0, 5).Draw(t, "mx") {
		preference := rapid.Uint16Range(0, 3).Draw(t, "preference")
		w.fake.MX["d.example"] = append(w.fake.MX["d.example"], dns.MX{Host: host, Preference: preference})
	}
	for _, name := range rapid.SliceOfN(rapid.SampledFrom([]string{"a.example/A", "a.example/AAAA", "b.example", "d.example/MX"}), 0, 2).Draw(t, "fail") {
		w.fake.Fail[name] = true
	}
	for _, addr := range addrs[:3] {
		w.alive[addr] = rapid.Bool().Draw(t, addr)
	}
	return w
}

// eligible are the addresses that RFC 5321 section 5.1 lets us try, by the
// preference of their host, told plainly and without an order.
func (w *drawnWorld) eligible() map[string]uint16 {
	list := w.fake.MX["d.example"]
	if len(list) == 0 {
		list = []dns.MX{{Host: "d.example"}}
	}
	limit := uint16(1000)
	for _, mx := range list {
		if mx.Host == "mx.example.org" || slices.Contains(w.known(mx.Host), w.own) {
			limit = min(limit, mx.Preference)
		}
	}
	out := map[string]uint16{}
	for _, mx := range list {
		if mx.Preference >= limit || w.fake.Fail["d.example/MX"] {
			continue
		}
		for _, a := range w.known(mx.Host) {
			p, ok := out[a.String()]
			if !a.IsLoopback() && !a.IsLinkLocalUnicast() && (!ok || mx.Preference < p) {
				out[a.String()] = mx.Preference
			}
		}
	}
	return out
}

// known are the addresses of a host that DNS can tell.
func (w *drawnWorld) known(host string) (list []netip.Addr) {
	for _, s := range w.fake.A[host] {
		a := netip.MustParseAddr(s)
		typ := map[bool]string{true: "/A", false: "/AAAA"}[a.Is4()]
		if !w.fake.Fail[host] && !w.fake.Fail[host+typ] {
			list = append(list, a)
		}
	}
	return list
}

// Whatever DNS says: one outcome for each recipient (deliver checks it),
// nobody is called who must not be, the better before the worse, mail arrives
// when somebody eligible lives, and fails for good only on certain knowledge.
func TestMXProperties(t *testing.T) {
	sink := mailtest.NewSink(t, mailtest.SinkOptions{})
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt, sink.Addr())
		r := New(Options{Hostname: "mx.example.org", Dial: w.dial, MX: &MX{Resolver: &w.fake, Own: []netip.Addr{w.own}}})
		defer r.Close()
		got := deliver(t, r, message("x\r\n", "a@d.example", "b@d.example"))
		eligible := w.eligible()
		last, alive := uint16(0), false
		for addr := range eligible {
			alive = alive || w.alive[addr]
		}
		for i, call := range w.calls {
			p, ok := eligible[call]
			if !ok {
				rt.Fatalf("%s was called, of %v", call, eligible)
			}
			if slices.Index(w.calls, call) < i {
				continue // under another host's name
			}
			if p < last {
				rt.Fatalf("order of calls: %v, of %v", w.calls, eligible)
			}
			last = p
		}
		for _, o := range got {
			switch {
			case (o.Result == mail.Relayed) != alive:
				rt.Fatalf("%+v, of %v alive %v", o, eligible, w.alive)
			case o.Result == mail.Failed && (len(w.calls) > 0 || len(eligible) > 0):
				rt.Fatalf("failed for good with somebody to try: %+v, %v", o, eligible)
			case o.Result == mail.Failed && w.fake.Fail["d.example/MX"]:
				rt.Fatalf("failed for good without knowing the exchangers: %+v", o)
			}
		}
	})
}

func TestQuota(t *testing.T) {
	q := &quota{max: 2}
	for n, want := range []bool{true, true, false} {
		if q.take() != want {
			t.Errorf("take %d of two is %v", n+1, !want)
		}
	}
	q.give(1)
	if !q.take() || q.take() {
		t.Error("one more after one was given back")
	}
	var none *quota
	if !none.take() {
		t.Error("no quota is a bound")
	}
	none.give(1)
}

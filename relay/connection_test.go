package relay

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mailweir/internal/dns"
	"mailweir/internal/mailtest"
	"mailweir/mail"
)

func TestConnectionIsKept(t *testing.T) {
	sink := mailtest.NewSink(t, mailtest.SinkOptions{})
	r := newRelay(t, Options{}, sink.Addr())
	for range 5 {
		wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
	}
	r.Close()
	if verbs := sink.Verbs(); sink.Connections() != 1 || verbs[len(verbs)-1] != "QUIT" || slices.Contains(verbs, "RSET") {
		t.Errorf("%d connections, %v", sink.Connections(), verbs)
	}
	// After Close mail still goes out, but nothing is kept.
	for range 2 {
		wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
	}
	if sink.Connections() != 3 {
		t.Errorf("%d connections", sink.Connections())
	}
}

// A kept connection serves attempts under other contexts, is of no use when the
// context that used it last has ended, and its later messages are interrupted as
// the first one is.
func TestKeptConnectionAndContexts(t *testing.T) {
	var hang atomic.Bool
	reached := make(chan struct{}, 1)
	sink := mailtest.NewSink(t, mailtest.SinkOptions{Extensions: without("CHUNKING"), On: func(e mailtest.Event) mailtest.Step {
		if e.Verb == "RCPT" && hang.Load() {
			reached <- struct{}{}
			return mailtest.Step{Hang: true}
		}
		return mailtest.Step{}
	}})
	r := newRelay(t, Options{}, sink.Addr())
	first, end := context.WithCancel(context.Background())
	second, cut := context.WithCancel(context.Background())
	m := message("x\r\n", "a@example.net")
	for _, step := range []struct {
		ctx         context.Context
		before      func()
		want        mail.Result
		connections int
	}{
		{first, func() {}, mail.Relayed, 1},
		{first, func() {}, mail.Relayed, 1},
		{second, func() {}, mail.Relayed, 1},
		{second, end, mail.Relayed, 1}, // it is bound to the second one by now
		{context.Background(), func() {
			hang.Store(true)
			go func() { <-reached; cut() }()
			wantResults(t, deliverContext(t, second, r, m), mail.Deferred)
			hang.Store(false)
		}, mail.Relayed, 2},
	} {
		step.before()
		wantResults(t, deliverContext(t, step.ctx, r, m), step.want)
		if n := sink.Connections(); n != step.connections {
			t.Errorf("%d connections, want %d", n, step.connections)
		}
	}
	third, end := context.WithCancel(context.Background())
	wantResults(t, deliverContext(t, third, r, m), mail.Relayed)
	end()
	wantResults(t, deliver(t, r, m), mail.Relayed)
	if n := sink.Connections(); n != 3 {
		t.Errorf("%d connections after the end of the context of a kept one", n)
	}
}

func TestMaxMessages(t *testing.T) {
	sink := mailtest.NewSink(t, mailtest.SinkOptions{})
	r := newRelay(t, Options{MaxMessages: 2}, sink.Addr())
	for range 5 {
		wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
	}
	quits := 0
	for _, v := range sink.Verbs() {
		if v == "QUIT" {
			quits++
		}
	}
	if sink.Connections() != 3 || quits != 2 {
		t.Errorf("%d connections, %d QUIT", sink.Connections(), quits)
	}
}

// A kept connection that died is replaced by a new one, without anybody
// noticing: found dead before use, or at MAIL.
func TestStaleConnection(t *testing.T) {
	gone := map[string]mailtest.Step{
		"421":  {Reply: "421 4.4.2 Idle for too long"},
		"drop": {Drop: true},
		"hang": {Hang: true},
	}
	for name, step := range gone {
		for set, extensions := range extensionSets {
			t.Run(name+"/"+set, func(t *testing.T) {
				t.Parallel()
				sink := mailtest.NewSink(t, mailtest.SinkOptions{Extensions: extensions, On: func(e mailtest.Event) mailtest.Step {
					if e.Verb == "MAIL" && e.Conn == 1 && e.Transaction == 1 {
						return step
					}
					return mailtest.Step{}
				}})
				reg := prometheus.NewRegistry()
				m := NewMetrics(reg)
				r := newRelay(t, Options{Timeouts: quick, Metrics: m}, sink.Addr(), deadAddress(t))
				wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
				idleFor(r, 2*freshFor) // else the message would go out with MAIL
				got := deliver(t, r, message("y\r\n", "a@example.net"))
				wantResults(t, got, mail.Relayed)
				if sink.Connections() != 2 || len(sink.Messages()) != 2 || got[0].NextHop != sink.Addr() {
					t.Errorf("%d connections, %d messages, %+v", sink.Connections(), len(sink.Messages()), got[0])
				}
				if n := testutil.ToFloat64(m.stale); n != 1 {
					t.Errorf("%v stale connections counted", n)
				}
			})
		}
	}
}

// When one kept connection leads nowhere the others are not tried.
func TestStaleConnectionsAreForgotten(t *testing.T) {
	var hang atomic.Bool
	both := make(chan struct{}, 2)
	sink := mailtest.NewSink(t, mailtest.SinkOptions{On: func(e mailtest.Event) mailtest.Step {
		if e.Verb == "RCPT" && !hang.Load() {
			both <- struct{}{}
			for len(both) < 2 {
				time.Sleep(time.Millisecond)
			}
		}
		return mailtest.Step{Hang: e.Verb == "MAIL" && e.Conn <= 2 && hang.Load()}
	}})
	r := newRelay(t, Options{Timeouts: Timeouts{Command: 500 * time.Millisecond}}, sink.Addr())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { deliver(t, r, message("x\r\n", "a@example.net")) })
	}
	wg.Wait()
	hang.Store(true)
	idleFor(r, 2*freshFor)
	wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
	for _, h := range r.state.Load().hops {
		if len(h.idle) != 1 {
			t.Errorf("%d connections are kept", len(h.idle))
		}
	}
}

// idleFor makes the idle connections look as if they had been idle for d.
func idleFor(r *Relay, d time.Duration) {
	for _, h := range r.state.Load().hops {
		h.mu.Lock()
		for _, c := range h.idle {
			c.usedAt = c.usedAt.Add(-d)
		}
		h.mu.Unlock()
	}
}

// A next hop that says more than it was asked is not asked again on that
// connection: each reply would be taken for that of the command before, and the
// refusal of one recipient for that of the next.
func TestUnaskedReply(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var connections atomic.Int32
	said := make(chan struct{}, 10)
	go serveRaw(ln, func(c *rawConn) {
		if connections.Add(1) > 1 {
			defer ln.Close()
		}
		c.greet([]string{"PIPELINING"})
		for {
			line := c.commands(1)
			switch {
			case line == "":
				return
			case strings.Contains(line, "nobody@"):
				c.say("550 5.1.1 no such user")
			case line == "DATA\r\n":
				c.say("354 go on")
				for c.commands(1) != ".\r\n" {
				}
				c.say("250 taken")
				time.Sleep(10 * time.Millisecond) // not together with the reply
				c.say("250 taken, as I said")
				said <- struct{}{}
			default:
				c.say("250 OK")
			}
		}
	})
	r := newRelay(t, Options{}, ln.Addr().String())
	wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
	<-said
	got := deliver(t, r, message("x\r\n", "nobody@example.net", "b@example.net"))
	wantResults(t, got, mail.Failed, mail.Relayed)
	if n := connections.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func TestClosedIdleConnection(t *testing.T) {
	sink := mailtest.NewSink(t, mailtest.SinkOptions{})
	m := NewMetrics(prometheus.NewRegistry())
	r := newRelay(t, Options{Metrics: m}, sink.Addr())
	wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
	sink.DropConnections()
	wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
	if sink.Connections() != 2 || testutil.ToFloat64(m.stale) != 0 {
		t.Errorf("%d connections, %v found out at MAIL only", sink.Connections(), testutil.ToFloat64(m.stale))
	}
}

// The message was sent with MAIL in one write, and then nothing came: it may
// have been taken, so nobody else gets it now.
func TestEagerMessageIsNotSentTwice(t *testing.T) {
	for _, step := range []mailtest.Step{{Drop: true}, {Hang: true}} {
		sink := mailtest.NewSink(t, mailtest.SinkOptions{On: func(e mailtest.Event) mailtest.Step {
			if e.Verb == "MAIL" && e.Transaction == 1 {
				return step
			}
			return mailtest.Step{}
		}})
		second := mailtest.NewSink(t, mailtest.SinkOptions{})
		r := newRelay(t, Options{Timeouts: quick}, sink.Addr(), second.Addr())
		wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
		wantResults(t, deliver(t, r, message("y\r\n", "a@example.net")), mail.Deferred)
		if len(second.Messages()) != 0 {
			t.Fatal("sent twice")
		}
		// But the next attempt goes to the other next hop.
		wantResults(t, deliver(t, r, message("y\r\n", "a@example.net")), mail.Relayed)
		if len(second.Messages()) != 1 {
			t.Error("the second next hop was not tried")
		}
	}
}

// A next hop that closes its connections without a word, when they are used
// again, costs one deferral: after it the content waits for the replies to the
// envelope, and a connection that is dead then has taken nothing.
func TestClosingHopDefersOnce(t *testing.T) {
	sink := mailtest.NewSink(t, mailtest.SinkOptions{On: func(e mailtest.Event) mailtest.Step {
		return mailtest.Step{Drop: e.Verb == "MAIL" && e.Transaction > 0}
	}})
	m := NewMetrics(prometheus.NewRegistry())
	r := newRelay(t, Options{HopRetry: time.Nanosecond, Metrics: m}, sink.Addr())
	results := map[mail.Result]int{}
	for range 10 {
		for _, o := range deliver(t, r, message("x\r\n", "a@example.net")) {
			results[o.Result]++
		}
	}
	// (None is deferred where the machine stands still between two messages.)
	if results[mail.Deferred] > 1 || results[mail.Relayed] < 9 || len(sink.Messages()) != results[mail.Relayed] {
		t.Errorf("%v, %d messages; %v connections found dead at MAIL", results, len(sink.Messages()), testutil.ToFloat64(m.stale))
	}
}

// A reused connection that says 421 at MAIL has not taken the message, though
// it has it.
func TestEagerMessageAnd421(t *testing.T) {
	sink := mailtest.NewSink(t, mailtest.SinkOptions{On: func(e mailtest.Event) mailtest.Step {
		if e.Verb == "RCPT" && e.Transaction == 2 {
			return mailtest.Step{Reply: "421 4.3.2 Shutting down"}
		}
		return mailtest.Step{}
	}})
	second := mailtest.NewSink(t, mailtest.SinkOptions{})
	r := newRelay(t, Options{}, sink.Addr(), second.Addr())
	for range 2 {
		wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
	}
	if len(sink.Messages()) != 1 || len(second.Messages()) != 1 {
		t.Errorf("%d and %d messages", len(sink.Messages()), len(second.Messages()))
	}
}

func TestConnectionLimit(t *testing.T) {
	var now, most atomic.Int32
	sink := mailtest.NewSink(t, mailtest.SinkOptions{On: func(e mailtest.Event) mailtest.Step {
		switch e.Verb {
		case "MAIL":
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			return mailtest.Step{Delay: 5 * time.Millisecond}
		case "MESSAGE":
			now.Add(-1)
		}
		return mailtest.Step{}
	}})
	r := newRelay(t, Options{MaxConnections: 3}, sink.Addr())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { deliver(t, r, message("x\r\n", "a@example.net")) })
	}
	wg.Wait()
	if most.Load() > 3 || sink.Connections() > 3 || len(sink.Messages()) != 20 {
		t.Errorf("%d at once, %d connections, %d messages", most.Load(), sink.Connections(), len(sink.Messages()))
	}
}

// In synctest's time, over pipes: idle connections get QUIT when their time is
// over, and no goroutine stays.
func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		m := NewMetrics(prometheus.NewRegistry())
		r := New(Options{Outbound: &Route{NextHops: []string{"a.example:25"}}, Dial: network.dial, IdleTimeout: 10 * time.Second, Metrics: m})
		sink := mailtest.ServeSink(network, mailtest.SinkOptions{})
		wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
		time.Sleep(9 * time.Second)
		wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if v := sink.Verbs(); v[len(v)-1] == "QUIT" || sink.Connections() != 1 || testutil.ToFloat64(m.idle) != 1 {
			t.Errorf("after 9 s idle: %v", v)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if v := sink.Verbs(); v[len(v)-1] != "QUIT" || testutil.ToFloat64(m.idle) != 0 || testutil.ToFloat64(m.open) != 0 {
			t.Errorf("after 11 s idle: %v", v)
		}
		r.Close()
		sink.Close()
	})
}

// A next hop that answers one octet a minute is given up when the time for the
// whole reply is over.
func TestSlowReply(t *testing.T) {
	route := Options{Outbound: &Route{NextHops: []string{"a.example:25"}}}
	resolver := &dns.Fake{
		MX: map[string][]dns.MX{"example.net": {{Host: "a.example", Preference: 10}}},
		A:  map[string][]string{"a.example": {"192.0.2.1"}},
	}
	for patience, o := range map[time.Duration]Options{30 * time.Second: route, 5 * time.Minute: {MX: &MX{Resolver: resolver}}} {
		testSlowReply(t, o, patience)
	}
}

func testSlowReply(t *testing.T, o Options, patience time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		go func() {
			nc, _ := network.Accept()
			go io.Copy(io.Discard, nc)
			for _, c := range []byte("220 slow.example ESMTP\r\n") {
				if _, err := nc.Write([]byte{c}); err != nil {
					return
				}
				time.Sleep(time.Minute)
			}
		}()
		o.Dial = network.dial
		r := New(o)
		begin := time.Now()
		got := deliver(t, r, message("x\r\n", "a@example.net"))
		wantResults(t, got, mail.Deferred)
		if took := time.Since(begin); took != patience || !strings.Contains(got[0].Reply.Text, "time-out") {
			t.Errorf("%s after %s", got[0].Reply, took)
		}
		r.Close()
		time.Sleep(time.Hour)
	})
}

// pipes is a network of net.Pipe connections.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	a, b := net.Pipe()
	p.conns <- b
	return a, nil
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestReload(t *testing.T) {
	stays, goes, comes := mailtest.NewSink(t, mailtest.SinkOptions{}), mailtest.NewSink(t, mailtest.SinkOptions{}), mailtest.NewSink(t, mailtest.SinkOptions{})
	o := Options{Hostname: "mx.example.org", Routes: map[string]*Route{
		"a.example": {NextHops: []string{stays.Addr()}}, "b.example": {NextHops: []string{goes.Addr()}}}}
	r := New(o)
	defer r.Close()
	wantResults(t, deliver(t, r, message("x\r\n", "u@a.example")), mail.Relayed)
	wantResults(t, deliver(t, r, message("x\r\n", "u@b.example")), mail.Relayed)
	old := r.Route("u@b.example")

	o.Routes = map[string]*Route{"a.example": {NextHops: []string{stays.Addr()}}, "b.example": {NextHops: []string{comes.Addr()}}}
	r.Reload(o)
	if v := goes.Verbs(); v[len(v)-1] != "QUIT" {
		t.Errorf("the next hop that went: %v", v)
	}
	wantResults(t, deliver(t, r, message("x\r\n", "u@a.example")), mail.Relayed)
	wantResults(t, deliver(t, r, message("x\r\n", "u@b.example")), mail.Relayed)
	if stays.Connections() != 1 || len(stays.Messages()) != 2 || len(comes.Messages()) != 1 {
		t.Errorf("%d connections to the one that stays", stays.Connections())
	}
	// The queue may hold the old destination for a moment.
	m := message("x\r\n", "u@b.example")
	r.Deliver(t.Context(), old, m, []int{0}, func(o mail.Outcome) {
		if o.Result != mail.Deferred {
			t.Errorf("%+v", o)
		}
	})
	o.Hostname = "new.example.org"
	r.Reload(o)
	wantResults(t, deliver(t, r, message("x\r\n", "u@a.example")), mail.Relayed)
	if got := stays.Messages()[2].Helo; got != "new.example.org" || stays.Connections() != 2 {
		t.Errorf("EHLO %s on connection %d", got, stays.Connections())
	}
}

func TestHeloFallback(t *testing.T) {
	sink := mailtest.NewSink(t, mailtest.SinkOptions{On: mailtest.Script(map[string]string{"EHLO": "502 5.5.1 What?"})})
	r := newRelay(t, Options{}, sink.Addr())
	wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
	if v := sink.Verbs(); !slices.Equal(v, []string{"EHLO", "HELO", "MAIL", "RCPT", "DATA"}) || len(sink.Messages()[0].MailParams) != 0 {
		t.Errorf("%v", v)
	}
	neither := mailtest.NewSink(t, mailtest.SinkOptions{On: mailtest.Script(map[string]string{"EHLO": "550 No", "HELO": "550 Go away"})})
	got := deliver(t, newRelay(t, Options{}, neither.Addr()), message("x\r\n", "a@example.net"))
	wantResults(t, got, mail.Deferred)
	if got[0].Reply.String() != "550 Go away" {
		t.Errorf("%s", got[0].Reply)
	}
}

func TestTLS(t *testing.T) {
	config, roots := mailtest.Certificate(t, "127.0.0.1")
	wrongName, wrongRoots := mailtest.Certificate(t, "other.example")
	broken := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, io.EOF }}
	for _, c := range []struct {
		name   string
		server *tls.Config
		route  TLSPolicy
		script map[string]string
		want   mail.Result
		tls    bool
	}{
		{"opportunistic", config, TLSOpportunistic, nil, mail.Relayed, true},
		{"opportunistic, wrong name", wrongName, TLSOpportunistic, nil, mail.Relayed, true},
		{"opportunistic, not offered", nil, TLSOpportunistic, nil, mail.Relayed, false},
		{"opportunistic, refused", config, TLSOpportunistic, map[string]string{"STARTTLS": "454 4.7.0 Not now"}, mail.Relayed, false},
		{"opportunistic, handshake fails", broken, TLSOpportunistic, nil, mail.Relayed, false},
		{"required", config, TLSRequired, nil, mail.Relayed, true},
		{"required, wrong name", wrongName, TLSRequired, nil, mail.Deferred, false},
		{"required, not offered", nil, TLSRequired, nil, mail.Deferred, false},
		{"required, refused", config, TLSRequired, map[string]string{"STARTTLS": "454 4.7.0 Not now"}, mail.Deferred, false},
		{"required, handshake fails", broken, TLSRequired, nil, mail.Deferred, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			sink := mailtest.NewSink(t, mailtest.SinkOptions{TLS: c.server, On: mailtest.Script(c.script)})
			o := Options{Outbound: &Route{NextHops: []string{sink.Addr()}, TLS: c.route}, RootCAs: roots}
			if c.server == wrongName {
				o.RootCAs = wrongRoots // trusted, but for another name
			}
			r := newRelay(t, o)
			for range 3 { // the third goes out in one write
				got := deliver(t, r, message(strings.Repeat("large\r\n", 10_000), "a@example.net"))
				wantResults(t, got, c.want)
				if c.want == mail.Deferred && got[0].Reply.Enhanced.String() != "4.7.5" {
					t.Errorf("%s", got[0].Reply)
				}
			}
			for _, m := range sink.Messages() {
				if m.TLS != c.tls {
					t.Errorf("TLS %v", m.TLS)
				}
			}
			if c.tls && sink.Connections() != 1 {
				t.Errorf("%d connections", sink.Connections())
			}
			if c.want == mail.Deferred && slices.Contains(sink.Verbs(), "MAIL") {
				t.Error("something was sent")
			}
		})
	}
}

// Octets behind the reply to STARTTLS were not encrypted; taken for replies
// they would let somebody in the middle answer for the next hop.
func TestResponseInjection(t *testing.T) {
	config, _ := mailtest.Certificate(t, "127.0.0.1")
	sink := mailtest.NewSink(t, mailtest.SinkOptions{TLS: config, On: func(e mailtest.Event) mailtest.Step {
		if e.Verb == "STARTTLS" {
			return mailtest.Step{Raw: "220 2.0.0 Go ahead\r\n250 injected\r\n"}
		}
		return mailtest.Step{}
	}})
	got := deliver(t, newRelay(t, Options{}, sink.Addr()), message("x\r\n", "a@example.net"))
	wantResults(t, got, mail.Deferred)
	if !strings.Contains(got[0].Reply.Text, "before the handshake") || slices.Contains(sink.Verbs(), "MAIL") {
		t.Errorf("%s", got[0].Reply)
	}
}

package relay

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
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

// quick time-outs for next hops that say nothing. Tests with them wait that
// long once.
var quick = Timeouts{Connect: 5 * time.Second, Banner: 150 * time.Millisecond, Command: 150 * time.Millisecond,
	Data: 150 * time.Millisecond, Block: 5 * time.Second, Final: 150 * time.Millisecond}

// The failover matrix: what the first next hop does, and whether the second one
// gets the message in the same attempt.
func TestFailover(t *testing.T) {
	const (
		failover = mail.Relayed // by the second next hop
		deferred = mail.Deferred
		failed   = mail.Failed
	)
	type fault struct {
		verb string
		step mailtest.Step
	}
	reply := func(s string) mailtest.Step { return mailtest.Step{Reply: s} }
	drop, hang := mailtest.Step{Drop: true}, mailtest.Step{Hang: true}
	raw := func(s string) mailtest.Step { return mailtest.Step{Raw: s} }
	for _, c := range []struct {
		fault
		want mail.Result
		only string // extension set; "": every one
	}{
		{fault{"CONNECT", reply("554 5.3.2 No mail here")}, failover, ""},
		{fault{"CONNECT", reply("421 4.3.2 Too busy")}, failover, ""},
		{fault{"CONNECT", reply("450 4.3.2 Later")}, failover, ""},
		{fault{"CONNECT", raw("HTTP/1.1 400 Bad Request\r\n")}, failover, ""},
		{fault{"CONNECT", drop}, failover, ""},
		{fault{"CONNECT", hang}, failover, ""},
		{fault{"EHLO", reply("421 4.3.2 Too busy")}, failover, ""},
		{fault{"EHLO", reply("450 4.7.1 Later")}, failover, ""},
		{fault{"EHLO", drop}, failover, ""},
		{fault{"EHLO", hang}, failover, ""},
		{fault{"MAIL", reply("421 4.3.2 Too busy")}, failover, ""},
		{fault{"MAIL", drop}, failover, ""},
		{fault{"MAIL", hang}, failover, ""},
		{fault{"MAIL", raw("25 what\r\n")}, failover, ""},
		{fault{"MAIL", reply("451 4.3.0 Later")}, deferred, ""},
		{fault{"MAIL", reply("550 5.7.1 No")}, failed, ""},
		{fault{"RCPT", reply("421 4.3.2 Too busy")}, failover, ""},
		{fault{"RCPT", drop}, failover, ""},
		{fault{"RCPT", hang}, failover, ""},
		{fault{"RCPT", reply("450 4.2.0 Later")}, deferred, ""},
		{fault{"RCPT", reply("550 5.1.1 No")}, failed, ""},
		{fault{"DATA", reply("421 4.3.2 Too busy")}, failover, "no chunking"},
		{fault{"DATA", drop}, failover, "no chunking"},
		{fault{"DATA", hang}, failover, "no chunking"},
		{fault{"DATA", reply("451 4.3.0 Later")}, deferred, "no chunking"},
		{fault{"DATA", reply("554 5.6.0 No")}, failed, "no chunking"},
		{fault{"DATA", reply("250 2.0.0 What?")}, deferred, "no chunking"},
		{fault{"MESSAGE", reply("421 4.3.2 Too busy")}, failover, ""},
		{fault{"MESSAGE", reply("451 4.3.0 Later")}, deferred, ""},
		{fault{"MESSAGE", reply("554 5.6.0 No")}, failed, ""},
		{fault{"MESSAGE", reply("354 What?")}, deferred, ""},
		// Nobody knows whether it was taken: not a second time, not now.
		{fault{"MESSAGE", drop}, deferred, ""},
		{fault{"MESSAGE", hang}, deferred, ""},
		{fault{"MESSAGE", raw("zzz\r\n")}, deferred, ""},
	} {
		for set, extensions := range extensionSets {
			if c.only != "" && c.only != set {
				continue
			}
			t.Run(c.verb+"/"+c.step.Reply+c.step.Raw+"/"+set, func(t *testing.T) {
				t.Parallel()
				first := mailtest.NewSink(t, mailtest.SinkOptions{Extensions: extensions, On: func(e mailtest.Event) mailtest.Step {
					if e.Verb == c.verb {
						return c.step
					}
					return mailtest.Step{}
				}})
				second := mailtest.NewSink(t, mailtest.SinkOptions{Extensions: extensions})
				r := newRelay(t, Options{Timeouts: quick}, first.Addr(), second.Addr())
				got := deliver(t, r, message("x\r\n", "a@example.net"))[0]
				if got.Result != c.want {
					t.Fatalf("%s (%s), want %s", got.Result, got.Reply, c.want)
				}
				taken := len(second.Messages())
				if want := c.want == failover; (taken == 1) != want || (second.Connections() > 0) != want {
					t.Errorf("second next hop: %d messages, %d connections", taken, second.Connections())
				}
				if c.want == failover && got.NextHop != second.Addr() || c.want != failover && got.NextHop != first.Addr() {
					t.Errorf("next hop %s", got.NextHop)
				}
			})
		}
	}
}

func TestAllNextHopsFail(t *testing.T) {
	busy := mailtest.NewSink(t, mailtest.SinkOptions{On: mailtest.Script(map[string]string{"CONNECT": "554 5.3.2 No mail here"})})
	r := newRelay(t, Options{}, deadAddress(t), busy.Addr())
	got := deliver(t, r, message("x\r\n", "a@example.net", "b@example.net"))
	for _, o := range got {
		// 554 in the banner is about the host, never about the message.
		if o.Result != mail.Deferred || o.Reply.String() != "554 5.3.2 No mail here" {
			t.Errorf("%+v", o)
		}
	}
	r = newRelay(t, Options{}, deadAddress(t))
	o := deliver(t, r, message("x\r\n", "a@example.net"))[0]
	if o.Result != mail.Deferred || o.NextHop != "" || o.Reply.Code != 0 || !strings.Contains(o.Reply.Text, "connection refused") {
		t.Errorf("%+v", o)
	}
}

// deadAddress is one where nothing listens.
func deadAddress(t testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestNoRoute(t *testing.T) {
	r := New(Options{Routes: map[string]*Route{"example.org": {NextHops: []string{"127.0.0.1:1"}}}})
	defer r.Close()
	if d := r.Route("a@example.net"); d != "" {
		t.Errorf("route %q", d)
	}
	o := deliver(t, r, message("x\r\n", "a@example.net"))[0]
	if o.Result != mail.Deferred || o.Reply.Text != "no route" {
		t.Errorf("%+v", o)
	}
}

func TestNear(t *testing.T) {
	r := New(Options{Routes: map[string]*Route{
		"ours.example": {NextHops: []string{"[2001:db8::1]:25"}}, "tls.example": {NextHops: []string{"a.example:25"}, TLS: TLSRequired},
	}, MX: &MX{Resolver: &dns.Fake{}}})
	defer r.Close()
	for rcpt, want := range map[mail.Path]bool{
		"a@ours.example": true, "a@tls.example": true, "a@other.example": false, "a@[192.0.2.1]": false, "a@[IPv6:2001:db8::1]": false,
	} {
		if got := r.Near(r.Route(rcpt)); got != want {
			t.Errorf("%s: %v", rcpt, got)
		}
	}
}

func TestDestination(t *testing.T) {
	r := New(Options{
		Routes: map[string]*Route{
			"":                      {NextHops: []string{"192.0.2.1:25"}},
			"example.org":           {NextHops: []string{"192.0.2.1:25", "192.0.2.2:25"}},
			"example.com":           {NextHops: []string{"192.0.2.1:25", "192.0.2.2:25"}},
			"xn--bcher-kva.example": {NextHops: []string{"192.0.2.1:25"}, TLS: TLSRequired},
		},
		Outbound: &Route{NextHops: []string{"smart.example.net:587"}},
	})
	defer r.Close()
	for path, want := range map[mail.Path]mail.Destination{
		"a@example.org":       "192.0.2.1:25,192.0.2.2:25",
		"a@EXAMPLE.Com":       "192.0.2.1:25,192.0.2.2:25",
		"a@Bücher.example":    "tls:192.0.2.1:25",
		"a@elsewhere.example": "smart.example.net:587",
		"postmaster":          "192.0.2.1:25",
	} {
		if got := r.Route(path); got != want {
			t.Errorf("Route(%s) = %q, want %q", path, got, want)
		}
	}
	if a, b := r.state.Load().routes["192.0.2.1:25,192.0.2.2:25"][0], r.state.Load().routes["tls:192.0.2.1:25"][0]; a == b {
		t.Error("a next hop is shared between TLS policies")
	}
}

// A next hop that gave no service comes last for HopRetry, then it is tried by
// one attempt, and is the first again when that worked.
func TestSuspendedHopComesLast(t *testing.T) {
	var down atomic.Bool
	down.Store(true)
	first := mailtest.NewSink(t, mailtest.SinkOptions{On: func(e mailtest.Event) mailtest.Step {
		return mailtest.Step{Drop: down.Load()}
	}})
	second := mailtest.NewSink(t, mailtest.SinkOptions{On: func(e mailtest.Event) mailtest.Step {
		if e.Transaction == 1 && e.Verb == "MESSAGE" {
			return mailtest.Step{}
		}
		return mailtest.Step{Close: e.Verb == "MESSAGE"}
	}})
	r := newRelay(t, Options{HopRetry: time.Hour}, first.Addr(), second.Addr())
	for range 3 {
		// What the second one has closed in this very moment would get the
		// message along with MAIL, and nobody knew whether it was taken.
		idleFor(r, 2*freshFor)
		wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
	}
	if n := first.Connections(); n != 1 {
		t.Errorf("the dead next hop was tried %d times", n)
	}
	down.Store(false)
	second.Close()
	wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
	if len(first.Messages()) != 1 {
		t.Error("the suspended next hop was not tried when the other one was dead")
	}
}

// A panic of ours (here: in the caller's own content) defers.
func TestPanicDefers(t *testing.T) {
	sink := mailtest.NewSink(t, mailtest.SinkOptions{})
	metrics := NewMetrics(prometheus.NewRegistry())
	r := newRelay(t, Options{MaxConnections: 1, Metrics: metrics}, sink.Addr())
	m := message("", "a@example.net", "b@example.net")
	m.Body = panicking{}
	for range 3 { // the connection slot is given back
		wantResults(t, deliver(t, r, m), mail.Deferred, mail.Deferred)
	}
	wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
	if n := testutil.ToFloat64(metrics.panics); n != 3 {
		t.Errorf("%v of 3 panics were counted", n)
	}
}

type panicking struct{ mail.Bytes }

func (panicking) Size() int64 { panic("no size") }

func TestCancelInterrupts(t *testing.T) {
	for _, verb := range []string{"CONNECT", "EHLO", "MAIL", "RCPT"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			reached := make(chan struct{}, 4)
			sink := mailtest.NewSink(t, mailtest.SinkOptions{On: func(e mailtest.Event) mailtest.Step {
				if e.Verb == verb {
					reached <- struct{}{}
					return mailtest.Step{Hang: true}
				}
				return mailtest.Step{}
			}})
			r := newRelay(t, Options{}, sink.Addr(), deadAddress(t))
			ctx, cancel := context.WithCancel(context.Background())
			go func() { <-reached; cancel() }()
			got := deliverContext(t, ctx, r, message("x\r\n", "a@example.net"))
			wantResults(t, got, mail.Deferred)
			if !strings.Contains(got[0].Reply.Text, "interrupted") {
				t.Errorf("%s", got[0].Reply)
			}
		})
	}
}

// A message that the next hop has in full is not given up at once: it would be
// sent a second time, whatever the reply had been.
func TestCancelWaitsForTheReply(t *testing.T) {
	for name, tt := range map[string]struct {
		after time.Duration // the end of the context
		want  mail.Result
		took  time.Duration
	}{
		"in time": {5 * time.Second, mail.Relayed, 5 * time.Second},
		"never":   {time.Hour, mail.Deferred, lateReply},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := newPipes()
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				var ended time.Time
				go func() {
					nc, _ := network.Accept()
					c := &rawConn{nc, bufio.NewReader(nc)}
					c.greet([]string{"SIZE"})
					c.commands(1)
					c.say("250 MAIL")
					c.commands(1)
					c.say("250 RCPT")
					c.commands(1)
					c.say("354 go on")
					for c.commands(1) != ".\r\n" {
					}
					time.Sleep(time.Minute)
					ended = time.Now()
					cancel()
					time.Sleep(tt.after)
					c.say("250 taken")
					io.Copy(io.Discard, nc)
				}()
				r := New(Options{Outbound: &Route{NextHops: []string{"a.example:25"}}, Dial: network.dial})
				wantResults(t, deliverContext(t, ctx, r, message("x\r\n", "a@example.net")), tt.want)
				if took := time.Since(ended); took != tt.took {
					t.Errorf("it ended %s after its context", took)
				}
				r.Close()
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

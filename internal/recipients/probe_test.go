package recipients

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/internal/mailtest"
	"mailweir/mail"
)

// directory is a next hop that knows alice and no others.
func directory(e mailtest.Event) mailtest.Step {
	if e.Verb == "RCPT" && !strings.Contains(e.Line, "<alice@") {
		return mailtest.Step{Reply: "550 5.1.1 No such user"}
	}
	return mailtest.Step{}
}

func newProbe(o ProbeOptions, hops ...string) *Probe {
	o.Hostname, o.NextHops = "mx.example.org", hops
	return NewProbe(o)
}

func TestProbe(t *testing.T) {
	sink := mailtest.NewSink(t, mailtest.SinkOptions{On: directory})
	var log bytes.Buffer
	p := newProbe(ProbeOptions{Logger: slog.New(slog.NewJSONHandler(&log, nil))}, sink.Addr())
	for range 3 {
		for rcpt, want := range map[mail.Path]Result{"alice@example.org": Known, "alice@EXAMPLE.org": Known, "bob@example.org": Unknown,
			"postmaster@example.org": Known, "postmaster": Known} {
			if got := p.Verify(t.Context(), rcpt); got != want {
				t.Errorf("%s is %s, want %s", rcpt, got, want)
			}
		}
	}
	commands := sink.Commands()
	if !slices.Contains(commands, "MAIL FROM:<> BODY=8BITMIME") || !slices.Contains(commands, "EHLO mx.example.org") ||
		slices.Contains(sink.Verbs(), "DATA") || len(sink.Messages()) != 0 {
		t.Errorf("%q", commands)
	}
	// Once for a probe, and without what the next hop may say of people.
	if s := log.String(); strings.Count(s, `"reply":"550 5.1.1"`) != 1 || strings.Contains(s, "bob") || strings.Contains(s, "user") {
		t.Errorf("log: %s", s)
	}
	rcpts := 0
	for _, v := range sink.Verbs() {
		if v == "RCPT" {
			rcpts++
		}
	}
	if rcpts != 2 {
		t.Errorf("%d probes for 2 recipients: the cache is not used", rcpts)
	}
	if v := sink.Verbs(); v[len(v)-1] != "QUIT" || sink.Connections() != 2 {
		t.Errorf("%d connections for 2 recipients, %v", sink.Connections(), v)
	}
}

// A 5yz is of the recipient, or of us: then postmaster is refused, too, and no
// good recipient must be.
func TestProbeRefused(t *testing.T) {
	for _, c := range []struct {
		reply      string
		postmaster bool // is taken
		want       Result
		asked      int // RCPT commands
	}{
		{"550 5.1.1 No such user", false, Unknown, 1},
		{"550 5.2.1 Disabled", false, Unknown, 1},
		{"550 5.4.1 Recipient address rejected: Access denied", false, Unknown, 1},
		{"550 No such user", false, Unknown, 1},
		{"553 Not here", false, Unknown, 1},
		{"550 5.7.1 Service unavailable, client host blocked", false, Unavailable, 2},
		{"550 5.7.1 You may not write to this list", true, Unknown, 2},
		{"530 5.7.0 Must issue a STARTTLS command first", false, Unavailable, 2},
		{"554 Transaction failed", false, Unavailable, 2},
		{"554 Transaction failed", true, Unknown, 2},
		{"503 5.5.1 Bad sequence", false, Unavailable, 2},
		{"452 4.5.3 Too many", true, Unavailable, 1},
	} {
		sink := mailtest.NewSink(t, mailtest.SinkOptions{On: func(e mailtest.Event) mailtest.Step {
			if e.Verb == "RCPT" && (!c.postmaster || !strings.Contains(e.Line, "<postmaster@example.org>")) {
				return mailtest.Step{Reply: c.reply}
			}
			return mailtest.Step{}
		}})
		p := newProbe(ProbeOptions{}, sink.Addr())
		if got := p.Verify(t.Context(), "bob@example.org"); got != c.want {
			t.Errorf("%q, postmaster taken %v: %s, want %s", c.reply, c.postmaster, got, c.want)
		}
		asked := 0
		for _, verb := range sink.Verbs() {
			if verb == "RCPT" {
				asked++
			}
		}
		if asked != c.asked {
			t.Errorf("%q: %d RCPT, want %d", c.reply, asked, c.asked)
		}
	}
}

// Only a 5yz to RCPT is "unknown". All else is no answer, and not remembered.
func TestProbeUnavailable(t *testing.T) {
	for _, c := range []struct {
		verb string
		step mailtest.Step
	}{
		{"CONNECT", mailtest.Step{Reply: "554 No mail here"}},
		{"CONNECT", mailtest.Step{Drop: true}},
		{"EHLO", mailtest.Step{Reply: "421 Busy"}},
		{"MAIL", mailtest.Step{Reply: "550 5.7.1 Null reverse-path refused"}},
		{"MAIL", mailtest.Step{Reply: "451 4.3.0 Later"}},
		{"RCPT", mailtest.Step{Reply: "450 4.2.0 <bob@example.org>: greylisted"}},
		{"RCPT", mailtest.Step{Reply: "421 4.3.2 Busy"}},
		{"RCPT", mailtest.Step{Raw: "what?\r\n"}},
		{"RCPT", mailtest.Step{Drop: true}},
		{"RCPT", mailtest.Step{Hang: true}},
	} {
		t.Run(c.verb+" "+c.step.Reply, func(t *testing.T) {
			t.Parallel()
			var works atomic.Bool
			sink := mailtest.NewSink(t, mailtest.SinkOptions{On: func(e mailtest.Event) mailtest.Step {
				if e.Verb == c.verb && !works.Load() {
					return c.step
				}
				return directory(e)
			}})
			var log bytes.Buffer
			p := newProbe(ProbeOptions{Timeout: 300 * time.Millisecond, Logger: slog.New(slog.NewJSONHandler(&log, nil))}, sink.Addr())
			if got := p.Verify(t.Context(), "bob@example.org"); got != Unavailable {
				t.Errorf("%s", got)
			}
			if s := log.String(); !strings.Contains(s, "without an answer") || strings.Contains(s, "bob") {
				t.Errorf("log: %s", s)
			}
			works.Store(true)
			if got := p.Verify(t.Context(), "bob@example.org"); got != Unknown {
				t.Errorf("%s after it worked again", got)
			}
		})
	}
	if got := newProbe(ProbeOptions{}, "127.0.0.1:1").Verify(t.Context(), "bob@example.org"); got != Unavailable {
		t.Errorf("refused connection: %s", got)
	}
}

func TestProbeFailover(t *testing.T) {
	busy := mailtest.NewSink(t, mailtest.SinkOptions{On: mailtest.Script(map[string]string{"RCPT": "451 4.3.0 Later"})})
	sink := mailtest.NewSink(t, mailtest.SinkOptions{On: directory})
	p := newProbe(ProbeOptions{}, "127.0.0.1:1", busy.Addr(), sink.Addr())
	if got := p.Verify(t.Context(), "alice@example.org"); got != Known {
		t.Errorf("%s", got)
	}
}

func TestProbeTLS(t *testing.T) {
	config, roots := mailtest.Certificate(t, "127.0.0.1")
	other, _ := mailtest.Certificate(t, "127.0.0.1")
	needTLS := func(e mailtest.Event) mailtest.Step {
		if e.Verb == "MAIL" && !e.TLS {
			return mailtest.Step{Reply: "530 5.7.0 STARTTLS first"}
		}
		if e.Verb == "EHLO" && !strings.HasSuffix(e.Line, " mx.example.org") {
			return mailtest.Step{Reply: "550 5.7.1 Your name"}
		}
		return directory(e)
	}
	broken := func(e mailtest.Event) mailtest.Step {
		if e.Verb == "STARTTLS" {
			return mailtest.Step{Raw: "220 Go on\r\nthis is no TLS\r\n"}
		}
		return directory(e)
	}
	refused := mailtest.Script(map[string]string{"STARTTLS": "454 4.7.0 Not now"})
	for _, c := range []struct {
		name   string
		sink   mailtest.SinkOptions
		probe  ProbeOptions
		result Result
	}{
		{"needed", mailtest.SinkOptions{TLS: config, On: needTLS}, ProbeOptions{}, Known},
		{"needed, unknown certificate", mailtest.SinkOptions{TLS: other, On: needTLS}, ProbeOptions{}, Known},
		{"required", mailtest.SinkOptions{TLS: config, On: needTLS}, ProbeOptions{RequireTLS: true, RootCAs: roots}, Known},
		{"required, unknown certificate", mailtest.SinkOptions{TLS: other}, ProbeOptions{RequireTLS: true, RootCAs: roots}, Unavailable},
		{"broken", mailtest.SinkOptions{TLS: config, On: broken}, ProbeOptions{}, Known},
		{"refused", mailtest.SinkOptions{TLS: config, On: refused}, ProbeOptions{}, Known},
		{"required, broken", mailtest.SinkOptions{TLS: config, On: broken}, ProbeOptions{RequireTLS: true, RootCAs: roots}, Unavailable},
		{"required, refused", mailtest.SinkOptions{TLS: config, On: refused}, ProbeOptions{RequireTLS: true, RootCAs: roots}, Unavailable},
		{"required, not offered", mailtest.SinkOptions{}, ProbeOptions{RequireTLS: true, RootCAs: roots}, Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			sink := mailtest.NewSink(t, c.sink)
			if got := newProbe(c.probe, sink.Addr()).Verify(t.Context(), "alice@example.org"); got != c.result {
				t.Errorf("%s, want %s", got, c.result)
			}
			if c.result == Unavailable && slices.Contains(sink.Verbs(), "RCPT") {
				t.Error("the address was told in the clear")
			}
		})
	}
}

// Many who ask about one recipient share a probe; probes at once are limited.
func TestProbeSharesAndLimits(t *testing.T) {
	var now, most atomic.Int32
	sink := mailtest.NewSink(t, mailtest.SinkOptions{Extensions: []string{}, On: func(e mailtest.Event) mailtest.Step {
		switch e.Verb {
		case "MAIL":
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			return mailtest.Step{Delay: 10 * time.Millisecond}
		case "QUIT":
			now.Add(-1)
		}
		return directory(e)
	}})
	p := newProbe(ProbeOptions{Concurrency: 2}, sink.Addr())
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if got := p.Verify(t.Context(), mail.Path(fmt.Sprintf("alice@d%d.example", i%4))); got != Known {
				t.Errorf("%s", got)
			}
		})
	}
	wg.Wait()
	rcpts := 0
	for _, v := range sink.Verbs() {
		if v == "RCPT" {
			rcpts++
		}
	}
	if rcpts != 4 || most.Load() > 2 {
		t.Errorf("%d probes, %d at once", rcpts, most.Load())
	}
}

// The session that asked first may end: whoever else waits gets the answer.
func TestProbeOutlivesItsFirstAsker(t *testing.T) {
	reached, goOn := make(chan struct{}), make(chan struct{})
	sink := mailtest.NewSink(t, mailtest.SinkOptions{On: func(e mailtest.Event) mailtest.Step {
		if e.Verb == "RCPT" {
			close(reached)
			<-goOn
		}
		return directory(e)
	}})
	p := newProbe(ProbeOptions{}, sink.Addr())
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan Result, 1), make(chan Result, 1)
	go func() { first <- p.Verify(ctx, "alice@example.org") }()
	<-reached
	go func() { second <- p.Verify(t.Context(), "alice@example.org") }()
	cancel()
	if got := <-first; got != Unavailable {
		t.Errorf("first: %s", got)
	}
	close(goOn)
	if got := <-second; got != Known {
		t.Errorf("second: %s", got)
	}
}

// A next hop that says nothing costs the time-out, no more, and nothing stays.
func TestProbeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewProbe(ProbeOptions{NextHops: []string{"a.example:25"}, Dial: func(context.Context, string, string) (net.Conn, error) {
			client, _ := net.Pipe()
			return client, nil
		}})
		begin := time.Now()
		got := p.Verify(t.Context(), "alice@example.org")
		if took := time.Since(begin); got != Unavailable || took != 10*time.Second {
			t.Errorf("%s after %s", got, took)
		}
	})
}

func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(3)
		c.put("a", Known, 24*time.Hour)
		c.put("b", Unknown, 15*time.Minute)
		want := func(key string, want Result) {
			t.Helper()
			if got, _ := c.get(key); got != want {
				t.Errorf("%s is %s, want %s", key, got, want)
			}
		}
		time.Sleep(15*time.Minute - 1)
		want("b", Unknown)
		time.Sleep(1 * time.Nanosecond)
		want("b", 0)
		want("a", Known)
		c.put("c", Known, time.Hour)
		c.put("d", Known, time.Hour)
		want("a", Known) // used: c is the oldest now
		c.put("e", Known, time.Hour)
		want("c", 0)
		want("a", Known)
		c.put("a", Unknown, time.Hour)
		want("a", Unknown)
		if len(c.entries) != 3 || c.recent.Len() != 3 {
			t.Errorf("%d entries, %d in order", len(c.entries), c.recent.Len())
		}
		time.Sleep(time.Hour)
		want("a", 0)
	})
}

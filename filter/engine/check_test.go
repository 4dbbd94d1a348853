package engine

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mailweir/filter"
	"mailweir/internal/mailtest"
	"mailweir/mail"
	"mailweir/metrics"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"))
}

// message is one of ours with a subject.
func message(subject, client string) *Message {
	raw := "From: a@sender.example\r\nSubject: " + subject + "\r\nX-Folded: a\r\n b\r\n\r\nHello Bob,\r\nten of them.\r\n"
	n, _ := mail.HeaderLength([]byte(raw))
	h := mail.ParseHeader([]byte(raw[:n]))
	c := &mail.Client{Helo: "mail.sender.example", ESMTP: true}
	if client != "" {
		c.Addr = netip.MustParseAddr(client)
	}
	return &Message{
		Client: c, Header: &h, Size: int64(len(raw)), Open: func() io.Reader { return strings.NewReader(raw) },
		Envelope: &mail.Envelope{ID: mail.NewID(time.Now()), ReversePath: "a@sender.example", Recipients: []mail.Recipient{{Path: "bob@example.org"}, {Path: "eve@example.org"}}},
	}
}

// fake answers each connection by serve.
func fake(t *testing.T, serve func(net.Conn)) Address {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return Address{"unix", path}
}

var kinds = []string{"rspamd", "spamassassin", "milter"}

func asker(t *testing.T, kind string, a Address) Asker {
	t.Helper()
	k, err := New(kind, a, "mx.example.org", 6)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestFaults: whatever an engine does, the question ends in time, with an error.
func TestFaults(t *testing.T) {
	swallow := func(c net.Conn) { io.Copy(io.Discard, c) }
	for _, kind := range kinds {
		for name, serve := range map[string]func(net.Conn){
			"closes":  func(net.Conn) {},
			"hangs":   swallow,
			"deaf":    func(c net.Conn) { time.Sleep(600 * time.Millisecond) },
			"garbage": func(c net.Conn) { go swallow(c); c.Write([]byte(strings.Repeat("HTTP/9.9 nonsense\r\n", 100))) },
			"endless": func(c net.Conn) {
				go swallow(c)
				for {
					if _, err := c.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			},
			"always busy": func(c net.Conn) { // a milter that says "progress" for ever
				go swallow(c)
				c.Write([]byte("\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00"))
				for {
					if _, err := c.Write([]byte("\x00\x00\x00\x01p")); err != nil {
						return
					}
				}
			},
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				begin := time.Now()
				a, err := asker(t, kind, fake(t, serve)).Ask(ctx, message("x", "192.0.2.1"))
				if err == nil {
					t.Errorf("answered %+v", a)
				}
				if took := time.Since(begin); took > 5*time.Second {
					t.Errorf("took %v", took)
				}
			})
		}
	}
}

// TestReal: the programs themselves, asked, killed and halted.
func TestReal(t *testing.T) {
	for _, c := range []struct {
		kind   string
		scores map[string]float64 // by subject and client
	}{
		{"rspamd", map[string]float64{"minutes/192.0.2.1": 0, "six/192.0.2.1": 6, "six/192.0.2.10": 5, "six ten/": 16}},
		{"spamassassin", map[string]float64{"minutes/192.0.2.1": 0, "six/192.0.2.1": 6, "six ten/": 16}},
		{"milter", map[string]float64{"minutes/192.0.2.1": 6, "minutes/192.0.2.10": 0, "minutes/2001:db8::1": 6}},
	} {
		t.Run(c.kind, func(t *testing.T) {
			e := mailtest.StartEngine(t, c.kind)
			k := asker(t, c.kind, Address{"unix", e.Socket})
			ask := func(subject, client string, limit time.Duration) (Answer, error) {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				return k.Ask(ctx, message(subject, client))
			}
			for what, want := range c.scores {
				subject, client, _ := strings.Cut(what, "/")
				if a, err := ask(subject, client, 30*time.Second); err != nil || a.Score != want {
					t.Errorf("%s: %+v, %v; want %v", what, a, err, want)
				}
			}
			e.Stop()
			if a, err := ask("six", "", 300*time.Millisecond); err == nil {
				t.Errorf("halted, it answers %+v", a)
			}
			e.Continue()
			e.Kill()
			if a, err := ask("six", "", time.Second); err == nil {
				t.Errorf("dead, it answers %+v", a)
			}
		})
	}
}

// scripted is an Asker that does what it is told.
type scripted struct {
	asked int
	err   error
}

func (s *scripted) Ask(ctx context.Context, _ *Message) (Answer, error) {
	s.asked++
	return Answer{}, s.err
}

// TestBreaker: an engine that keeps failing is asked no more, until a probe is
// answered; one that only refuses is.
func TestBreaker(t *testing.T) {
	s := &scripted{err: ErrRefused}
	c := NewCheck(Options{Scale: Scale{Name: "e"}, Asker: s, Timeout: time.Second, Concurrent: 1})
	ask := func() error { _, err := c.admitted(t.Context(), message("x", "")); return err }
	for range 2 * failures {
		ask()
	}
	if s.asked != 2*failures {
		t.Fatal("refusals open the breaker")
	}
	s.err = io.ErrUnexpectedEOF
	for range failures {
		ask()
	}
	if s.asked = 0; !errors.Is(ask(), ErrSuspended) || s.asked != 0 {
		t.Fatal("the breaker did not open")
	}
	c.Probe(t.Context())
	if !errors.Is(ask(), ErrSuspended) {
		t.Fatal("a probe that failed closed the breaker")
	}
	s.err = nil
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := metrics.NewReadiness(), make(chan struct{})
	go func() { defer close(done); c.Watch(ctx, ready) }()
	for deadline := time.Now().Add(5 * time.Second); ask() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never closed again")
		}
	}
	cancel()
	<-done
}

func TestStates(t *testing.T) {
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	for _, c := range []struct {
		ctx   context.Context
		err   error
		state filter.State
		word  string
	}{
		{t.Context(), nil, filter.OK, "ok"},
		{t.Context(), ErrSuspended, filter.Error, "suspended"},
		{t.Context(), ErrBusy, filter.Timeout, "busy"},
		{late, io.ErrUnexpectedEOF, filter.Timeout, "timeout"},
		{t.Context(), ErrReply, filter.Error, "garbage"},
		{t.Context(), ErrRefused, filter.Error, "refused"},
		{t.Context(), io.ErrUnexpectedEOF, filter.Error, "error"},
	} {
		if s := stateOf(c.ctx, c.err); s != c.state || resultOf(s, c.err) != c.word {
			t.Errorf("%v: %s, %s", c.err, s, resultOf(s, c.err))
		}
	}
}

// TestMilterCloses: no connection outlives its question, which the library alone
// would leave open when a negotiation fails.
func TestMilterCloses(t *testing.T) {
	closed := make(chan error, 1)
	a := fake(t, func(c net.Conn) {
		c.Write([]byte("\x00\x00\x00\x01X"))
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, err := io.Copy(io.Discard, c)
		closed <- err
	})
	if _, err := asker(t, "milter", a).Ask(t.Context(), message("x", "")); err == nil {
		t.Error("it was content")
	}
	if err := <-closed; err != nil {
		t.Errorf("the connection is still open: %v", err)
	}
}

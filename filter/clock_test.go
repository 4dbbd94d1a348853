package filter

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/internal/dns"
	"mailweir/mail"
)

// keyStream is a Streamer's stream that waits for a look-up which Start began.
type keyStream struct{ done chan struct{} }

func (s *keyStream) Write([]byte) {}
func (s *keyStream) Abort()       {}
func (s *keyStream) End(ctx context.Context) Report {
	select {
	case <-s.done:
	case <-ctx.Done():
	}
	return Report{State: Timeout}
}

// deaf asks DNS, gets no answer, and does not give up before it is told to.
type deaf string

func (d deaf) Name() string { return string(d) }

func (d deaf) Run(ctx context.Context, _ *Transaction) Report {
	return Report{State: Timeout, Cause: dns.Await(ctx, make(chan struct{}))}
}

type deafStreamer struct{ deaf }

func (deafStreamer) Start(ctx context.Context, _ *Transaction) Stream {
	s := &keyStream{make(chan struct{})}
	go func() { defer close(s.done); _ = dns.Await(ctx, make(chan struct{})) }()
	return s
}

// Whatever the checks ask, one after the other: with dead DNS a message waits
// for messageTime since the client connected, and not for that in each phase.
func TestDNSTakesTwentySecondsInAll(t *testing.T) {
	for name, chain := range map[string]Chain{
		"all phases": {
			Connect: Group{deaf("dnsbl"), deaf("iprev")}, Mail: Group{deaf("spf")},
			Data: Group{deafStreamer{"dkim"}}, Done: []Group{{deaf("dmarc"), deaf("uribl")}, {deaf("late")}},
		},
		"mail":     {Mail: Group{deaf("spf")}, Done: []Group{{deaf("dmarc")}}},
		"data":     {Data: Group{deafStreamer{"dkim"}}, Done: []Group{{deaf("dmarc")}}},
		"the last": {Done: []Group{{deaf("dmarc")}, {deaf("uribl")}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, begin := pipeline(chain, nil), time.Now()
				j, err := judge(t, p, "A: b\r\n\r\nbody\r\n", 7)
				if err != nil {
					t.Fatal(err)
				}
				if d := time.Since(begin); d != 20*time.Second {
					t.Errorf("took %v", d)
				}
				for _, c := range j.Facts.Checks {
					if c.State != Timeout {
						t.Errorf("%s ended as %s", c.Name, c.State)
					}
				}
			})
		})
	}
}

// Whoever makes SPF wait for his own DNS does not keep us from asking for the key
// of the domain that he claims to sign for.
func TestDNSTimeForKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := fakeCheck{"dkim", func(ctx context.Context, _ *Transaction) Report {
			answer := make(chan struct{})
			time.AfterFunc(2*time.Second, func() { close(answer) })
			if err := dns.Await(ctx, answer); err != nil {
				return Report{State: Timeout, Cause: err}
			}
			return Report{State: OK}
		}}
		p := pipeline(Chain{Connect: Group{deaf("iprev")}, Mail: Group{deaf("spf"), deaf("spf_helo")}, Data: Group{key}}, nil)
		conn := p.Connect(t.Context(), mail.Client{})
		defer conn.Close()
		i := conn.Begin(t.Context(), mail.Client{}, &mail.Envelope{ID: mail.NewID(time.Now())})
		defer i.Close()
		time.Sleep(30 * time.Second) // before DATA
		if err := i.Write([]byte("A: b\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		j := i.Judge(mail.Bytes("A: b\r\n\r\n"))
		for _, c := range j.Facts.Checks {
			if (c.State == OK) != (c.Name == "dkim") {
				t.Errorf("%s ended as %s", c.Name, c.State)
			}
		}
	})
}

// Two messages of one connection each have what its look-ups have left.
func TestDNSClockOfEachMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		brief := fakeCheck{"iprev", func(ctx context.Context, _ *Transaction) Report {
			answer := make(chan struct{})
			time.AfterFunc(5*time.Second, func() { close(answer) })
			return Report{State: OK, Cause: dns.Await(ctx, answer)}
		}}
		p := pipeline(Chain{Connect: Group{brief}, Mail: Group{deaf("spf")}}, nil)
		conn := p.Connect(t.Context(), mail.Client{})
		defer conn.Close()
		time.Sleep(time.Minute)
		for range 2 {
			begin := time.Now()
			i := conn.Begin(t.Context(), mail.Client{}, &mail.Envelope{ID: mail.NewID(begin)})
			i.Judge(mail.Bytes("A: b\r\n\r\n"))
			if d := time.Since(begin); d != 11*time.Second {
				t.Errorf("took %v", d)
			}
			i.Close()
		}
	})
}

package relay

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"mailweir/internal/mailtest"
	"mailweir/mail"
)

// cutConn breaks after a number of octets in one direction.
type cutConn struct {
	net.Conn
	reads, writes *atomic.Int64 // left; negative: no limit
}

func (c cutConn) Read(p []byte) (int, error) {
	if left := c.reads.Load(); left >= 0 && int64(len(p)) > left {
		p = p[:left]
	}
	if len(p) == 0 {
		c.Close()
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p)
	c.reads.Add(int64(-n))
	return n, err
}

func (c cutConn) Write(p []byte) (int, error) {
	left := c.writes.Load()
	if left < 0 || int64(len(p)) <= left {
		c.writes.Add(int64(-len(p)))
		return c.Conn.Write(p)
	}
	n, _ := c.Conn.Write(p[:left])
	c.Close()
	return n, io.ErrClosedPipe
}

// The connection to the first next hop is cut at every octet of two messages in
// turn, in each direction. Whatever happens there is one outcome for each
// recipient (deliver checks it), nobody gets a message twice in one attempt,
// and who is said to have it has it.
func TestCutAtEveryOctet(t *testing.T) {
	for set, extensions := range extensionSets {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			for _, reads := range []bool{true, false} {
				for n := int64(0); ; n++ {
					if !cutAt(t, extensions, reads, n) {
						break
					}
				}
			}
		})
	}
}

// cutAt reports whether the connection was cut.
func cutAt(t *testing.T, extensions []string, reads bool, n int64) bool {
	script := rcptScript(map[string]string{"no": "550 5.1.1 No such user"})
	first, err := mailtest.StartSink(mailtest.SinkOptions{Extensions: extensions, On: script})
	if err != nil {
		t.Fatal(err)
	}
	second, err := mailtest.StartSink(mailtest.SinkOptions{Extensions: extensions, On: script})
	if err != nil {
		t.Fatal(err)
	}
	var left, unlimited atomic.Int64
	left.Store(n)
	unlimited.Store(-1 << 40)
	r := New(Options{
		Hostname: "mx.example.org", Outbound: &Route{NextHops: []string{first.Addr(), second.Addr()}},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, network, address)
			switch {
			case err != nil || address != first.Addr():
				return nc, err
			case reads:
				return cutConn{nc, &left, &unlimited}, nil
			}
			return cutConn{nc, &unlimited, &left}, nil
		},
	})
	m := message("some\r\n.dots\r\n", "a@example.net", "no@example.net", "b@example.net")
	var outcomes [2][]mail.Outcome
	for i := range outcomes {
		outcomes[i] = deliver(t, r, m)
	}
	cut := left.Load() <= 0 || second.Connections() > 0
	r.Close()
	first.Close()
	second.Close()
	checkCut(t, n, outcomes, append(first.Messages(), second.Messages()...))
	return cut
}

// checkCut compares outcomes with the messages that all next hops took.
func checkCut(t *testing.T, n int64, outcomes [2][]mail.Outcome, taken []mailtest.Message) {
	t.Helper()
	relayed := 0
	for _, got := range outcomes {
		if got[0].Result != got[2].Result || got[0].Result == mail.Failed || got[1].Result == mail.Relayed {
			t.Fatalf("cut at %d: %v", n, got)
		}
		if got[0].Result == mail.Relayed {
			relayed++
		}
	}
	if len(taken) < relayed || len(taken) > 2 {
		t.Fatalf("cut at %d: %d attempts said relayed, the next hops have %d messages", n, relayed, len(taken))
	}
	for _, g := range taken {
		if string(g.Data) != "Subject: test\r\n\r\nsome\r\n.dots\r\n" || len(g.Rcpts) != 2 {
			t.Fatalf("cut at %d: a next hop took %q for %v", n, g.Data, g.Rcpts)
		}
	}
}

// Next hops that do anything at any moment: the same promises as above.
func TestRandomFaults(t *testing.T) {
	steps := []mailtest.Step{{Drop: true}, {Close: true}, {Reply: "421 4.3.2 Busy"}, {Reply: "451 4.3.0 Later"}, {Reply: "452 4.5.3 Too many"},
		{Reply: "550 5.7.1 No"}, {Raw: "what?\r\n"}, {Reply: "354 Go ahead"}}
	verbs := []string{"CONNECT", "EHLO", "HELO", "MAIL", "RCPT", "RCPT", "DATA", "BDAT", "MESSAGE", "RSET"}
	sets := []string{"all", "no chunking", "no pipelining", "none"}
	rapid.Check(t, func(rt *rapid.T) {
		var sinks []*mailtest.Sink
		var hops []string
		for range rapid.IntRange(1, 3).Draw(rt, "next hops") {
			verb := rapid.SampledFrom(verbs).Draw(rt, "verb")
			step := rapid.SampledFrom(steps).Draw(rt, "step")
			skip := int32(rapid.IntRange(0, 3).Draw(rt, "skip"))
			set := rapid.SampledFrom(sets).Draw(rt, "set")
			var seen atomic.Int32
			sink, err := mailtest.StartSink(mailtest.SinkOptions{Extensions: extensionSets[set], On: func(e mailtest.Event) mailtest.Step {
				if e.Verb == verb && seen.Add(1) > skip {
					return step
				}
				return mailtest.Step{}
			}})
			if err != nil {
				rt.Fatal(err)
			}
			sinks, hops = append(sinks, sink), append(hops, sink.Addr())
		}
		r := New(Options{Outbound: &Route{NextHops: hops}, Timeouts: quick})
		const attempts = 3
		relayed := make(map[string]int)
		for range attempts {
			m := message("x\r\n", "a@example.net", "b@example.net", "c@example.net", "d@example.net")
			m.Heads = append(m.Heads, []byte("Other: head\r\n\r\n"))
			m.Envelope.Recipients[rapid.IntRange(0, 3).Draw(rt, "other")].Head = 1
			for i, o := range deliver(t, r, m) {
				if o.Result == mail.Relayed {
					relayed[string(m.Envelope.Recipients[i].Path)]++
				}
			}
		}
		r.Close()
		taken := make(map[string]int)
		for _, s := range sinks {
			s.Close()
			for _, g := range s.Messages() {
				for _, rcpt := range g.Rcpts {
					taken[rcpt.Path]++
				}
			}
		}
		for _, path := range []string{"a@example.net", "b@example.net", "c@example.net", "d@example.net"} {
			if taken[path] < relayed[path] || taken[path] > attempts {
				rt.Fatalf("%s: %d attempts, %d said relayed, %d copies", path, attempts, relayed[path], taken[path])
			}
		}
	})
}

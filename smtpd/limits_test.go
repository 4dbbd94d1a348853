package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestDataLimits: what ends a message that is too much, and that the session
// goes on behind its real end.
func TestDataLimits(t *testing.T) {
	line := strings.Repeat("x", 98) + "\r\n"
	for _, c := range []struct{ name, data, want string }{
		{"fits", "A: b\r\n\r\n" + strings.Repeat(line, 999) + ".\r\n", "354 250 250 221"},
		{"too big", "A: b\r\n\r\n" + strings.Repeat(line, 1001) + ".\r\n", "354 552 250 221"},
		{"far too big", "A: b\r\n\r\n" + strings.Repeat(line, 3000) + ".\r\n", "354 552"},
		{"line", "A: b\r\n\r\n" + strings.Repeat("x", 1999) + "\r\n.\r\n", "354 550 250 221"},
		{"line fits", "A: b\r\n\r\n" + strings.Repeat("x", 1998) + "\r\n.\r\n", "354 250 250 221"},
		{"header", strings.Repeat("A: b\r\n", 1334) + "\r\n.\r\n", "354 552 250 221"},
		{"header fits", strings.Repeat("A: b\r\n", 1333) + "\r\n.\r\n", "354 250 250 221"},
		{"bare", "A: b\r\n\r\n\n" + strings.Repeat(line, 10000) + ".\r\n", "354 550 250 221"},
		{"bare for too long", "A: b\r\n\r\n\n" + strings.Repeat(line, 12000) + ".\r\n", "354 550"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &desk{}
			got := codes(run(t, memServer(d, nil), ListenerOptions{}, pieces(preamble+"DATA\r\n", c.data, "NOOP\r\nQUIT\r\n")))
			if got = strings.TrimPrefix(got, "220 250 250 250 "); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if strings.Contains(c.want, "354 250") != (len(d.taken()) == 1) {
				t.Errorf("%d messages", len(d.taken()))
			}
		})
	}
}

// TestChunkLimits is the same for BDAT.
func TestChunkLimits(t *testing.T) {
	line := strings.Repeat("x", 98) + "\r\n"
	bdat := func(n int, last, data string) string { return fmt.Sprintf("BDAT %d%s\r\n%s", n, last, data) }
	for _, c := range []struct{ name, data, want string }{
		{"fits", bdat(100000, " LAST", strings.Repeat(line, 1000)), "250 250 221"},
		{"too big", bdat(100100, " LAST", strings.Repeat(line, 1001)), "552 250 221"},
		{"declared far too big", bdat(200001, " LAST", "x"), "552"},
		{"second too big", bdat(99000, "", strings.Repeat(line, 990)) + bdat(1100, "", strings.Repeat(line, 11)) +
			bdat(100, " LAST", line), "250 552 503 250 221"},
		{"negative", "BDAT -1\r\n", "501"},
		{"no number", "BDAT LAST\r\n", "501"},
		{"more", "BDAT 1 LAST LAST\r\n", "501"},
		{"number in a later one", bdat(2, "", "\r\n") + "BDAT x\r\n", "250 501"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &desk{}
			s := memServer(d, func(o *Options) { o.Limits.HeaderSection = 1 << 20 })
			got := codes(run(t, s, ListenerOptions{}, pieces(preamble+c.data+"NOOP\r\nQUIT\r\n")))
			if got = strings.TrimPrefix(got, "220 250 250 250 "); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if strings.HasPrefix(c.want, "250 250") != (len(d.taken()) == 1) {
				t.Errorf("%d messages", len(d.taken()))
			}
		})
	}
}

// TestManyChunks: a message of very many chunks costs no memory of its own.
func TestManyChunks(t *testing.T) {
	const n = 20000
	d := &desk{data: func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }}
	client := pieces(preamble)
	for range n {
		client = append(client, []byte("BDAT 2\r\n\r\nBDAT 0\r\nBDAT 2\r\n\r\n"))
	}
	client = append(client, pieces("BDAT 0 LAST\r\nQUIT\r\n")...)
	s := memServer(d, func(o *Options) { o.Limits.Commands = 1 << 30 })
	allocs := testing.AllocsPerRun(1, func() {
		if got := run(t, s, ListenerOptions{}, clonePieces(client)); len(got) != 4+3*n+2 {
			t.Fatalf("%d replies", len(got))
		}
	})
	t.Logf("%.1f allocations a chunk, the test's own included", allocs/(3*n))
	if got := codes(run(t, memServer(d, nil), ListenerOptions{}, client)); !strings.HasSuffix(got, " 421") {
		t.Errorf("endless empty chunks: ...%s", got[len(got)-20:])
	}
}

func clonePieces(list [][]byte) [][]byte { return append([][]byte(nil), list...) }

func TestCommandLimits(t *testing.T) {
	long := strings.Repeat("x", 2048)
	for _, c := range []struct{ name, say, want string }{
		{"longest line", "NOOP " + long[:2041] + "\r\nQUIT\r\n", "250 221"},
		{"too long", "NOOP " + long[:2042] + "\r\nNOOP\r\nQUIT\r\n", "500 250 221"},
		{"much too long", "NOOP " + strings.Repeat(long, 10) + "\r\nNOOP\r\nQUIT\r\n", "500 250 221"},
		{"endless", strings.Repeat(long, 100), "500"},
		{"three bad lines", "A\nB\nC\nNOOP\r\n", "500 500 500"},
		{"errors", strings.Repeat("FOO\r\n", 15), "500 500 500 500 500 500 500 500 500 500 421"},
		{"no-ops", strings.Repeat("NOOP\r\n", 40), strings.Repeat("250 ", 30) + "421"},
	} {
		got := codes(run(t, memServer(&desk{}, nil), ListenerOptions{}, pieces(c.say)))
		if got != "220 "+c.want {
			t.Errorf("%s: %s, want 220 %s", c.name, got, c.want)
		}
	}
}

// TestErrorsOfPipelining: what a client sent behind a refused command before
// it could know is no error of its own; but nobody gets that for ever.
func TestErrorsOfPipelining(t *testing.T) {
	group := "MAIL FROM:<later@client.example>\r\n" + strings.Repeat("RCPT TO:<b@example.org>\r\n", 20) + "DATA\r\n"
	got := codes(run(t, memServer(&desk{}, nil), ListenerOptions{}, pieces("EHLO c.example\r\n"+group+"QUIT\r\n")))
	if want := "220 250 451 " + strings.Repeat("503 ", 21) + "221"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	got = codes(run(t, memServer(&desk{}, nil), ListenerOptions{}, pieces("EHLO c.example\r\n"+group+group+"QUIT\r\n")))
	if !strings.HasSuffix(got, "503 421") {
		t.Errorf("twice: %s", got)
	}
}

// timed runs f against a server in virtual time.
func timed(t *testing.T, change func(*Options), f func(p *peer)) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{}
		s := memServer(d, change)
		client, server := net.Pipe()
		li := &listener{}
		li.proxies.Store(&[]netip.Prefix{})
		s.start(server, li)
		p := newPeer(t, client)
		client.SetDeadline(time.Now().Add(24 * time.Hour))
		p.want("220")
		f(p)
		client.Close()
		s.Close()
	})
}

func TestTimeouts(t *testing.T) {
	t.Run("command", func(t *testing.T) {
		timed(t, nil, func(p *peer) {
			start := time.Now()
			p.want("421 4.4.2")
			p.wantClosed()
			if d := time.Since(start); d != 5*time.Minute {
				t.Errorf("after %v", d)
			}
		})
	})
	t.Run("octet by octet", func(t *testing.T) {
		timed(t, nil, func(p *peer) {
			p.send("NO")
			time.Sleep(4 * time.Minute)
			p.send("OP")
			time.Sleep(59 * time.Second)
			p.send(" ")
			p.want("421 4.4.2")
		})
	})
	t.Run("data", func(t *testing.T) {
		timed(t, nil, func(p *peer) {
			p.envelope()
			p.say("DATA", "354")
			p.send("Subject: x\r\n")
			start := time.Now()
			p.want("421 4.4.2")
			if d := time.Since(start); d != 3*time.Minute {
				t.Errorf("after %v", d)
			}
		})
	})
	t.Run("slow data", func(t *testing.T) {
		// One octet a second is less than any rate: it gets the grace only.
		timed(t, nil, func(p *peer) {
			p.envelope()
			p.say("DATA", "354")
			start := time.Now()
			go io.Copy(io.Discard, p.c)
			for time.Since(start) < 10*time.Minute {
				if _, err := io.WriteString(p.c, "x"); err != nil {
					break
				}
				time.Sleep(time.Second)
			}
			if d := time.Since(start); d < 3*time.Minute || d > 3*time.Minute+2*time.Second {
				t.Errorf("given up after %v", d)
			}
		})
	})
	t.Run("session", func(t *testing.T) {
		timed(t, func(o *Options) { o.Limits.Commands = 1 << 20 }, func(p *peer) {
			start := time.Now()
			go io.Copy(io.Discard, p.c)
			for time.Since(start) < 2*time.Hour {
				if _, err := io.WriteString(p.c, "NOOP\r\n"); err != nil {
					break
				}
				time.Sleep(time.Minute)
			}
			if d := time.Since(start); d < time.Hour || d > time.Hour+time.Minute {
				t.Errorf("ended after %v", d)
			}
		})
	})
}

// TestConnectionLimits counts by network of the effective client address.
func TestConnectionLimits(t *testing.T) {
	limit := func(o *Options) { o.Limits.ConnectionsPerNetwork, o.Limits.Connections = 2, 4 }
	t.Run("network", func(t *testing.T) {
		_, addr := serve(t, &desk{}, ListenerOptions{}, limit)
		dial(t, addr)
		p := dial(t, addr)
		connect(t, addr).want("421 4.7.0 Too many connections")
		p.say("QUIT", "221")
		p.wantClosed()
		waitFor(t, func() bool {
			q := connect(t, addr)
			return strings.HasPrefix(q.reply(), "220")
		})
	})
	t.Run("exempt", func(t *testing.T) {
		_, addr := serve(t, &desk{}, ListenerOptions{}, func(o *Options) {
			limit(o)
			o.Exempt = func(a netip.Addr) bool { return a.IsLoopback() }
		})
		for range 4 {
			dial(t, addr)
		}
		connect(t, addr).want("421 4.3.2")
	})
	t.Run("XCLIENT", func(t *testing.T) {
		_, addr := serve(t, &desk{}, ListenerOptions{TrustedProxies: loopback}, func(o *Options) {
			o.Limits.ConnectionsPerNetwork = 2
		})
		first := dial(t, addr)
		first.say("XCLIENT ADDR=192.0.2.1", "220")
		dial(t, addr).say("XCLIENT ADDR=192.0.2.2", "220")
		third := dial(t, addr)
		third.say("XCLIENT ADDR=192.0.2.3", "421 4.7.0")
		third.wantClosed()
		first.say("XCLIENT ADDR=IPV6:2001:db8::1", "220")
		dial(t, addr).say("XCLIENT ADDR=192.0.2.3", "220")
		for _, last := range "23" {
			dial(t, addr).say("XCLIENT ADDR=IPV6:2001:db8:0:1::"+string(last), "220")
		}
		dial(t, addr).say("XCLIENT ADDR=IPV6:2001:db8:0:1:ffff::4", "421")
		dial(t, addr).say("XCLIENT ADDR=IPV6:2001:db8:0:2::4", "220")
	})
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to that")
		}
	}
}

// TestNetworksForget: the table holds networks with connections only.
func TestNetworksForget(t *testing.T) {
	var n networks
	for i := range 1000 {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
		n.enter(a, 5)
		n.leave(a)
	}
	if len(n.count) != 0 {
		t.Errorf("%d networks left", len(n.count))
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{replyListed.Err(), "554 5.7.1"},
		{errors.New("no database"), "421 4.3.0"},
		{&smtp.SMTPError{Code: 250}, "421 4.3.0"},
	} {
		got := run(t, memServer(&desk{openErr: c.err}, nil), ListenerOptions{}, pieces("QUIT\r\n"))
		if len(got) != 1 || !strings.HasPrefix(got[0], c.want) {
			t.Errorf("%v: %q, want %s", c.err, got, c.want)
		}
	}
}

// TestPanic: it costs its session a 421, and nobody else anything.
func TestPanic(t *testing.T) {
	d := &desk{}
	m := NewMetrics(prometheus.NewRegistry())
	_, addr := serve(t, d, ListenerOptions{}, func(o *Options) { o.Metrics = m })
	other := dial(t, addr)
	p := dial(t, addr)
	p.say("EHLO client.example", "250")
	p.say("MAIL FROM:<a@client.example>", "250")
	p.say("RCPT TO:<panic@example.org>", "421 4.3.0")
	p.wantClosed()
	if n := testutil.ToFloat64(m.panics); n != 1 {
		t.Errorf("%v panics counted", n)
	}
	other.say("NOOP", "250")
}

// TestSessionFaults: what a session gets wrong never loses or invents mail.
func TestSessionFaults(t *testing.T) {
	body := "Subject: x\r\n\r\nx\r\n.\r\n"
	bare := "Subject: x\r\n\r\nx\n.\r\n.\r\n"
	readAll := func(r io.Reader) error { _, err := io.ReadAll(r); return err }
	for _, c := range []struct {
		name string
		data func(io.Reader) error
		body string
		want string
	}{
		{"reads nothing, says yes", func(io.Reader) error { return nil }, body, "451"},
		{"reads nothing, says 250", func(io.Reader) error { return Queued([16]byte{}) }, body, "451"},
		{"reads nothing, says no", func(io.Reader) error { return replyNoSpace.Err() }, body, "452"},
		{"reads a part, says no", func(r io.Reader) error { r.Read(make([]byte, 3)); return replySpam.Err() }, body, "554"},
		{"error without a type", func(r io.Reader) error { readAll(r); return errors.New("disk") }, body, "451"},
		{"odd code", func(r io.Reader) error { readAll(r); return &smtp.SMTPError{Code: 354} }, body, "451"},
		{"wrapped", func(r io.Reader) error { readAll(r); return fmt.Errorf("so: %w", replySpam.Err()) }, body, "554"},
		{"own 250", func(r io.Reader) error { readAll(r); return Queued([16]byte{}) }, body, "250 2.0.0 Ok: queued as 000"},
		{"accepts a fault", func(r io.Reader) error { readAll(r); return nil }, bare, "550 5.5.2"},
		{"hides a fault", func(r io.Reader) error { readAll(r); return replyDeferred.Err() }, bare, "550 5.5.2"},
		{"passes a fault on", readAll, bare, "550 5.5.2"},
		{"closes", func(r io.Reader) error { readAll(r); return replyTooBusy.Err() }, body, "421"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, how := range []struct{ start, data string }{
				{"DATA\r\n", c.body},
				{"", fmt.Sprintf("BDAT %d LAST\r\n%s", len(c.body)-3, c.body[:len(c.body)-3])},
			} {
				got := run(t, memServer(&desk{data: c.data}, nil), ListenerOptions{}, pieces(preamble+how.start, how.data, "QUIT\r\n"))
				i := len(got) - 2
				if c.want == "421" {
					i++
				}
				if !strings.HasPrefix(got[i], c.want) {
					t.Errorf("%q, want %s", got, c.want)
				}
			}
		})
	}
	d := &desk{startErr: replyNoSpace.Err()}
	got := codes(run(t, memServer(d, nil), ListenerOptions{}, pieces(preamble+"DATA\r\nMAIL FROM:<>\r\nBDAT 6\r\nQUIT\r\nQUIT\r\n")))
	if got != "220 250 250 250 452 250 503 221" {
		t.Errorf("StartData refuses: %s", got)
	}
	got = codes(run(t, memServer(d, nil), ListenerOptions{}, pieces(preamble+"BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nQUIT\r\n")))
	if got != "220 250 250 250 452 503 221" {
		t.Errorf("StartData refuses BDAT: %s", got)
	}
}

// TestDataWaitsFor354 (RFC 2920 section 3.1).
func TestDataWaitsFor354(t *testing.T) {
	d := &desk{}
	got := codes(run(t, memServer(d, nil), ListenerOptions{}, pieces(preamble+"DATA\r\nSubject: x\r\n\r\n.\r\n")))
	if got != "220 250 250 250 554" {
		t.Error(got)
	}
	d.wantLetters(t, 0)
}

// TestReader: the session may read in any way it likes.
func TestReader(t *testing.T) {
	want := strings.Repeat("0123456789\r\n", 9000)
	for _, size := range []int{1, 7, 4096, 1 << 20} {
		got := ""
		d := &desk{data: func(r io.Reader) error {
			var b strings.Builder
			_, err := io.CopyBuffer(&b, struct{ io.Reader }{r}, make([]byte, size))
			got = b.String()
			return err
		}}
		s := memServer(d, func(o *Options) { o.Limits.MessageSize, o.Limits.HeaderSection = 1<<20, 1<<20 })
		run(t, s, ListenerOptions{}, pieces(preamble+"DATA\r\n", want+".\r\nQUIT\r\n"))
		if got != want {
			t.Errorf("by %d octets: %d octets, want %d", size, len(got), len(want))
		}
	}
}

func TestShutdown(t *testing.T) {
	d := &desk{}
	s, addr := serve(t, d, ListenerOptions{}, nil)
	idle, busy, sending := dial(t, addr), dial(t, addr), dial(t, addr)
	busy.envelope()
	sending.envelope()
	sending.say("DATA", "354")
	sending.send("Subject: x\r\n")
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	idle.want("421 4.3.2")
	idle.wantClosed()
	if c, err := net.Dial("tcp", addr.String()); err == nil {
		c.Close()
		t.Error("still listening")
	}
	busy.say("DATA", "354")
	busy.send("x\r\n.\r\nMAIL FROM:<>\r\n")
	busy.want("250")
	busy.want("421 4.3.2")
	sending.send("\r\nx\r\n.\r\n")
	sending.want("250")
	sending.want("421 4.3.2")
	busy.c.Close()
	sending.c.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	d.wantLetters(t, 2)
}

// TestShutdownImpatient: a client that does not finish cannot hold it up.
func TestShutdownImpatient(t *testing.T) {
	d := &desk{}
	s, addr := serve(t, d, ListenerOptions{}, nil)
	p := dial(t, addr)
	p.envelope()
	p.say("DATA", "354")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Error(err)
	}
	p.wantClosed()
	d.wantLetters(t, 0)
}

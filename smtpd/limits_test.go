package smtpd

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"
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

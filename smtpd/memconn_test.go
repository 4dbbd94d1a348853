package smtpd

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// memConn is a client that has said everything in advance. Each piece is one
// read: what arrives together and what does not is part of the case.
type memConn struct {
	pieces [][]byte
	next   int
	out    bytes.Buffer
	closed bool
}

func (m *memConn) Read(b []byte) (int, error) {
	if m.next == len(m.pieces) {
		return 0, io.EOF
	}
	p := m.pieces[m.next]
	n := copy(b, p)
	if m.pieces[m.next] = p[n:]; n == len(p) {
		m.next++
	}
	return n, nil
}

func (m *memConn) Write(b []byte) (int, error) { return m.out.Write(b) }
func (m *memConn) Close() error                { m.closed = true; return nil }
func (m *memConn) LocalAddr() net.Addr         { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 25), Port: 25} }
func (m *memConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(198, 51, 100, 7), Port: 4321}
}
func (m *memConn) SetDeadline(time.Time) error      { return nil }
func (m *memConn) SetReadDeadline(time.Time) error  { return nil }
func (m *memConn) SetWriteDeadline(time.Time) error { return nil }

// pieces makes one piece of each string that is not empty.
func pieces(list ...string) [][]byte {
	var out [][]byte
	for _, s := range list {
		if s != "" {
			out = append(out, []byte(s))
		}
	}
	return out
}

// run serves one connection to its end and returns the replies, banner first.
func run(t testing.TB, s *Server, lo ListenerOptions, client [][]byte) []string {
	t.Helper()
	li := &listener{ListenerOptions: lo}
	li.proxies.Store(&lo.TrustedProxies)
	mem := &memConn{pieces: client}
	s.start(mem, li)
	s.wg.Wait()
	if !mem.closed {
		t.Fatal("the connection was not closed")
	}
	return replies(t, mem.out.String())
}

// replies splits what a server said; each must be well-formed.
func replies(t testing.TB, out string) []string {
	t.Helper()
	var list []string
	reply := ""
	for line := range strings.SplitAfterSeq(out, "\r\n") {
		if line == "" {
			continue
		}
		text, ok := strings.CutSuffix(line, "\r\n")
		if !ok || len(text) < 4 || strings.ContainsAny(text, "\r\n\x00") || text[3] != ' ' && text[3] != '-' ||
			reply != "" && !strings.HasPrefix(reply, text[:3]) {
			t.Fatalf("malformed reply line %q in %q", line, out)
		}
		reply += text
		if text[3] == ' ' {
			list = append(list, reply)
			reply = ""
		} else {
			reply += "\n"
		}
	}
	if reply != "" {
		t.Fatalf("unfinished reply %q", reply)
	}
	return list
}

// codes are the codes of replies.
func codes(list []string) string {
	var b strings.Builder
	for i, r := range list {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(r[:3])
	}
	return b.String()
}

// commonMetrics are for tests that do not look at them: they are dear to make.
var commonMetrics = sync.OnceValue(func() *Metrics { return NewMetrics(prometheus.NewRegistry()) })

// memServer is a server for run.
func memServer(d *desk, change func(*Options)) *Server {
	o := Options{Hostname: "mx.example.org", Limits: testLimits(), Logger: quiet, Metrics: commonMetrics()}
	if change != nil {
		change(&o)
	}
	return NewServer(o, d)
}

const preamble = "EHLO client.example\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<b@example.org>\r\n"

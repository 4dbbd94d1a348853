package smtpd

import (
	"context"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"mailweir/mail"
)

// nullDesk takes messages and forgets them.
func nullDesk() *desk {
	return &desk{data: func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }}
}

// cpu is what this process has used so far, user and system.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// quietDesk is a desk for benchmarks: it counts, and nothing else.
type quietDesk struct{ n int }

func (d *quietDesk) Open(context.Context, mail.Client) (smtp.Session, error) { return d, nil }
func (d *quietDesk) Mail(string, *smtp.MailOptions) error                    { return nil }
func (d *quietDesk) Rcpt(string, *smtp.RcptOptions) error                    { return nil }
func (d *quietDesk) Reset()                                                  {}
func (d *quietDesk) Logout() error                                           { return nil }
func (d *quietDesk) Data(r io.Reader) error {
	_, err := io.Copy(onlyWriter{}, r)
	if err == nil {
		d.n++
	}
	return err
}

type openerFunc func() smtp.Session

func (f openerFunc) Open(context.Context, mail.Client) (smtp.Session, error) { return f(), nil }

// onlyWriter takes what it is given, as an Intake does.
type onlyWriter struct{}

func (onlyWriter) Write(p []byte) (int, error) { return len(p), nil }

// loadConn is a client of n messages in memory, pipelined: all that is
// measured is the engine.
type loadConn struct {
	memConn
	n     int
	first []byte
	body  []byte
	turn  int
}

func (c *loadConn) Read(b []byte) (int, error) {
	c.turn++
	switch {
	case c.turn == 1:
		return copy(b, c.first), nil
	case len(c.rest()) > 0:
		n := copy(b, c.rest())
		c.next += n
		return n, nil
	}
	return 0, io.EOF
}

func (c *loadConn) rest() []byte {
	if c.next == len(c.body) && c.n > 1 {
		c.n--
		c.next = 0
	}
	return c.body[c.next:]
}

func (c *loadConn) Write(b []byte) (int, error) { return len(b), nil }

// benchMemory measures the engine without a network.
func benchMemory(b *testing.B, size int) {
	d := &quietDesk{}
	s := NewServer(Options{Hostname: "mx.example.org", Logger: quiet}, d)
	li := &listener{}
	li.proxies.Store(&[]netip.Prefix{})
	message := benchMessage(size)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	b.ResetTimer()
	s.start(&loadConn{n: b.N, first: []byte("EHLO client.example\r\n" + group), body: []byte(message + ".\r\n" + group)}, li)
	s.wg.Wait()
	if d.n != b.N {
		b.Fatalf("%d messages, want %d", d.n, b.N)
	}
}

func BenchmarkMemory4K(b *testing.B)  { benchMemory(b, 4<<10) }
func BenchmarkMemory64K(b *testing.B) { benchMemory(b, 64<<10) }

// benchLoopback measures a server with a client in another process, 8
// connections of 100 pipelined messages each; cpu-us/op is this process alone.
func benchLoopback(b *testing.B, addr net.Addr, size int) {
	b.SetBytes(int64(size))
	b.ReportAllocs()
	before := cpu()
	b.ResetTimer()
	out, wait := startClient(b, "send", addr, b.N, size)
	io.Copy(io.Discard, out)
	wait()
	b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-us/op")
}

func BenchmarkData4K(b *testing.B)  { benchOurs(b, 4<<10) }
func BenchmarkData64K(b *testing.B) { benchOurs(b, 64<<10) }

func benchOurs(b *testing.B, size int) {
	s := NewServer(Options{Hostname: "mx.example.org", Logger: quiet}, openerFunc(func() smtp.Session { return &quietDesk{} }))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go s.Serve(l, ListenerOptions{})
	b.Cleanup(func() { s.Close() })
	benchLoopback(b, l.Addr(), size)
}

func BenchmarkGoSMTP4K(b *testing.B)  { benchGoSMTP(b, 4<<10) }
func BenchmarkGoSMTP64K(b *testing.B) { benchGoSMTP(b, 64<<10) }

func benchGoSMTP(b *testing.B, size int) {
	s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &quietDesk{}, nil }))
	s.Domain = "mx.example.org"
	s.MaxMessageBytes = DefaultLimits().MessageSize
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go s.Serve(l)
	b.Cleanup(func() { s.Close() })
	benchLoopback(b, l.Addr(), size)
}

// TestIdleMemory holds architecture.md section 6 to its word: an idle TLS session
// costs at most 32 KiB, whatever it has received.
func TestIdleMemory(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("a second of handshakes; the race detector has its own memory")
	}
	for _, size := range []int{0, 4 << 10, 64 << 10} {
		if each := idleMemory(t, 400, size, 32<<10); each > 32<<10 {
			t.Errorf("%d octets a session after a message of %d", each, size)
		} else {
			t.Logf("%d octets a session, heap and stack, after a message of %d", each, size)
		}
	}
}

// idleMemory is what each of n sessions costs once that is at most enough, or
// after all the time that they may need to come to rest.
func idleMemory(t *testing.T, n, size, enough int) int {
	s, addr := serve(t, nullDesk(), ListenerOptions{}, func(o *Options) {
		withTLS(t)(o)
		o.Limits = DefaultLimits()
		o.Limits.ConnectionsPerNetwork = n
	})
	before := inUse()
	out, wait := startClient(t, "idle", addr, n, size)
	if line, err := out.ReadString('\n'); err != nil || !strings.HasPrefix(line, "ready") {
		t.Fatal(line, err)
	}
	each := int(inUse()-before) / n
	for end := time.Now().Add(restAfter + 30*time.Second); each > enough && time.Now().Before(end); {
		time.Sleep(restAfter / 5)
		each = int(inUse()-before) / n
	}
	wait()
	s.Close()
	return each
}

// inUse is the memory in use after the collector had its say. Stacks shrink,
// and pools empty, over several rounds.
func inUse() int64 {
	for range 4 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

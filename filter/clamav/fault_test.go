package clamav

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const limitReply = "INSTREAM size limit exceeded. ERROR\x00"

// faults is every way we know in which a clamd can fail. None may end clean.
var faults = []struct {
	name  string
	serve func(net.Conn)
	size  int // of the stream
	errs  []error
}{
	{"closes at once", func(net.Conn) {}, 100, []error{ErrUnavailable, ErrTruncated}},
	{"reads all and never answers", func(c net.Conn) { readStream(c); hang(c) }, 100, []error{ErrTimeout}},
	{"never reads", func(c net.Conn) { waitClosed(c) }, 8 << 20, []error{ErrTimeout}},
	{"closes in mid-stream", func(c net.Conn) { io.CopyN(io.Discard, c, 100_000) }, 8 << 20, []error{ErrUnavailable}},
	{"closes before the verdict", func(c net.Conn) { readStream(c) }, 100, []error{ErrTruncated}},
	{"garbage", answer("\x16\x03\x01\x00"), 100, []error{ErrReply}},
	{"HTTP", answer("HTTP/1.1 400 Bad Request\r\n\r\n"), 100, []error{ErrTruncated}},
	{"empty reply", answer("\x00"), 100, []error{ErrReply}},
	{"truncated reply", answer("stream: O"), 100, []error{ErrTruncated}},
	{"clean without NUL", answer("stream: OK"), 100, []error{ErrTruncated}},
	{"clean with a newline", answer("stream: OK\n"), 100, []error{ErrTruncated}},
	{"clean without NUL, stays open", func(c net.Conn) { answer("stream: OK")(c); hang(c) }, 100, []error{ErrTimeout}},
	{"two replies", answer("stream: OK\x00stream: X FOUND\x00"), 100, []error{ErrReply}},
	{"endless reply", func(c net.Conn) { readStream(c); io.Copy(c, endless{}) }, 100, []error{ErrReply}},
	{"reply to another command", answer("PONG\x00"), 100, []error{ErrReply}},
	{"clean file instead of stream", answer("/tmp/x: OK\x00"), 100, []error{ErrReply}},
	{"clean of a session", answer("1: stream: OK\x00"), 100, []error{ErrReply}},
	{"error of the engine", answer("stream: Can't allocate memory ERROR\x00"), 100, []error{ErrReply}},
	{"command timed out", answer("COMMAND READ TIMED OUT\x00"), 100, []error{ErrReply}},
	{"limit, then closes", early(limitReply, func(net.Conn) {}), 8 << 20, []error{ErrOversize}},
	{"limit, then hangs", early(limitReply, waitClosed), 8 << 20, []error{ErrOversize}},
	{"limit, then reads on", early(limitReply, func(c net.Conn) { drain(c) }), 8 << 20, []error{ErrOversize}},
	{"limit at the end", answer(limitReply), 100, []error{ErrOversize}},
	{"limit named as a signature", answer("stream: Heuristics.Limits.Exceeded.MaxScanSize FOUND\x00"), 100, []error{ErrOversize}},
	{"clean before the end, then closes", early("stream: OK\x00", func(net.Conn) {}), 8 << 20, []error{ErrUnavailable}},
	{"clean before the end, then hangs", early("stream: OK\x00", waitClosed), 8 << 20, []error{ErrTimeout}},
	{"found before the end, then closes", early("stream: X FOUND\x00", func(net.Conn) {}), 8 << 20, []error{ErrUnavailable}},
	{"reads 64 KiB a second", func(c net.Conn) { crawl(c, time.Second); answer("stream: OK\x00")(c) }, 8 << 20, []error{ErrTimeout}},
}

// early sends a reply in mid-stream.
func early(reply string, then func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		io.CopyN(io.Discard, c, 100_000)
		io.WriteString(c, reply)
		then(c)
	}
}

// waitClosed neither reads nor answers until the test ends and the fake closes
// its side: the client notices only by its deadline.
func waitClosed(c net.Conn) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err == nil {
		raw.Read(func(uintptr) bool { return false })
	}
}

func drain(c net.Conn) {
	io.Copy(io.Discard, c)
}

func crawl(c net.Conn, pause time.Duration) {
	buf := make([]byte, 64<<10)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
		<-time.After(pause)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'A'
	}
	return len(p), nil
}

func TestFaultsAreNeverClean(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		for _, f := range faults {
			t.Run(network+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				c := newClient(t, Options{Address: listen(t, network, f.serve), Timeout: 400 * time.Millisecond, MaxConcurrent: 1})
				// Twice: the slot of the first scan must be free again.
				for range 2 {
					v, err := c.Scan(t.Context(), bytes.NewReader(make([]byte, f.size)))
					if v != (Verdict{}) {
						t.Fatalf("a verdict: %+v, %v", v, err)
					}
					if !isAny(err, f.errs) {
						t.Fatalf("got %v, want %v", err, f.errs)
					}
				}
			})
		}
	}
}

func listen(t *testing.T, network string, serve func(net.Conn)) string {
	if network == "unix" {
		return fakeClamd(t, serve)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, ln, serve)
	return ln.Addr().String()
}

func isAny(err error, targets []error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func TestDeadSocket(t *testing.T) {
	for _, address := range []string{"unix:/nonexistent/clamd.sock", closedPort(t)} {
		c := newClient(t, Options{Address: address})
		if v, err := c.Scan(t.Context(), strings.NewReader("x")); !errors.Is(err, ErrUnavailable) || v.Clean {
			t.Errorf("%s: got %+v, %v", address, v, err)
		}
		if err := c.Probe(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: probe: %v", address, err)
		}
	}
}

func closedPort(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// A reset connection (RST) ends as an error too.
func TestReset(t *testing.T) {
	address := listen(t, "tcp", func(c net.Conn) {
		io.CopyN(io.Discard, c, 10)
		c.(*net.TCPConn).SetLinger(0)
	})
	v, err := newClient(t, Options{Address: address}).Scan(t.Context(), bytes.NewReader(make([]byte, 8<<20)))
	if !errors.Is(err, ErrUnavailable) || v != (Verdict{}) {
		t.Fatalf("got %+v, %v", v, err)
	}
}

// A source that fails leaves a stream without its end, which no clamd answers;
// were it to answer, that would not count.
func TestFailingSource(t *testing.T) {
	sent := make(chan error, 1)
	address := fakeClamd(t, func(c net.Conn) {
		io.WriteString(c, "stream: OK\x00")
		_, err := readStream(c)
		sent <- err
	})
	cause := errors.New("sender went away")
	source := io.MultiReader(bytes.NewReader(make([]byte, 3*chunkBytes/2)), iotest.ErrReader(cause))
	v, err := newClient(t, Options{Address: address}).Scan(t.Context(), source)
	if !errors.Is(err, ErrAborted) || !errors.Is(err, cause) || v != (Verdict{}) {
		t.Fatalf("got %+v, %v", v, err)
	}
	if err := <-sent; err == nil {
		t.Fatal("clamd saw a complete stream")
	}
}

func TestSourceWithoutProgress(t *testing.T) {
	c := newClient(t, Options{Address: "unix:/nonexistent"})
	if _, err := c.Scan(t.Context(), stuck{}); !errors.Is(err, io.ErrNoProgress) {
		t.Fatal(err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// The end of the context ends a scan at once, wherever it is.
func TestCancel(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve func(net.Conn, func())
		size  int
	}{
		{"while clamd scans", func(c net.Conn, cancel func()) { readStream(c); cancel(); hang(c) }, 100},
		{"while clamd does not read", func(c net.Conn, cancel func()) { cancel(); waitClosed(c) }, 8 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			c := newClient(t, Options{Address: fakeClamd(t, func(c net.Conn) { tt.serve(c, cancel) }), Failures: 1})
			start := time.Now()
			v, err := c.Scan(ctx, bytes.NewReader(make([]byte, tt.size)))
			if !errors.Is(err, ErrAborted) || v != (Verdict{}) {
				t.Fatalf("got %+v, %v", v, err)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Fatalf("took %v", took)
			}
			if c.breaker.IsOpen() {
				t.Fatal("a cancelled scan counts as clamd's failure")
			}
		})
	}
}

// The caller's deadline that passes while clamd is waited for is clamd's fault;
// while the sender is waited for, it is not.
func TestCallersDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c := newClient(t, Options{Address: fakeClamd(t, hang), Failures: 1})
	if _, err := c.Scan(ctx, strings.NewReader("x")); !errors.Is(err, ErrTimeout) {
		t.Fatal(err)
	}
	if !c.breaker.IsOpen() {
		t.Error("a hanging clamd does not open the breaker")
	}

	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c = newClient(t, Options{Address: fakeClamd(t, hang), Failures: 1})
	source := io.MultiReader(bytes.NewReader(make([]byte, chunkBytes)), untilDone{ctx})
	if _, err := c.Scan(ctx, source); !errors.Is(err, ErrAborted) {
		t.Fatal(err)
	}
	if c.breaker.IsOpen() {
		t.Error("a slow sender opens the breaker")
	}
}

// untilDone is a reader as Follow gives it: it ends with its context.
type untilDone struct{ ctx context.Context }

func (u untilDone) Read([]byte) (int, error) {
	<-u.ctx.Done()
	return 0, u.ctx.Err()
}

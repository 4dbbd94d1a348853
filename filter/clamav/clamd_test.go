package clamav

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"
)

func TestSplitAddress(t *testing.T) {
	for _, tt := range []struct {
		in, network, address string
		ok                   bool
	}{
		{"unix:/run/clamav/clamd.ctl", "unix", "/run/clamav/clamd.ctl", true},
		{"127.0.0.1:3310", "tcp", "127.0.0.1:3310", true},
		{"[2001:db8::1]:3310", "tcp", "[2001:db8::1]:3310", true},
		{"clamd.example:3310", "tcp", "clamd.example:3310", true},
		{"unix:clamd.ctl", "", "", false},
		{"unix:", "", "", false},
		{"/run/clamav/clamd.ctl", "", "", false},
		{"127.0.0.1", "", "", false},
		{":3310", "", "", false},
		{"host:", "", "", false},
		{"", "", "", false},
	} {
		network, address, err := SplitAddress(tt.in)
		if network != tt.network || address != tt.address || (err == nil) != tt.ok {
			t.Errorf("%q: got %q, %q, %v", tt.in, network, address, err)
		}
		if _, err := New(Options{Address: tt.in}); (err == nil) != tt.ok {
			t.Errorf("New(%q): %v", tt.in, err)
		}
	}
}

// TestFraming: whatever the sizes and however the source hands them out, clamd
// gets the same octets.
func TestFraming(t *testing.T) {
	streams := make(chan []byte, 1)
	address := fakeClamd(t, func(c net.Conn) {
		data, err := readStream(c)
		if err != nil {
			return
		}
		streams <- data
		io.WriteString(c, "stream: OK\x00")
	})
	c := newClient(t, Options{Address: address})
	rapid.Check(t, func(t *rapid.T) {
		near := rapid.SampledFrom([]int{0, 1, chunkBytes, 2 * chunkBytes}).Draw(t, "near")
		size := max(0, near+rapid.IntRange(-5, 5).Draw(t, "delta"))
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i * 7)
		}
		var source io.Reader = bytes.NewReader(data)
		switch rapid.IntRange(0, 3).Draw(t, "reader") {
		case 1:
			source = iotest.HalfReader(source)
		case 2:
			source = iotest.DataErrReader(source)
		case 3:
			source = &ragged{r: source, n: rapid.IntRange(1, 9000).Draw(t, "n")}
		}
		v, err := c.Scan(context.Background(), source)
		if err != nil || !v.Clean {
			t.Fatalf("%+v, %v", v, err)
		}
		if got := <-streams; !bytes.Equal(got, data) {
			t.Fatalf("clamd got %d octets, want %d", len(got), len(data))
		}
	})
}

// ragged gives n octets at a time, and now and then none.
type ragged struct {
	r     io.Reader
	n     int
	calls int
}

func (r *ragged) Read(p []byte) (int, error) {
	if r.calls++; r.calls%3 == 0 {
		return 0, nil
	}
	return r.r.Read(p[:min(r.n, len(p))])
}

// TestWrites: a message of one chunk is one system call, a larger one is one a
// chunk.
func TestWrites(t *testing.T) {
	address := fakeClamd(t, answer("stream: OK\x00"))
	for _, tt := range []struct{ size, writes int }{
		{0, 1}, {1, 1}, {4096, 1}, {chunkBytes - 1, 1}, {chunkBytes, 2}, {chunkBytes + 1, 2}, {10*chunkBytes + 1, 11},
	} {
		var writes atomic.Int64
		c := newClient(t, Options{Address: address, Dial: counting(&writes)})
		if v, err := c.Scan(t.Context(), bytes.NewReader(make([]byte, tt.size))); err != nil || !v.Clean {
			t.Fatal(v, err)
		}
		if got := int(writes.Load()); got != tt.writes {
			t.Errorf("%d octets took %d writes, want %d", tt.size, got, tt.writes)
		}
	}
}

func counting(writes *atomic.Int64) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return &countingConn{conn, writes}, err
	}
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// A slow sender holds neither a connection nor a slot before its first chunk.
func TestSlowSenderTakesNoSlot(t *testing.T) {
	c := newClient(t, Options{Address: fakeClamd(t, answer("stream: OK\x00")), MaxConcurrent: 1})
	r, w := io.Pipe()
	slow := make(chan error, 1)
	go func() {
		_, err := c.Scan(t.Context(), r)
		slow <- err
	}()
	io.WriteString(w, "Subject: slow\r\n") // returns when Scan has read it
	if v, err := c.Scan(t.Context(), strings.NewReader("fast")); err != nil || !v.Clean {
		t.Fatal(v, err)
	}
	w.Close()
	if err := <-slow; err != nil {
		t.Fatal(err)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	const limit, scans = 3, 20
	var open, most atomic.Int64
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		n := open.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return &tracked{Conn: conn, closed: sync.OnceFunc(func() { open.Add(-1) })}, err
	}
	c := newClient(t, Options{Address: fakeClamd(t, answer("stream: OK\x00")), MaxConcurrent: limit, Dial: dial})
	errs := make(chan error, scans)
	for range scans {
		go func() {
			_, err := c.Scan(t.Context(), bytes.NewReader(make([]byte, 100_000)))
			errs <- err
		}()
	}
	for range scans {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := most.Load(); got > limit {
		t.Errorf("%d connections at once with a limit of %d", got, limit)
	}
	if open.Load() != 0 || len(c.slots) != 0 {
		t.Errorf("%d connections and %d slots are left", open.Load(), len(c.slots))
	}
}

type tracked struct {
	net.Conn
	closed func()
}

func (c *tracked) Close() error {
	c.closed()
	return c.Conn.Close()
}

// Waiting for a slot ends with the deadline or the context.
func TestBusy(t *testing.T) {
	c := newClient(t, Options{Address: "unix:/nonexistent", MaxConcurrent: 1, Timeout: 20 * time.Millisecond, Failures: 1})
	c.slots <- struct{}{}
	if _, err := c.Scan(t.Context(), strings.NewReader("x")); !errors.Is(err, ErrBusy) || !errors.Is(err, ErrTimeout) {
		t.Error(err)
	}
	if c.breaker.IsOpen() {
		t.Error("our own limit counts as clamd's failure")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Scan(ctx, strings.NewReader("x")); !errors.Is(err, ErrAborted) {
		t.Error(err)
	}
}

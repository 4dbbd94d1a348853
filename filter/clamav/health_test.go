package clamav

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mailweir/internal/metricslint"
	"mailweir/metrics"
)

// plant is a clamd on a net.Pipe whose state a test changes, for tests on the
// clock of a synctest bubble.
type plant struct {
	state atomic.Int32
	dials atomic.Int32
}

const (
	dead int32 = iota
	alive
	stopped // accepts, then nothing: what SIGSTOP does
)

func (p *plant) dial(context.Context, string, string) (net.Conn, error) {
	p.dials.Add(1)
	if p.state.Load() == dead {
		return nil, syscall.ECONNREFUSED
	}
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		if p.state.Load() == stopped {
			hang(server)
			return
		}
		answerAll(server)
	}()
	return client, nil
}

// answerAll serves INSTREAM and VERSION.
func answerAll(c net.Conn) {
	var kind [2]byte
	if _, err := c.Read(kind[:]); err != nil {
		return
	}
	if string(kind[:]) == "zV" {
		c.Read(make([]byte, len(versionCommand)))
		c.Write([]byte("ClamAV 1.4.6/27817/Fri Nov 20 09:21:11 2026\x00"))
		return
	}
	answer("stream: OK\x00")(unread{c, bytes.NewReader(kind[:])})
}

type unread struct {
	net.Conn
	head *bytes.Reader
}

func (u unread) Read(p []byte) (int, error) {
	if u.head.Len() > 0 {
		return u.head.Read(p)
	}
	return u.Conn.Read(p)
}

func scanErr(c *Client) error {
	_, err := c.Scan(context.Background(), strings.NewReader("x"))
	return err
}

// A dead clamd costs a few dials, then nothing; mail flows again within 5 s of
// its return.
func TestBreakerWithRun(t *testing.T) {
	for _, down := range []int32{dead, stopped} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			p, ready, reg := new(plant), metrics.NewReadiness(), prometheus.NewRegistry()
			p.state.Store(alive)
			c := newClient(t, Options{Address: "clamd.example:3310", Dial: p.dial,
				Metrics: NewMetrics(reg), Logger: slog.New(slog.NewTextHandler(&log, nil))})
			ctx, cancel := context.WithCancel(t.Context())
			ran := make(chan struct{})
			go func() { c.Run(ctx, ready); close(ran) }()
			synctest.Wait()
			if c.DatabaseVersion() != "ClamAV 1.4.6/27817/Fri Nov 20 09:21:11 2026" || len(ready.Problems()) != 0 {
				t.Errorf("version %q, problems %v", c.DatabaseVersion(), ready.Problems())
			}

			p.state.Store(down)
			scanErr(c)
			time.Sleep(DefaultProbeTimeout)
			synctest.Wait()
			if len(ready.Problems()) != 1 {
				t.Error("a scan failed, and /readyz does not say so")
			}
			start := time.Now()
			for !errors.Is(scanErr(c), ErrSuspended) {
				if time.Since(start) > time.Minute {
					t.Fatal("the breaker does not open")
				}
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if problems := ready.Problems(); len(problems) != 1 || problems[0].State != metrics.Degraded {
				t.Errorf("problems %v", problems)
			}
			start = time.Now()
			for range 1000 {
				if err := scanErr(c); !errors.Is(err, ErrUnavailable) {
					t.Fatal(err)
				}
			}
			if took := time.Since(start); took > DefaultProbeTimeout+time.Second {
				t.Errorf("1000 scans with an open breaker took %v", took)
			}

			p.state.Store(alive)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if err := scanErr(c); err != nil {
				t.Errorf("5 s after its return: %v", err)
			}
			if len(ready.Problems()) != 0 || testutil.ToFloat64(c.o.Metrics.up) != 1 || testutil.ToFloat64(c.o.Metrics.open) != 0 {
				t.Errorf("not reported as up: %v", ready.Problems())
			}
			cancel()
			<-ran
			for _, line := range []string{"is up", "is down", "keeps failing", "answers again"} {
				if n := strings.Count(log.String(), line); n < 1 || n > 2 {
					t.Errorf("%q is logged %d times:\n%s", line, n, log.String())
				}
			}
		})
	}
}

// Without Run, as in a command that judges one file, a scan after the pause
// tries by itself: with a probe, and only one.
func TestBreakerWithoutRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(plant)
		c := newClient(t, Options{Address: "clamd.example:3310", Dial: p.dial, Failures: 3, Pause: 2 * time.Second})
		for range 3 {
			if err := scanErr(c); errors.Is(err, ErrSuspended) {
				t.Fatal("opened too early")
			}
		}
		for range 10 {
			if err := scanErr(c); !errors.Is(err, ErrSuspended) {
				t.Fatal(err)
			}
		}
		if n := p.dials.Load(); n != 3 {
			t.Fatalf("%d dials", n)
		}
		p.state.Store(stopped)
		time.Sleep(2 * time.Second)
		start := time.Now()
		errs := make(chan error, 10)
		for range 10 {
			go func() { errs <- scanErr(c) }()
		}
		for range 10 {
			if err := <-errs; !errors.Is(err, ErrSuspended) {
				t.Error(err)
			}
		}
		if n, took := p.dials.Load(), time.Since(start); n != 4 || took != DefaultProbeTimeout {
			t.Errorf("%d dials in %v", n-3, took)
		}
		p.state.Store(alive)
		time.Sleep(2 * time.Second)
		if err := scanErr(c); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

// A success between failures starts the count again, and our own limits and
// clamd's do not count.
func TestBreakerCountsFailuresInARow(t *testing.T) {
	c := newClient(t, Options{Address: "clamd.example:3310", Failures: 2})
	for _, err := range []error{
		ErrTimeout, nil, ErrReply, ErrOversize, ErrTruncated, ErrAborted, nil, ErrAborted, ErrUnavailable,
	} {
		if c.record(err); c.breaker.IsOpen() {
			t.Fatalf("open after %v", err)
		}
	}
	if c.record(ErrUnavailable); !c.breaker.IsOpen() {
		t.Fatal("not open after two failures in a row")
	}
	if c.record(nil); c.breaker.IsOpen() {
		t.Fatal("a late success does not close it")
	}
}

func TestProbe(t *testing.T) {
	for _, tt := range []struct {
		serve func(net.Conn)
		err   error
	}{
		{answer("stream: OK\x00"), nil},
		{answer("stream: X FOUND\x00"), ErrReply}, // a signature that hits everything
		{answer(limitReply), ErrOversize},
		{answer("PONG\x00"), ErrReply},
		{func(net.Conn) {}, ErrTruncated},
	} {
		c := newClient(t, Options{Address: fakeClamd(t, tt.serve)})
		err := c.Probe(t.Context())
		if !errors.Is(err, tt.err) && !(tt.err == ErrTruncated && errors.Is(err, ErrUnavailable)) {
			t.Errorf("got %v, want %v", err, tt.err)
		}
	}
}

func TestVersionRefusesOtherReplies(t *testing.T) {
	for _, reply := range []string{"UNKNOWN COMMAND\x00", "", "ClamAV 1.4.6", "\x00"} {
		c := newClient(t, Options{Address: fakeClamd(t, func(conn net.Conn) {
			conn.Read(make([]byte, len(versionCommand)))
			conn.Write([]byte(reply))
		})})
		if v, err := c.Version(t.Context()); err == nil || v != "" {
			t.Errorf("%q: got %q, %v", reply, v, err)
		}
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	c := newClient(t, Options{Address: fakeClamd(t, answer("stream: X FOUND\x00")), Metrics: m})
	if err := scanErr(c); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(m.results["virus"]); n != 1 {
		t.Errorf("virus: %v", n)
	}
	problems, err := metricslint.Problems(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if _, err := newClient(t, Options{Address: "unix:/nonexistent"}).Scan(t.Context(), strings.NewReader("")); err == nil {
		t.Error("no error without metrics")
	}
}

// A client that waits 30 s for the reply to its message gets one.
func TestDefaultTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := func(context.Context, string, string) (net.Conn, error) {
			a, b := net.Pipe()
			go io.Copy(io.Discard, b)
			return a, nil
		}
		start := time.Now()
		_, err := newClient(t, Options{Address: "clamd.example:3310", Dial: hung}).Scan(t.Context(), strings.NewReader("x"))
		if d := time.Since(start); err == nil || d > 25*time.Second {
			t.Errorf("%v after %v", err, d)
		}
	})
}

// The time that the sender takes between chunks is not clamd's.
func TestSourceTimeIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(plant)
		p.state.Store(alive)
		c := newClient(t, Options{Address: "clamd.example:3310", Dial: p.dial, Timeout: 30 * time.Second})
		r, w := io.Pipe()
		go func() {
			for range 3 {
				w.Write(make([]byte, chunkBytes))
				time.Sleep(10 * time.Minute)
			}
			w.Close()
		}()
		if v, err := c.Scan(t.Context(), r); err != nil || !v.Clean {
			t.Errorf("%+v, %v", v, err)
		}
		synctest.Wait()
	})
}

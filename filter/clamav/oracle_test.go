package clamav

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	goclamd "github.com/dutchcoders/go-clamd"

	"mailweir/internal/mailtest"
)

// dutchcoders/go-clamd is the oracle: on good days both clients must say the
// same. docs/adr/0002 tells why it is not the client; TestOracleFailsOpen and
// the benchmarks below are that page's evidence.

// oracleScan uses go-clamd the way its README does.
func oracleScan(address string, r io.Reader) ([]goclamd.ScanResult, error) {
	abort := make(chan bool)
	defer close(abort) // else a goroutine stays behind for each scan
	ch, err := goclamd.NewClamd(address).ScanStream(r, abort)
	if err != nil {
		return nil, err
	}
	var results []goclamd.ScanResult
	for r := range ch {
		results = append(results, *r)
	}
	return results, nil
}

func TestAgreesWithOracle(t *testing.T) {
	for _, reply := range []string{
		"stream: OK", "stream: Eicar-Test FOUND", "stream: Win.Trojan.A-1 FOUND",
		limitReply[:len(limitReply)-1], "stream: Some trouble ERROR",
	} {
		// go-clamd sends the n form of the command and so is answered by a line.
		own := newClient(t, Options{Address: fakeClamd(t, answer(reply+"\x00"))})
		v, err := own.Scan(t.Context(), bytes.NewReader(harmless(100_000)))
		agree(t, reply, v, err, fakeClamd(t, answer(reply+"\n")), harmless(100_000))
	}
}

func TestAgreesWithOracleOnRealClamd(t *testing.T) {
	d := mailtest.StartClamd(t)
	own := newClient(t, Options{Address: "unix:" + d.Socket})
	for i, data := range [][]byte{mailtest.EICAR(), infected(), harmless(1), harmless(70_000), append(harmless(500_000), infected()...)} {
		v, err := own.Scan(t.Context(), bytes.NewReader(data))
		agree(t, fmt.Sprint("message ", i), v, err, "unix:"+d.Socket, data)
	}
}

func agree(t *testing.T, what string, v Verdict, err error, address string, data []byte) {
	t.Helper()
	results, oerr := oracleScan(address, bytes.NewReader(data))
	if oerr != nil || len(results) != 1 {
		t.Errorf("%s: oracle: %v, %v", what, results, oerr)
		return
	}
	r := results[0]
	clean, found := r.Status == goclamd.RES_OK, r.Status == goclamd.RES_FOUND
	if clean != v.Clean || found != (v.Signature != "") || (clean || found) != (err == nil) || (found && r.Description != v.Signature) {
		t.Errorf("%s: own %+v, %v; oracle %+v", what, v, err, r)
	}
}

// TestOracleFailsOpen keeps go-clamd's faults written down as facts. Were one
// mended, this test would say so, and the decision could be looked at again.
func TestOracleFailsOpen(t *testing.T) {
	t.Run("a clamd that dies gives no result and no error", func(t *testing.T) {
		results, err := oracleScan(fakeClamd(t, func(c net.Conn) { readStream(c) }), bytes.NewReader(infected()))
		if err != nil || len(results) != 0 {
			t.Errorf("%v, %v", results, err)
		}
	})
	t.Run("a failing source is scanned as far as it came, and is OK", func(t *testing.T) {
		source := io.MultiReader(bytes.NewReader(harmless(10_000)), iotest.ErrReader(errors.New("lost")))
		results, err := oracleScan(fakeClamd(t, answer("stream: OK\n")), source)
		if err != nil || len(results) != 1 || results[0].Status != goclamd.RES_OK {
			t.Errorf("%v, %v", results, err)
		}
	})
	t.Run("the reply of a stream over the limit is lost", func(t *testing.T) {
		results, err := oracleScan(fakeClamd(t, early(limitReply, func(net.Conn) {})), bytes.NewReader(harmless(8<<20)))
		if err == nil || len(results) != 0 {
			t.Errorf("%v, %v", results, err)
		}
	})
	t.Run("a hang has no deadline", func(t *testing.T) {
		released := make(chan struct{})
		ended := make(chan struct{})
		address := fakeClamd(t, func(c net.Conn) { readStream(c); <-released })
		go func() { oracleScan(address, bytes.NewReader(infected())); close(ended) }()
		select {
		case <-ended:
			t.Error("ended")
		case <-time.After(500 * time.Millisecond):
		}
		close(released)
		<-ended
	})
	t.Run("Ping panics", func(t *testing.T) {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		goclamd.NewClamd(fakeClamd(t, func(c net.Conn) { c.Read(make([]byte, 16)) })).Ping()
	})
}

// The benchmarks compare both clients, fake clamd included, which reads as the
// real one does: into a large buffer.
func BenchmarkScan(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		data := harmless(size)[:size]
		b.Run(fmt.Sprintf("own/%dKB", size>>10), func(b *testing.B) {
			c := newClient(b, Options{Address: fakeClamd(b, answerFast("stream: OK\x00"))})
			b.SetBytes(int64(size))
			b.ReportAllocs()
			defer reportCPU(b)()
			for b.Loop() {
				if v, err := c.Scan(b.Context(), bytes.NewReader(data)); err != nil || !v.Clean {
					b.Fatal(v, err)
				}
			}
		})
		b.Run(fmt.Sprintf("go-clamd/%dKB", size>>10), func(b *testing.B) {
			address := fakeClamd(b, answerFast("stream: OK\n"))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			defer reportCPU(b)()
			for b.Loop() {
				if results, err := oracleScan(address, bytes.NewReader(data)); err != nil || len(results) != 1 {
					b.Fatal(results, err)
				}
			}
		})
	}
}

// reportCPU adds the CPU time of the whole process, fake clamd included: on a
// busy machine the only number that can be compared.
func reportCPU(b *testing.B) func() {
	start := cpu()
	return func() { b.ReportMetric(float64((cpu()-start).Nanoseconds())/float64(b.N), "cpu-ns/op") }
}

func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// answerFast finds the end of the stream by the zero length alone, at no cost
// that would hide the client's: harmless data has no NUL.
func answerFast(reply string) func(net.Conn) {
	pool := sync.Pool{New: func() any { return new([256 << 10]byte) }}
	return func(c net.Conn) {
		array := pool.Get().(*[256 << 10]byte)
		defer pool.Put(array)
		buf := array[:]
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if bytes.HasSuffix(buf[:n], []byte{0, 0, 0, 0}) {
				io.WriteString(c, reply)
				return
			}
		}
	}
}

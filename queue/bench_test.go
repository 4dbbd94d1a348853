package queue

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// benchDir is on the disk that the numbers are about: set MAILWEIR_BENCH_DIR,
// /tmp may be memory.
func benchDir(b *testing.B) string {
	if d := os.Getenv("MAILWEIR_BENCH_DIR"); d != "" {
		d, err := os.MkdirTemp(d, "spool")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { os.RemoveAll(d) })
		return d
	}
	return b.TempDir()
}

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkCommit is durable messages by the number of concurrent sessions. A
// next hop takes them as they come, or space would be the benchmark.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		for _, writers := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("%dKB/%d", size>>10, writers), func(b *testing.B) { benchCommit(b, size, writers) })
		}
	}
}

// waste is a next hop without cost.
type waste struct{}

func (waste) Route(mail.Path) mail.Destination { return "waste" }
func (waste) Deliver(_ context.Context, _ mail.Destination, _ *mail.Message, rcpts []int, done func(mail.Outcome)) {
	for _, i := range rcpts {
		done(mail.Outcome{Recipient: i, Result: mail.Relayed})
	}
}

func benchCommit(b *testing.B, size, writers int) {
	q, err := Open(fsx.OS{}, benchDir(b), Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	if os.Getenv("MAILWEIR_BENCH_RELAY") != "" {
		go func() { q.Run(ctx, waste{}); close(ended) }()
	} else {
		close(ended)
	}
	data := make([]byte, size)
	copy(data, testHead)
	for i := len(testHead); i < size; i++ {
		data[i] = "abcdefg\n"[i%8]
	}
	b.SetBytes(int64(size))
	runtime.GC()
	b.ResetTimer()
	start := cpu()
	parallel(b, writers, func() {
		in, err := q.Begin(ctx, 0)
		if err != nil {
			b.Error(err)
			return
		}
		in.Write(data)
		c := in.Content()
		now := time.Now()
		m := &mail.Message{Heads: [][]byte{data[:len(testHead)]}, Body: mail.Section(c, int64(len(testHead)))}
		m.Envelope = mail.Envelope{ID: mail.NewID(now), Arrived: now, ReversePath: "a@example.com", Recipients: []mail.Recipient{{Path: "b@example.org"}}}
		if err := in.Commit(ctx, m); err != nil {
			b.Error(err)
		}
	})
	used := cpu() - start
	b.StopTimer()
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	cancel()
	<-ended
	q.Close()
}

func parallel(b *testing.B, writers int, f func()) {
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	for range writers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				f()
			}
		})
	}
	wg.Wait()
}

// BenchmarkFilePerMessage is what most queues do: one file and one fsync of it
// and of its directory for each message.
func BenchmarkFilePerMessage(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		for _, writers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%dKB/%d", size>>10, writers), func(b *testing.B) {
				dir, fsys, data := benchDir(b), fsx.OS{}, make([]byte, size)
				var n atomic.Int64
				b.SetBytes(int64(size))
				start := cpu()
				parallel(b, writers, func() {
					f, err := fsys.Open(fmt.Sprintf("%s/%d", dir, n.Add(1)), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
					if err != nil {
						b.Error(err)
						return
					}
					f.WriteAt(data, 0)
					f.Datasync()
					f.Close()
					fsys.SyncDir(dir)
				})
				b.ReportMetric(float64((cpu()-start).Microseconds())/float64(b.N), "cpu-µs/op")
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			})
		}
	}
}

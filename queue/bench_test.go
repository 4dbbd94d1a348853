package queue

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
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
			b.Run(fmt.Sprintf("%dKB/%d", size>>10, writers), func(b *testing.B) { benchCommit(b, size, writers, Options{}) })
		}
	}
}

// BenchmarkCommitSealed is the same for an encrypted spool.
func BenchmarkCommitSealed(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10} {
		for _, writers := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("%dKB/%d", size>>10, writers), func(b *testing.B) {
				benchCommit(b, size, writers, Options{Keys: testKeys})
			})
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

func benchCommit(b *testing.B, size, writers int, o Options) {
	written := &writtenFS{FS: fsx.OS{}}
	q, err := Open(written, benchDir(b), o)
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
	took := newLatencies(b.N)
	start, before := cpu(), written.log.Load()
	parallel(b, writers, func() {
		defer took.since(time.Now())
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
	took.report(b)
	b.ReportMetric(float64(written.log.Load()-before)/float64(b.N)/float64(size), "written/byte")
	cancel()
	<-ended
	q.Close()
}

// writtenFS counts what goes into the log; the zeros that a new segment is
// written ahead with are not counted, it is written again and again later.
type writtenFS struct {
	fsx.FS
	log atomic.Int64
}

func (w *writtenFS) Open(name string, flag int, perm fs.FileMode) (fsx.File, error) {
	f, err := w.FS.Open(name, flag, perm)
	if err == nil && strings.HasSuffix(name, ".log") {
		return &writtenFile{f, w}, nil
	}
	return f, err
}

type writtenFile struct {
	fsx.File
	w *writtenFS
}

func (f *writtenFile) WriteAt(p []byte, off int64) (int, error) {
	if len(p) >= 4 && le.Uint32(p) == frameMagic {
		f.w.log.Add(int64(len(p)))
	}
	return f.File.WriteAt(p, off)
}

// latencies are how long each operation took.
type latencies struct {
	next atomic.Int64
	all  []time.Duration
}

func newLatencies(n int) *latencies { return &latencies{all: make([]time.Duration, n)} }

func (l *latencies) since(start time.Time) {
	l.all[l.next.Add(1)-1] = time.Since(start)
}

func (l *latencies) report(b *testing.B) {
	slices.Sort(l.all)
	b.ReportMetric(float64(l.all[len(l.all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(l.all[len(l.all)*99/100].Microseconds()), "p99-µs")
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
		for _, writers := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("%dKB/%d", size>>10, writers), func(b *testing.B) {
				dir, fsys, data := benchDir(b), fsx.OS{}, make([]byte, size)
				var n atomic.Int64
				b.SetBytes(int64(size))
				took := newLatencies(b.N)
				start := cpu()
				parallel(b, writers, func() {
					defer took.since(time.Now())
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
				took.report(b)
			})
		}
	}
}

package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailweir/internal/fsx"
	"mailweir/internal/mailtest"
	"mailweir/mail"
)

// started is what the process that starts on a large spool reports.
type started struct {
	Messages, Digests, Segments int

	Ready   time.Duration // until Open returned
	Running time.Duration // until the first message was offered to the next hop
	Peak    int64         // resident set, bytes
	Heap    uint64        // in use at rest
}

// starter opens a spool as the gateway does, and says what that cost.
func starter(dir string) {
	debug.SetMemoryLimit(416 << 20) // as the gateway does
	begin := time.Now()
	before := heapInUse()
	q, err := Open(fsx.OS{}, dir, Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	r := started{Ready: time.Since(begin), Segments: len(q.segments)}
	q.mu.Lock()
	for _, s := range q.segments {
		if s.digested {
			r.Digests++
		}
	}
	q.mu.Unlock()
	n := newNext()
	first := make(chan struct{}, 1)
	n.reply = func(mail.Destination, *mail.Message, int) mail.Outcome {
		select {
		case first <- struct{}{}:
		default:
		}
		return unreachable()
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- q.Run(ctx, n) }()
	<-first
	r.Running = time.Since(begin)
	q.Stats()
	r.Peak = peak()
	cancel()
	<-ended
	// What messages cost at rest is what is left when nobody makes digests any
	// more: the collector does not find what is dropped while it looks.
	if err := q.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	r.Heap = heapInUse() - before
	r.Messages = len(q.entries)
	json.NewEncoder(os.Stdout).Encode(r)
	os.Exit(0)
}

// peak is the largest resident set of this process.
func peak() int64 {
	b, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := bytes.Cut(b, []byte("VmHWM:"))
	kb, _ := strconv.ParseInt(strings.Fields(string(rest) + " 0")[0], 10, 64)
	return kb << 10
}

// TestStartLarge: a gateway with 1,000,000 messages in its queue is ready 15
// seconds after its start, nothing of the spool in memory before, and has not
// used more than 512 MiB then: by digests, and without them.
func TestStartLarge(t *testing.T) {
	if testing.Short() || mailtest.RaceDetector || runtime.GOOS != "linux" {
		t.Skip("measures time and memory, on Linux")
	}
	for _, tc := range []struct {
		name      string
		body      int
		ci, large int
	}{{"small bodies", 3, 50_000, 1_000_000}, {"4 KiB bodies", 4 << 10, 10_000, 1_000_000}} {
		n, dir := sized(t, tc.ci, tc.large), t.TempDir()
		q := mustOpen(t, fsx.OS{}, dir, Options{SegmentSize: int64(sized(t, 1<<20, 64<<20))})
		fill(t, q, n, "", tc.body)
		for range digestLag + 1 { // as hours would
			q.digestAll()
		}
		mustClose(t, q)
		t.Run(tc.name, func(t *testing.T) { startLarge(t, dir, n) })
		t.Run(tc.name+", no digests", func(t *testing.T) {
			names, err := filepath.Glob(dir + "/seg/*" + digestSuffix)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				os.Remove(name)
			}
			startLarge(t, dir, n)
		})
		os.RemoveAll(dir)
	}
}

func startLarge(t *testing.T, dir string, n int) {
	cold := dropCaches()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MAILWEIR_QUEUE_START="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var r started
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages, %d MiB on the disk (cold: %v), %d of %d segments by digest: ready after %v, first attempt after %v, at most %d MiB resident, %d bytes of heap a message",
		r.Messages, diskUse(dir)>>20, cold, r.Digests, r.Segments, r.Ready, r.Running, r.Peak>>20, r.Heap/uint64(r.Messages))
	if r.Messages != n {
		t.Errorf("%d messages, want %d", r.Messages, n)
	}
	// (A small spool's share of what does not grow with it is large.)
	if per := r.Heap / uint64(r.Messages); per > 300 && n >= 1_000_000 {
		t.Errorf("%d bytes of heap a message", per)
	}
	if r.Running > 15*time.Second || r.Peak > 512<<20 {
		t.Error("more than 15 s or 512 MiB")
	}
}

// dropCaches makes later reads come from the disk, where that is allowed.
func dropCaches() bool {
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0) == nil
}

func diskUse(dir string) (n int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if info, ierr := d.Info(); err == nil && ierr == nil {
			n += info.Size()
		}
		return err
	})
	return n
}

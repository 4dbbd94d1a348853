package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/internal/fsx"
	"mailweir/internal/mailtest"
	"mailweir/mail"
)

// script is the 20-message run that is broken at each of its calls. It returns
// what was acknowledged.
func script(q *Queue) (acked []*mail.Message, bodies [][]byte, errs []error) {
	for i := range 20 {
		m := newMessage(nil, mail.Path(fmt.Sprintf("u%d@d.example", i)))
		body := bytes.Repeat([]byte(fmt.Sprintf("%d.\r\n", i)), 50+i*90)
		if err := put(q, m, body); err != nil {
			errs = append(errs, err)
			sleep(2) // after which the disk is asked again
			continue
		}
		acked = append(acked, m)
		bodies = append(bodies, append([]byte(testHead), body...))
	}
	return acked, bodies, errs
}

func scriptOptions() Options {
	return Options{SegmentSize: 24 << 10, SpillAt: 4 << 10, MinFreeBytes: 1, MinFreeInodes: 1, Metrics: modelMetrics}
}

// missing compares a spool with what was acknowledged.
func missing(fsys fsx.FS, acked []*mail.Message, bodies [][]byte) error {
	q, err := open(fsys, "/spool", scriptOptions(), true)
	if err != nil {
		return err
	}
	defer q.Close()
	for i, m := range acked {
		got, err := q.Message(m.Envelope.ID)
		if err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		content, err := contentOf(got, 0)
		if err != nil || !bytes.Equal(content, bodies[i]) {
			return fmt.Errorf("message %d: content differs, %v", i, err)
		}
	}
	return nil
}

// TestPowerCutAtEveryCall cuts the power before each call of the run, and
// looks at several disks that it may have left.
func TestPowerCutAtEveryCall(t *testing.T) {
	images := sized(t, 3, 50)
	points := 0
	for point := 1; ; point++ {
		ended := false
		synctest.Test(t, func(t *testing.T) {
			mem := fsx.NewMem()
			faulty := &fsx.Faulty{FS: mem, Decide: func(n int, op fsx.Op) error {
				if n >= point {
					return syscall.EIO // the machine is off
				}
				return nil
			}}
			q, err := open(faulty, "/spool", scriptOptions(), true)
			var acked []*mail.Message
			var bodies [][]byte
			if err == nil {
				acked, bodies, _ = script(q)
				q.Close()
			}
			ended = faulty.Calls() < point
			for k := range images {
				r := rand.New(rand.NewPCG(uint64(point), uint64(k)))
				image := mem.CrashImage(r)
				if err := missing(image, acked, bodies); err != nil {
					t.Fatalf("power cut before call %d, image %d, %d acknowledged: %v", point, k, len(acked), err)
				}
			}
		})
		if ended || t.Failed() {
			break
		}
		points++
	}
	t.Logf("%d points, %d disks each: nothing acknowledged was lost", points, images)
	if points < 100 {
		t.Errorf("only %d calls in the run", points)
	}
}

// TestFaultAtEveryCall lets one call fail, each in turn, in each way. What was
// acknowledged stays, no descriptor is used again after its sync failed, and
// the queue goes on: one failure is survived.
func TestFaultAtEveryCall(t *testing.T) {
	total, refused := 0, 0
	for _, errno := range []error{syscall.EIO, syscall.ENOSPC, fsx.ErrShort} {
		for point := 1; ; point++ {
			ended := false
			synctest.Test(t, func(t *testing.T) {
				mem := fsx.NewMem()
				faulty := &fsx.Faulty{FS: mem, Decide: func(n int, op fsx.Op) error {
					if n == point && (errno != fsx.ErrShort || op.Kind == "write") {
						return errno
					}
					return nil
				}}
				q, err := open(faulty, "/spool", scriptOptions(), true)
				if err != nil {
					return // refused to start: nothing was promised
				}
				acked, bodies, errs := script(q)
				refused += len(errs)
				// One failing call refuses what shared its batch, no more.
				if len(errs) > 1 {
					t.Errorf("%v at call %d: %d messages refused: %v", errno, point, len(errs), errs)
				}
				for _, err := range errs {
					if !errors.Is(err, ErrNotDurable) && !errors.Is(err, ErrNoSpace) {
						t.Errorf("%v at call %d: %v", errno, point, err)
					}
				}
				q.Close()
				ended = faulty.Calls() < point
				if n := faulty.SyncsAfterFailure(); n > 0 {
					t.Errorf("%v at call %d: descriptor used %d times after its sync failed", errno, point, n)
				}
				if err := missing(mem.CrashImage(rand.New(rand.NewPCG(1, uint64(point)))), acked, bodies); err != nil {
					t.Errorf("%v at call %d: %v", errno, point, err)
				}
			})
			if ended || t.Failed() {
				break
			}
			total++
		}
	}
	t.Logf("%d faults, %d messages refused, nothing acknowledged was lost", total, refused)
}

// TestSecondFailureStops: intake and delivery both.
func TestSecondFailureStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := false
		faulty := &fsx.Faulty{FS: fsx.NewMem(), Decide: func(_ int, op fsx.Op) error {
			if bad && op.Kind == "datasync" {
				return syscall.EIO
			}
			return nil
		}}
		q, err := Open(faulty, "/spool", scriptOptions())
		if err != nil {
			t.Fatal(err)
		}
		mustPut(t, q, []byte("x\r\n"), "a@d.example")
		synctest.Wait()
		bad = true
		if err := put(q, newMessage(nil, "b@d.example"), []byte("y\r\n")); !errors.Is(err, ErrNotDurable) {
			t.Errorf("Commit: %v", err)
		}
		synctest.Wait()
		if _, err := q.Begin(context.Background(), 0); !errors.Is(err, ErrPoisoned) {
			t.Errorf("Begin: %v", err)
		}
		if err := q.Health(); !errors.Is(err, ErrPoisoned) {
			t.Errorf("Health: %v", err)
		}
		n := newNext()
		if err := q.Run(context.Background(), n); !errors.Is(err, ErrPoisoned) {
			t.Errorf("Run: %v", err)
		}
		if n.relayed() != 0 {
			t.Error("relayed what cannot be recorded")
		}
		q.Close()
	})
}

// TestNoSpace: MAIL is refused before the disk is full, and accepted again
// within five seconds after there is room.
func TestNoSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := fsx.NewMem()
		o := scriptOptions()
		o.MinFreeBytes, o.MinFreeInodes = 1<<20, 100
		q, err := Open(mem, "/spool", o)
		if err != nil {
			t.Fatal(err)
		}
		begin := func(hint int64) error {
			in, err := q.Begin(context.Background(), hint)
			if err == nil {
				in.Abort()
			}
			return err
		}
		for _, c := range []struct {
			space fsx.Space
			hint  int64
			ok    bool
		}{
			{fsx.Space{Bytes: 10 << 20, Inodes: 1000}, 0, true},
			{fsx.Space{Bytes: 10 << 20, Inodes: 1000}, 9<<20 + 1, false},
			{fsx.Space{Bytes: 1<<20 - 1, Inodes: 1000}, 0, false},
			{fsx.Space{Bytes: 10 << 20, Inodes: 99}, 0, false},
			{fsx.Space{Bytes: 10 << 20, Inodes: -1}, 0, true},
		} {
			mem.SetFree(c.space)
			sleep(5)
			if err := begin(c.hint); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrNoSpace) {
				t.Errorf("%+v, %d declared: %v", c.space, c.hint, err)
			}
		}
		mem.SetFree(fsx.Space{Bytes: 10 << 20, Inodes: 1000})
		sleep(5)
		in, err := q.Begin(context.Background(), 5<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := begin(5 << 20); !errors.Is(err, ErrNoSpace) {
			t.Errorf("what is on its way does not count: %v", err)
		}
		in.Abort()
		if err := begin(5 << 20); err != nil {
			t.Errorf("after the abort: %v", err)
		}
		q.Close()
	})
}

// TestSegmentsFit: what is written ahead does not fill a small disk.
func TestSegmentsFit(t *testing.T) {
	mem := fsx.NewMem()
	q := mustOpen(t, mem, "/spool", Options{})
	defer mustClose(t, q)
	for _, c := range []struct{ free, size, want int64 }{
		{1 << 40, 64 << 20, 64 << 20},
		{512 << 20, 64 << 20, 64 << 20},
		{511 << 20, 64 << 20, 16 << 20},
		{100 << 20, 64 << 20, 4 << 20},
		{4 << 20, 64 << 20, 4 << 20},
		{4<<20 - 1, 64 << 20, 0},
		{24 << 10, 24 << 10, 24 << 10},
		{0, 24 << 10, 0},
	} {
		mem.SetFree(fsx.Space{Bytes: c.free, Inodes: 1000})
		if got, err := q.fitting(c.size); got != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("%d free: %d for %d, want %d (%v)", c.free, got, c.size, c.want, err)
		}
	}
}

// TestByteFlips rots one byte of a spool of 200 messages. No panic, no wrong
// body, and what is lost is counted, exactly; where it was the key of all of
// them the spool does not open, and nothing in it is touched.
func TestByteFlips(t *testing.T) {
	t.Run("clear", func(t *testing.T) { byteFlips(t, nil) })
	t.Run("sealed", func(t *testing.T) { byteFlips(t, testKeys) })
}

func byteFlips(t *testing.T, keys []Key) {
	mem := fsx.NewMem()
	o := Options{SegmentSize: 256 << 10, SpillAt: 1 << 20, MinFreeBytes: 1, MinFreeInodes: 1, Metrics: modelMetrics, Keys: keys}
	want := map[mail.ID][]byte{}
	q, err := open(mem, "/spool", o, true)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		m := newMessage(nil, "a@d.example")
		body := bytes.Repeat([]byte{byte('a' + i%26)}, 100+i*5)
		if err := put(q, m, body); err != nil {
			t.Fatal(err)
		}
		want[m.Envelope.ID] = append([]byte(testHead), body...)
	}
	q.flush()
	q.Close()
	type file struct {
		name string
		size int64
	}
	var files []file
	for _, dir := range []string{"/spool/seg/", "/spool/keys/"} {
		list, _ := mem.ReadDir(dir)
		for _, info := range list {
			files = append(files, file{dir + info.Name, info.Size})
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	flips := sized(t, 10_000, 100_000) / 2
	if mailtest.RaceDetector {
		flips /= 25
	}
	type flip struct {
		n    int
		name string
		off  int64
		mask byte
	}
	work := make(chan flip)
	var lost, refused atomic.Int64
	var wg sync.WaitGroup
	for range runtime.NumCPU() {
		wg.Go(func() {
			for f := range work {
				image := mem.Clone()
				image.Flip(f.name, f.off, f.mask)
				what := fmt.Sprintf("flip %d: %s at %d, %#x", f.n, f.name, f.off, f.mask)
				if strings.HasSuffix(f.name, keySuffix) {
					flippedKey(t, image, o, what)
					refused.Add(1)
					continue
				}
				lost.Add(int64(flipped(t, image, o, want, what)))
			}
		})
	}
	ends := lastFrames(t, mem)
	for name, off := range ends { // which look like unused space when they are broken
		for k := range int64(frameHeaderSize) {
			work <- flip{-1, name, off + k, 1 << r.IntN(8)}
		}
	}
	if len(ends) == 0 {
		t.Error("no segment is full")
	}
	for n := 0; n < flips && !t.Failed(); n++ {
		f := files[r.IntN(len(files))]
		work <- flip{n, f.name, r.Int64N(f.size), 1 << r.IntN(8)}
		if n%10_000 == 9_999 {
			t.Logf("%d of %d flips", n+1, flips)
		}
	}
	close(work)
	wg.Wait()
	t.Logf("%d flips: %d messages lost, all of them counted, none wrong; %d of a key, refused", flips, lost.Load(), refused.Load())
	if lost.Load() == 0 || refused.Load() == 0 && keys != nil {
		t.Error("no flip hit anything")
	}
}

func flipped(t *testing.T, image *fsx.Mem, o Options, want map[mail.ID][]byte, what string) int {
	q := newQueue(image, "/spool", func() Options { o.setDefaults(); return o }(), true)
	var found *findings
	err := q.keys.read()
	if err == nil {
		found, err = q.readLog(os.O_RDWR)
	}
	if err == nil {
		err = q.missed(found.damaged > 0)
	}
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, e := range q.entries {
		s, err := q.load(e)
		if err != nil {
			t.Errorf("%s: message %s: %v", what, id, err)
			continue
		}
		content, _ := contentOf(q.message(e, s), 0)
		if !bytes.Equal(content, want[id]) {
			t.Errorf("%s: message %s has a wrong body", what, id)
		}
	}
	if len(q.entries)+found.damaged != len(want) {
		t.Errorf("%s: %d messages and %d damaged records, of %d (%d torn)", what, len(q.entries), found.damaged, len(want), found.torn)
	}
	return found.damaged
}

// lastFrames are where the last frame of each segment starts that ends with the
// segment.
func lastFrames(t *testing.T, mem *fsx.Mem) map[string]int64 {
	t.Helper()
	ends := map[string]int64{}
	list, err := mem.ReadDir("/spool/seg")
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range list {
		name := "/spool/seg/" + info.Name
		b, err := readWhole(mem, name, int(info.Size))
		if err != nil {
			t.Fatal(err)
		}
		number, _ := segmentNumber(info.Name)
		sc := scan(b, number)
		if sc.end == info.Size {
			ends[name] = sc.frames[len(sc.frames)-1].off
		}
	}
	return ends
}

func flippedKey(t *testing.T, image *fsx.Mem, o Options, what string) {
	disk := &fsx.Faulty{FS: image, Decide: func(_ int, op fsx.Op) error {
		if op.Kind != "mkdir" { // of what is there
			t.Errorf("%s: the spool was touched: %+v", what, op)
		}
		return nil
	}}
	q, err := open(disk, "/spool", o, true)
	if !errors.Is(err, ErrKey) {
		t.Errorf("%s: %v", what, err)
	}
	if err == nil {
		q.Close()
	}
}

func crc(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// TestSlowDisk: a client is not kept waiting for a disk that takes three
// minutes; what it takes in the end is relayed all the same.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		fs := &fsx.Faulty{FS: fsx.NewMem(), Decide: func(_ int, op fsx.Op) error {
			if op.Kind == "datasync" && slow.CompareAndSwap(true, false) {
				time.Sleep(3 * time.Minute)
			}
			return nil
		}}
		q, err := Open(fs, "/spool", Options{SegmentSize: 64 << 10, MinFreeBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, q)
		synctest.Wait() // the next segment is there, or waits for a commit
		slow.Store(true)
		begin := time.Now()
		m := newMessage(nil, "a@d.example")
		if err := put(q, m, []byte("x\r\n")); err != ErrSlow || time.Since(begin) != commitTimeout {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		time.Sleep(2 * time.Minute)
		if _, ok := q.Get(m.Envelope.ID); !ok {
			t.Error("the message is not in the queue when the disk has taken it")
		}
		mustPut(t, q, []byte("y\r\n"), "a@d.example") // the timer is good for the next one
	})
}

package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const minFree = 32 << 20

// TestDiskFull: MAIL is refused with 452 4.3.1 while there still is space,
// what is in the queue is relayed even with not a byte left, and MAIL is
// accepted again within five seconds after space has returned.
func TestDiskFull(t *testing.T) {
	needs(t, "root")
	for _, name := range []string{"clear", "sealed"} {
		t.Run(name, func(t *testing.T) { diskFull(t, name == "sealed", sized(2, 50)/2) })
	}
}

func diskFull(t *testing.T, sealed bool, cycles int) {
	dir := smallDisk(t, "size=160m")
	w := newWorld(t, "", sealed, filepath.Join(dir, "data"), "32MiB")
	w.mustStart()
	slowest := time.Duration(0)
	lowest := int64(1 << 40)
	for range max(cycles, 1) {
		w.hop.busy.Store(true)
		lowest = min(lowest, w.fill(dir))
		stuff(t, filepath.Join(dir, "stuffing"))
		w.hop.busy.Store(false)
		w.relayAll(dir)
		w.refused(dir)
		slowest = max(slowest, w.resume(filepath.Join(dir, "stuffing")))
	}
	w.stop()
	faults := w.book.faults()
	for _, f := range faults {
		t.Error(f)
	}
	t.Logf("%d times full: %d acknowledged, %d lost; MAIL refused with at least %d KiB free (limit %d); accepted again after at most %v",
		max(cycles, 1), w.book.count(), len(faults), lowest>>10, minFree>>10, slowest.Round(time.Millisecond))
}

func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := scratch(t)
	run(t, "mount", "-t", "tmpfs", "-o", options, "torture", dir)
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill sends mail until every session is refused at MAIL, and returns how much
// space was free then.
func (w *world) fill(dir string) int64 {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	before := w.book.refusals("452 4.3.1")
	go func() {
		defer cancel()
		for ctx.Err() == nil && w.book.refusals("452 4.3.1") < before+50 {
			time.Sleep(5 * time.Millisecond)
		}
	}()
	(&load{w.book, w.listen, 4, func(r *rand.Rand) int { return 20<<10 + r.IntN(400<<10) }}).run(ctx)
	if w.book.refusals("452 4.3.1") < before+50 {
		w.t.Fatalf("the disk does not fill: %v", w.book.refuse)
	}
	if other := w.book.refusals("4") + w.book.refusals("5") - w.book.refusals("452 4.3.1"); other > 0 {
		w.t.Errorf("other refusals before the disk was full: %v", w.book.refuse)
	}
	free := freeBytes(w.t, dir)
	if free < minFree/2 {
		w.t.Errorf("MAIL was refused with %d KiB free, that is too late", free>>10)
	}
	return free
}

func freeBytes(t testing.TB, dir string) int64 {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}

// stuff takes what is left, to the last byte.
func stuff(t testing.TB, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// relayAll waits until the queue is empty, and keeps the disk full meanwhile:
// what the queue frees is taken by others.
func (w *world) relayAll(dir string) {
	w.t.Helper()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		stuff(w.t, filepath.Join(dir, "stuffing"))
		w.hop.enter()
		missing := len(w.book.missing())
		if missing == 0 {
			return
		}
		if time.Since(begin) > 2*patience {
			w.t.Fatalf("%d messages are not relayed while the disk is full", missing)
		}
	}
}

// refused waits until MAIL is refused. The queue may still give segments back
// after the last message was relayed, and then rightly accepts: so what it
// frees is taken from it before each MAIL.
func (w *world) refused(dir string) {
	w.t.Helper()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		stuff(w.t, filepath.Join(dir, "stuffing"))
		reply := w.mail()
		if strings.HasPrefix(reply, "452 4.3.1 ") {
			return
		}
		if time.Since(begin) > patience {
			w.t.Fatalf("MAIL on a full disk: %q", reply)
		}
	}
}

// mail is the reply to MAIL.
func (w *world) mail() string {
	c, err := dial(w.listen)
	if err != nil {
		return err.Error()
	}
	defer c.nc.Close()
	reply, err := c.command("MAIL FROM:<a@client.test>\r\n")
	if err != nil {
		return err.Error()
	}
	return reply
}

// resume frees the space and returns how long intake took to notice.
func (w *world) resume(stuffing string) time.Duration {
	w.t.Helper()
	if err := os.RemoveAll(stuffing); err != nil {
		w.t.Fatal(err)
	}
	begin := time.Now()
	for reply := ""; !strings.HasPrefix(reply, "250"); time.Sleep(10 * time.Millisecond) {
		if reply = w.mail(); time.Since(begin) > 5*time.Second {
			w.t.Fatalf("5 s after space has returned: %s", reply)
		}
	}
	return time.Since(begin)
}

// TestInodesRunOut: the same for a file system that has space and no names.
func TestInodesRunOut(t *testing.T) {
	needs(t, "root")
	dir := smallDisk(t, "size=160m,nr_inodes=200")
	w := newWorld(t, "", true, filepath.Join(dir, "data"), "16MiB")
	w.mustStart()
	if reply := w.mail(); !strings.HasPrefix(reply, "250") {
		t.Fatalf("MAIL: %s", reply)
	}
	many := filepath.Join(dir, "many")
	if err := os.Mkdir(many, 0o700); err != nil {
		t.Fatal(err)
	}
	for k := 0; ; k++ {
		if err := os.WriteFile(fmt.Sprintf("%s/%d", many, k), nil, 0o600); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(1100 * time.Millisecond) // it looks once a second
	if reply := w.mail(); !strings.HasPrefix(reply, "452 4.3.1 ") {
		t.Errorf("MAIL without inodes: %q", reply)
	}
	t.Logf("accepted again after %v", w.resume(many).Round(time.Millisecond))
}

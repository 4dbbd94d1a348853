package torture

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailweir/internal/mailtest"
)

// TestPowerCut cuts the power of the spool's disk under load: the file system
// is shut down, which drops what it has not committed, and mounted again.
func TestPowerCut(t *testing.T) {
	needs(t, "root", "xfs_io", "losetup")
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			needs(t, "mkfs."+kind)
			for _, f := range powerCut(t, "", kind, sized(20, 500), ordinary, hardest) {
				t.Error(f)
			}
		})
	}
}

func powerCut(t *testing.T, mutant, kind string, cycles int, mail ...traffic) (faults []string) {
	acked, cuts, again, worlds, turned, life := 0, 0, 0, 0, 0, spoolLife(cycles)
	for all := cycles; cycles > 0 && len(faults) == 0; t.Logf("%d of %d power cuts of %s, %d acknowledged", cuts, all, kind, acked) {
		n := min(cycles, life)
		cycles -= n
		d := newDisk(t, kind)
		w := newWorld(t, mutant, sealedNext(mutant, worlds), filepath.Join(d.mount, "data"), "16MiB")
		worlds++
		for range n {
			d.attach()
			w.cycle(d, mail[cuts%len(mail)])
			w.book.crashed()
			cuts++
		}
		d.attach()
		w.drain()
		again = max(again, w.book.repeated())
		faults = append(faults, w.speaks()...)
		turned += w.turned
		d.detach()
		acked += w.book.count()
		faults = append(faults, w.book.faults()...)
	}
	t.Logf("%d power cuts of %s: %d acknowledged, %d lost or altered; at most %d relayed again after one; every second spool encrypted, %d changes of keys survived", cuts, kind, acked, len(faults), again, turned)
	if again > bound {
		t.Errorf("%d relayed again after one power cut, the bound is %d", again, bound)
	}
	if acked < cuts*20 && len(faults) == 0 && !mailtest.RaceDetector {
		t.Errorf("only %d messages: the harness does not press", acked)
	}
	return faults
}

// traffic brings mail and calls cut in the middle of it.
type traffic func(w *world, cut func())

// ordinary traffic is of several clients at once. Every other time the next
// hop is away, and all that was acknowledged has to be kept.
func ordinary(w *world, cut func()) {
	if rand.IntN(2) == 0 {
		w.hop.down()
	}
	w.mustStart()
	w.load(time.Duration(100+rand.IntN(400))*time.Millisecond, 8, func(r *rand.Rand) int {
		if r.IntN(8) == 0 {
			return 300 << 10
		}
		return 500 + r.IntN(8000)
	}, cut)
}

// hardest is a client alone, whose last message is not followed by any sync
// that would make it durable by chance, and which has a file of its own: names
// are what a disk forgets most easily.
func hardest(w *world, cut func()) {
	w.hop.down()
	w.mustStart()
	defer cut()
	c, err := dial(w.listen)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.nc.Close()
	for k := range 20 + rand.IntN(4) {
		size := 3000
		if k >= 20 {
			size = 300 << 10
		}
		if ok, err := c.send(w.book, size); !ok || err != nil {
			w.t.Fatalf("not accepted: %v %v", w.book.refuse, err)
		}
	}
}

// cycle is load, power cut, and the end of the machine.
func (w *world) cycle(d *disk, mail traffic) {
	mail(w, func() {
		d.cut()
		w.kill()
	})
	d.detach()
	w.hop.down()
	w.hop.up()
}

// disk is a file system in a file.
type disk struct {
	t         testing.TB
	kind      string
	image     string
	mount     string
	isMounted bool
}

func newDisk(t testing.TB, kind string) *disk {
	t.Helper()
	kernelHas(t, kind)
	dir := scratch(t)
	d := &disk{t: t, kind: kind, image: filepath.Join(dir, "image"), mount: filepath.Join(dir, "disk")}
	if err := os.Mkdir(d.mount, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, 1<<30); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs."+kind, "-q", d.image)
	t.Cleanup(d.detach)
	return d
}

// kernelHas skips the test where the kernel cannot do it at all, which no
// requirement of ours can change.
func kernelHas(t testing.TB, kind string) {
	t.Helper()
	exec.Command("modprobe", "-q", "-a", "loop", kind).Run() // built in, or not at all, is known below
	list, err := os.ReadFile("/proc/filesystems")
	if err != nil || !bytes.Contains(list, []byte("\t"+kind+"\n")) {
		t.Skipf("skipped: this kernel has no %s", kind)
	}
	if out, err := exec.Command("losetup", "--find").CombinedOutput(); err != nil {
		t.Skipf("skipped: this kernel has no loop device: %s", out)
	}
}

func (d *disk) attach() {
	d.t.Helper()
	run(d.t, "mount", "-o", "loop", "-t", d.kind, d.image, d.mount)
	d.isMounted = true
}

// cut is the power cut. Nothing that is not on the disk gets there any more.
func (d *disk) cut() {
	d.t.Helper()
	run(d.t, "xfs_io", "-x", "-c", "shutdown", d.mount)
}

func (d *disk) detach() {
	if !d.isMounted {
		return
	}
	d.isMounted = false
	for range 200 {
		err := syscall.Unmount(d.mount, 0)
		if err == nil {
			return
		}
		if !errors.Is(err, syscall.EBUSY) {
			d.t.Errorf("umount: %v", err)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	users, _ := exec.Command("fuser", "-vm", d.mount).CombinedOutput()
	d.t.Errorf("umount: the disk stays busy\n%s", strings.TrimSpace(string(users)))
	syscall.Unmount(d.mount, syscall.MNT_DETACH)
}

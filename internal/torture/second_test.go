package torture

import (
	"strings"
	"testing"
	"time"
)

// TestSecondFailure lets every sync fail from a moment on. The first failure
// refuses its batch, the second one stops intake and delivery: what cannot be
// recorded must not be sent. What was acknowledged before is there after a
// restart on a disk that works again.
func TestSecondFailure(t *testing.T) {
	needs(t, "root", "strace")
	for _, name := range []string{"clear", "sealed"} {
		t.Run(name, func(t *testing.T) { secondFailure(t, name == "sealed") })
	}
}

func secondFailure(t *testing.T, sealed bool) {
	dir := smallDisk(t, "size=256m")
	w := newWorld(t, "", sealed, dir+"/data", "16MiB")
	w.traced = true
	w.mustStart()
	w.hop.busy.Store(true) // deferred: it waits in the queue
	c, err := dial(w.listen)
	if err != nil {
		t.Fatal(err)
	}
	defer c.nc.Close()
	for range 10 {
		if ok, err := c.send(w.book, 3000); !ok || err != nil {
			t.Fatalf("%v %v", ok, err)
		}
	}
	tracerEnds := attach(t, []string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=1+"}, w.cmd.Process.Pid)
	acked := w.book.count()
	for range 2 {
		if ok, err := c.send(w.book, 3000); ok || err != nil {
			t.Errorf("acknowledged without a sync: %v %v", ok, err)
		}
		time.Sleep(100 * time.Millisecond) // what happens then happens after the reply
	}
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if reply := w.mail(); strings.HasPrefix(reply, "4") {
			break
		} else if time.Since(begin) > patience {
			t.Fatalf("MAIL after the second failure: %q", reply)
		}
	}
	w.hop.busy.Store(false)
	time.Sleep(4 * time.Second) // longer than retry_max
	if w.hop.enter(); len(w.book.missing()) != acked {
		t.Errorf("%d of %d messages were sent, and cannot be recorded", acked-len(w.book.missing()), acked)
	}
	w.kill()
	tracerEnds()
	w.traced = false
	w.drain()
	for _, f := range w.book.faults() {
		t.Error(f)
	}
	t.Logf("%d acknowledged before, none after; refused: %v; none sent while stopped, all after the restart", acked, w.book.refuse)
}

package torture

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"
)

// TestFileSizeLimit runs the gateway under a limit on the size of files (ulimit
// -f, LimitFSIZE of systemd): no segment of full size can be made, and no file
// for the largest messages. What does not fit is refused with 4yz, the process
// lives, what was acknowledged is there after a restart without the limit.
func TestFileSizeLimit(t *testing.T) {
	needs(t, "prlimit")
	for _, name := range []string{"clear", "sealed"} {
		t.Run(name, func(t *testing.T) { fileSizeLimit(t, name == "sealed") })
	}
}

func fileSizeLimit(t *testing.T, sealed bool) {
	w := newWorld(t, "", sealed, filepath.Join(scratch(t), "data"), "16MiB")
	w.hop.busy.Store(true) // deferred: it waits in the queue
	if !w.start("prlimit", "--fsize=12582912") {
		t.Fatalf("the gateway does not start\n%s", w.tail())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	go func() {
		defer cancel()
		for ctx.Err() == nil && w.book.refusals("4") < 50 {
			time.Sleep(5 * time.Millisecond)
		}
	}()
	(&load{w.book, w.listen, 4, func(r *rand.Rand) int {
		if r.IntN(20) == 0 {
			return 13 << 20 // more than a file can hold
		}
		return 20<<10 + r.IntN(400<<10)
	}}).run(ctx)
	if w.book.refusals("4") < 50 || w.book.refusals("5") > 0 {
		t.Errorf("refused: %v", w.book.refuse)
	}
	select {
	case <-w.ended:
		t.Errorf("the gateway has ended\n%s", w.tail())
	default:
	}
	w.hop.busy.Store(false)
	w.kill()
	w.drain()
	for _, f := range w.book.faults() {
		t.Error(f)
	}
	t.Logf("%d acknowledged, 0 lost; refused: %v", w.book.count(), w.book.refuse)
}

package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// bound is how many messages may be relayed again after one crash: the
// attempts in flight (20 to one destination), and the outcomes in the batch
// that is being synced and in the one that is being filled (128 each).
const bound = 20 + 2*128

// fresh is how many crashes one spool lives through at most.
const fresh = 25

// spoolLife is how many crashes one spool lives through when there are so many:
// there is one that is encrypted, and one that is not.
func spoolLife(cycles int) int { return min(fresh, (cycles+1)/2) }

// sealedNext: every second spool is encrypted. Gateways that are broken on
// purpose have to be found in either.
func sealedNext(mutant string, spools int) bool {
	if mutant != "" {
		return rand.IntN(2) == 0
	}
	return spools%2 == 1
}

// TestKill9 kills the gateway at full speed, many times over, on one spool.
func TestKill9(t *testing.T) {
	needs(t, "root")
	for _, f := range killed(t, "", sized(50, 1000)) {
		t.Error(f)
	}
}

func killed(t *testing.T, mutant string, cycles int) (faults []string) {
	var loaded time.Duration
	worst, kills, acked, suspects, worlds, turned := 0, 0, 0, 0, 0, 0
	for kills < cycles && len(faults) == 0 {
		w := newWorld(t, mutant, sealedNext(mutant, worlds), scratch(t)+"/data", "16MiB")
		worlds++
		for range min(cycles-kills, spoolLife(cycles)) {
			w.mustStart()
			begin := time.Now()
			w.load(time.Duration(100+rand.IntN(500))*time.Millisecond, 16, mixed, w.kill)
			loaded += time.Since(begin)
			w.hop.down()
			w.hop.up()
			w.book.crashed()
			kills++
		}
		suspects += w.drain()
		worst = max(worst, w.book.repeated())
		acked += w.book.count()
		faults = append(w.book.faults(), w.speaks()...)
		turned += w.turned
		os.RemoveAll(w.data)
		t.Logf("%d of %d kills, %d acknowledged", kills, cycles, acked)
	}
	rate := float64(acked) / loaded.Seconds()
	t.Logf("%d kills at %.0f messages/s: %d acknowledged, %d lost or altered; at most %d relayed again after one kill (bound %d); %d were on hold as suspects; every second spool encrypted, %d changes of keys survived",
		kills, rate, acked, len(faults), worst, bound, suspects, turned)
	if worst > bound {
		faults = append(faults, fmt.Sprintf("%d relayed again after one kill, the bound is %d", worst, bound))
	}
	if floor := pressing(); mutant == "" && rate < floor {
		t.Errorf("%.0f messages/s: the harness does not press (%.0f)", rate, floor)
	}
	return faults
}

// load sends mail for a while, then calls end while it still comes.
func (w *world) load(d time.Duration, sessions int, sizes func(*rand.Rand) int, end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		(&load{w.book, w.listen, sessions, sizes}).run(ctx)
	}()
	turned := w.turnKeys()
	time.Sleep(d)
	end()
	cancel()
	<-done
	turned()
}

// drain starts the gateway a last time and lets it relay everything. What it
// put on hold because it was in flight at crashes is released; their number is
// returned.
func (w *world) drain() (released int) {
	w.t.Helper()
	w.hop.up()
	w.mustStart()
	begin := time.Now()
	idle := begin // since when nothing came
	for last := -1; time.Since(idle) < patience; time.Sleep(20 * time.Millisecond) {
		w.hop.enter()
		missing := w.book.missing()
		if len(missing) == 0 {
			break
		}
		if len(missing) != last {
			last, idle = len(missing), time.Now()
		}
		if time.Since(idle) > time.Second {
			if n, queued := w.release(); n > 0 {
				released += n
				idle = time.Now()
			} else if queued == 0 {
				break // lost
			}
		}
	}
	w.stop()
	w.hop.enter()
	return released
}

// release frees suspects. It returns their number, and how many messages wait
// for something that passes.
func (w *world) release() (released, queued int) {
	var ids []string
	for line := range strings.Lines(string(w.queue("list", "--json"))) {
		var item struct{ ID, State, Reason string }
		if err := json.Unmarshal([]byte(line), &item); err != nil {
			w.t.Fatalf("%v: %s", err, line)
		}
		switch {
		case item.State != "held":
			queued++
		case item.Reason == "crash":
			ids = append(ids, item.ID)
		}
	}
	if len(ids) > 0 {
		w.queue(append([]string{"release"}, ids...)...)
	}
	return len(ids), queued
}

// pressing is how many messages a second there must be at least: what is
// promised, less on a machine that does other things at the same time.
func pressing() float64 {
	if *torture {
		return 500
	}
	return 100
}

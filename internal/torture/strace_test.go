package torture

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mailweir/internal/mailtest"
)

// durable are the calls that the spool is made of.
var durable = []string{"write", "pwrite64", "pwritev", "fdatasync", "fsync", "rename", "renameat", "unlink", "unlinkat", "fallocate", "openat"}

// point is one fault: the N-th call of that name, counted from the start, or
// from after some messages. strace counts for each thread by itself, so only
// from near by a place is reached for certain.
type point struct {
	name   string
	n      int
	effect string // "signal=KILL", "error=EIO"
	after  int    // messages; fromStart
	sealed bool   // the spool is encrypted
}

const fromStart = -1

func (p point) String() string {
	text := p.inject()
	if p.sealed {
		text += ",sealed"
	}
	if p.after == fromStart {
		return text
	}
	return fmt.Sprintf("%s,after=%d", text, p.after)
}

func (p point) inject() string { return fmt.Sprintf("inject=%s:%s:when=%d", p.name, p.effect, p.n) }

// traced makes the run of twenty messages in a fresh spool, with a fault.
type traced struct {
	w     *world
	calls []*call
	alive bool // the gateway came to its orderly end
}

// messagesInRun fill a segment and a half, and have files of their own now and
// then, so that every kind of call is among those that are hit.
const messagesInRun = 20

func runTraced(t testing.TB, mutant string, sealed bool, p *point) *traced {
	t.Helper()
	dir := scratch(t)
	// In memory: what is tested is the order of the calls. The disk is tested
	// by power cuts.
	run(t, "mount", "-t", "tmpfs", "-o", "size=256m", "torture", dir)
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	r := &traced{w: newWorld(t, mutant, sealed, filepath.Join(dir, "data"), "16MiB")}
	log := filepath.Join(dir, "strace")
	args := []string{"strace", "-f", "-y", "-qq", "-s", "40", "-e", "signal=none", "-o", log,
		"-e", "trace=close," + strings.Join(durable, ",")}
	if p != nil {
		args = append(args, "-e", p.inject())
	}
	r.w.traced = true
	tracerEnds := func() {}
	if p != nil && p.after != fromStart {
		r.w.mustStart()
		r.send(p.after, func() { tracerEnds = attach(t, args, r.w.cmd.Process.Pid) })
	} else if r.w.start(args...) {
		r.send(0, func() {})
	}
	select {
	case <-r.w.ended:
	default:
		r.alive = true
		r.w.stop()
	}
	r.w.kill()
	tracerEnds()
	r.read(log)
	return r
}

func (r *traced) read(log string) {
	r.w.t.Helper()
	f, err := os.Open(log)
	if err != nil {
		r.w.t.Fatal(err)
	}
	defer f.Close()
	if r.calls, err = readTrace(f); err != nil {
		r.w.t.Fatal(err)
	}
}

// attach lets a tracer look at a running gateway. The returned function waits
// for the tracer, which ends with the gateway.
func attach(t testing.TB, args []string, pid int) (wait func()) {
	t.Helper()
	tracer := exec.Command(args[0], append(args[1:len(args):len(args)], "-p", strconv.Itoa(pid))...)
	tracer.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); !allTraced(pid); time.Sleep(2 * time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("strace does not attach")
		}
	}
	return func() { tracer.Wait() }
}

// allTraced looks at every thread.
func allTraced(pid int) bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && strings.Contains(string(text), "\nTracerPid:\t0\n") {
			return false
		}
	}
	return true
}

// send sends the messages one after the other, and gives the relay a moment.
// then is called after so many of them.
func (r *traced) send(after int, then func()) {
	c, err := dial(r.w.listen)
	if err != nil {
		then()
		return
	}
	defer c.nc.Close()
	for k := range messagesInRun {
		if k == after {
			then()
		}
		size := 240 << 10
		if k%5 == 0 {
			size = 300 << 10
		}
		if _, err := c.send(r.w.book, size); err != nil {
			return
		}
	}
	for begin := time.Now(); time.Since(begin) < time.Second; time.Sleep(5 * time.Millisecond) {
		if r.w.hop.enter(); len(r.w.book.missing()) == 0 {
			return
		}
	}
}

// verify starts the gateway again and compares.
func (r *traced) verify() []string {
	r.w.drain()
	return append(r.w.book.faults(), r.w.speaks()...)
}

// dryRuns are the calls of a run without a fault, of a spool in clear and of an
// encrypted one, which makes some more.
func dryRuns(t testing.TB, mutant string) (runs [2][]*call) {
	for k := range runs {
		runs[k] = runTraced(t, mutant, k == 1, nil).calls
	}
	return runs
}

// points are all numbers of the given calls that a thread of a run without a
// fault comes to, from the start, with encryption and without; and the first few
// from after every fourth message, with and without it in turn; in the long form
// from after each, with both.
func points(dry [2][]*call, names []string, effects ...string) (list []point) {
	for k, calls := range dry {
		list = append(list, pointsOf(calls, k == 1, names, effects)...)
	}
	return list
}

func pointsOf(calls []*call, sealed bool, names, effects []string) (list []point) {
	few, step := 2, 8
	if *torture {
		few, step = 6, 1
	}
	perThread := map[string]int{}
	most := map[string]int{}
	for _, c := range calls {
		key := c.thread + c.name
		perThread[key]++
		most[c.name] = max(most[c.name], perThread[key])
	}
	for _, name := range names {
		for after := fromStart; after < messagesInRun; after += step {
			if after == fromStart+step && sealed {
				after += step / 2
			}
			for n := range most[name] {
				if after != fromStart && n >= few {
					break
				}
				for _, e := range effects {
					list = append(list, point{name, n + 1, e, after, sealed})
				}
			}
		}
	}
	return list
}

// soFar is after how many runs a long test says how far it is.
const soFar = 100

// all is every point, for sample.
const all = 0

// passes is how often all points are run: no two runs spread over the threads
// alike.
func passes() int { return sized(1, 10) }

// sample is n of list: each call gets its turn, at a place of its list by
// chance.
func sample(list []point, n int) (picked []point) {
	byName := map[string][]point{}
	for _, k := range rand.Perm(len(list)) {
		byName[list[k].name] = append(byName[list[k].name], list[k])
	}
	for len(picked) < min(n, len(list)) {
		for _, name := range durable {
			if l := byName[name]; len(l) > 0 && len(picked) < n {
				picked, byName[name] = append(picked, l[0]), l[1:]
			}
		}
	}
	return picked
}

// TestKillAtCalls kills the gateway at system calls of a run of 20 messages.
func TestKillAtCalls(t *testing.T) {
	needs(t, "root", "strace")
	for _, f := range killedAtCalls(t, "", durable, all) {
		t.Error(f)
	}
}

func killedAtCalls(t *testing.T, mutant string, names []string, n int) (faults []string) {
	dry := dryRuns(t, mutant)
	var mu sync.Mutex
	hit, acked, runs := map[string]int{}, 0, 0
	places := map[point]bool{}
	one := func(t *testing.T, p point) (reached bool) {
		r := runTraced(t, mutant, p.sealed, &p)
		found := r.verify()
		mu.Lock()
		defer mu.Unlock()
		runs++
		if !r.alive {
			hit[p.name]++
			places[p] = true
		}
		for _, f := range found {
			faults = append(faults, p.String()+": "+f)
		}
		acked += r.w.book.count()
		if runs%soFar == 0 {
			t.Logf("so far %d runs, killed at %d different points; %d acknowledged, %d lost or altered", runs, len(places), acked, len(faults))
		}
		if n := r.w.book.repeated(); n > bound {
			t.Errorf("%d relayed again", n)
		}
		return !r.alive
	}
	if list := points(dry, names, "signal=KILL"); n == all {
		eachPoint(t, passes(), list, one)
	} else {
		list = sample(list, n)
		for k := 0; k < len(list) && !t.Failed(); k++ {
			p := list[k]
			t.Run(p.String(), func(t *testing.T) {
				// No thread comes as far as that: an earlier place instead.
				if !one(t, p) && p.n >= 3 {
					p.n /= 3
					list = append(list, p)
				}
			})
		}
	}
	t.Logf("%d runs, killed at %v: %d different points around the %d calls of a run; %d acknowledged, %d lost or altered",
		runs, hit, len(places), ofSpool(dry[0]), acked, len(faults))
	if len(hit) < 5 && mutant == "" && !mailtest.RaceDetector {
		t.Errorf("only these calls were hit: %v", hit)
	}
	return faults
}

// eachPoint runs f passes times for the points of list, those of each call and effect in
// their order, several calls at a time. f tells whether a thread came as far as
// that; after two that none reached there is no more of that call. What is
// left after a failure is not run.
func eachPoint(t *testing.T, passes int, list []point, f func(t *testing.T, p point) (reached bool)) {
	rows := map[string][]point{}
	for _, p := range list {
		if mailtest.RaceDetector && p.after != 7 && p.after != 11 {
			continue // the gateway is built without it
		}
		key := fmt.Sprint(p.name, p.effect, p.after, p.sealed)
		rows[key] = append(rows[key], p)
	}
	var failed atomic.Bool
	t.Run("all", func(t *testing.T) {
		for pass := range passes {
			for key, row := range rows {
				t.Run(fmt.Sprint(pass, key), func(t *testing.T) {
					t.Parallel()
					for missed := 0; len(row) > 0 && missed < 2 && !failed.Load(); row = row[1:] {
						missed++
						if !t.Run(row[0].String(), func(t *testing.T) {
							if f(t, row[0]) {
								missed = 0
							}
						}) {
							failed.Store(true)
						}
					}
				})
			}
		}
	})
}

// ofSpool counts the calls that can be hit.
func ofSpool(calls []*call) (n int) {
	for _, c := range calls {
		if slices.Contains(durable, c.name) {
			n++
		}
	}
	return n
}

// TestFailingCalls lets syncs and writes of the spool fail. Nothing of the
// batch is acknowledged, nothing is done on that descriptor again, what was
// acknowledged stays.
func TestFailingCalls(t *testing.T) {
	needs(t, "root", "strace")
	for _, f := range failingCalls(t, "", all) {
		t.Error(f)
	}
}

func failingCalls(t *testing.T, mutant string, n int) (faults []string) {
	list := points(dryRuns(t, mutant), []string{"fdatasync", "fsync", "pwrite64"}, "error=EIO", "error=ENOSPC")
	var mu sync.Mutex
	runs, failed, acks, refused := 0, 0, 0, 0
	one := func(t *testing.T, p point) (reached bool) {
		r := runTraced(t, mutant, p.sealed, &p)
		a, found := auditTrace(r.calls), r.verify()
		mu.Lock()
		defer mu.Unlock()
		runs, failed, acks, refused = runs+1, failed+a.failed, acks+a.acks, refused+r.w.book.refusals("4")
		for _, f := range slices.Concat(a.reused, a.unsynced, found) {
			faults = append(faults, p.String()+": "+f)
		}
		if runs%soFar == 0 {
			t.Logf("so far %d runs, %d calls failed; %d messages refused, %d acknowledged; %d faults", runs, failed, refused, acks, len(faults))
		}
		return a.failed > 0
	}
	if n == all {
		eachPoint(t, passes(), list, one)
	} else {
		for _, p := range sample(list, n) {
			t.Run(p.String(), func(t *testing.T) { one(t, p) })
		}
	}
	t.Logf("%d calls failed: %d messages refused, %d acknowledged; %d faults", failed, refused, acks, len(faults))
	if failed == 0 && mutant == "" {
		t.Error("no call failed: the harness does not press")
	}
	return faults
}

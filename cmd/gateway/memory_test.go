package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// The floor counts as live heap, and is neither held for ever nor against the
// will of an admin.
func TestHeapFloor(t *testing.T) {
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	before := live()
	release := tuneMemory()
	if got := live() - before; got < heapFloor/2 {
		t.Errorf("held: %d octets more", got)
	}
	release()
	release = nil
	if got := live() - before; got > heapFloor/2 {
		t.Errorf("released: %d octets more", got)
	}
	t.Setenv("GOMEMLIMIT", "100MiB")
	release = tuneMemory()
	if got := live() - before; got > heapFloor/2 {
		t.Errorf("held against GOMEMLIMIT: %d octets more", got)
	}
	release()
}

// The limit is the default one, follows a heap that outgrows it, and goes with
// the release.
func TestSoftLimit(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	before := debug.SetMemoryLimit(-1)
	release := tuneMemory()
	if got := debug.SetMemoryLimit(-1); got != softLimit {
		t.Errorf("limit %d", got)
	}
	release()
	if got := debug.SetMemoryLimit(-1); got != before {
		t.Errorf("limit %d after the release, %d before", got, before)
	}
	for live, want := range map[int64]int64{0: softLimit, 300 << 20: softLimit, 400 << 20: 512 << 20, 1 << 30: 1280 << 20} {
		if got := limitFor(live); got != want {
			t.Errorf("%d MiB live: limit %d MiB, want %d", live>>20, got>>20, want>>20)
		}
	}
}

package main

import (
	"runtime"
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
	release := holdHeapFloor()
	if got := live() - before; got < heapFloor/2 {
		t.Errorf("held: %d octets more", got)
	}
	release()
	release = nil
	if got := live() - before; got > heapFloor/2 {
		t.Errorf("released: %d octets more", got)
	}
	t.Setenv("GOMEMLIMIT", "100MiB")
	release = holdHeapFloor()
	if got := live() - before; got > heapFloor/2 {
		t.Errorf("held against GOMEMLIMIT: %d octets more", got)
	}
	release()
}

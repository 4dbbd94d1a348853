package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// heapFloor keeps the garbage collector from running hundreds of times a
// second: it starts a cycle when the heap has doubled, and the live heap of a
// busy gateway is only a few MiB. Octets that nobody touches take no memory,
// but count as live; so a cycle starts after at least as much garbage again,
// and a large heap (a long queue) is collected as ever. A fixed size bounds
// what this costs, which a higher GOGC would not.
const heapFloor = 32 << 20

// softLimit is where garbage is collected sooner than when the heap has
// doubled: with 1,000,000 messages in the queue that alone would be 512 MiB.
// The floor counts, and is no memory.
const softLimit = 416 << 20

// tuneMemory raises the floor and sets the limit, until release is called. An
// admin who sets GOGC or GOMEMLIMIT has other plans, and gets what the runtime
// does with them.
func tuneMemory() (release func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	floor := make([]byte, heapFloor)
	old := debug.SetMemoryLimit(softLimit)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		followHeap(stop)
	}()
	return func() {
		close(stop)
		<-ended
		debug.SetMemoryLimit(old)
		runtime.KeepAlive(floor)
	}
}

// followHeap moves the limit out of the way of a heap that has outgrown it, or
// the collector would run without pause, and back again.
func followHeap(stop <-chan struct{}) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	limit := int64(softLimit)
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		if want := limitFor(liveHeap()); want != limit {
			limit = want
			debug.SetMemoryLimit(limit)
		}
	}
}

// limitFor leaves a quarter of a large heap for garbage. Steps are of 64 MiB:
// setting the limit costs a moment of the whole process.
func limitFor(live int64) int64 {
	const step = 64 << 20
	return max(softLimit, (live+live/4+step-1)/step*step)
}

// liveHeap is what the last collection found alive.
func liveHeap() int64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}

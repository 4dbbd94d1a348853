package main

import (
	"os"
	"runtime"
)

// heapFloor keeps the garbage collector from running hundreds of times a
// second: it starts a cycle when the heap has doubled, and the live heap of a
// busy gateway is only a few MiB. Octets that nobody touches take no memory,
// but count as live; so a cycle starts after at least as much garbage again,
// and a large heap (a long queue) is collected as ever. A fixed size bounds
// what this costs, which a higher GOGC would not.
const heapFloor = 32 << 20

// holdHeapFloor raises the floor until release is called. An admin who sets
// GOGC or GOMEMLIMIT has other plans, and gets what the runtime does with them.
func holdHeapFloor() (release func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	floor := make([]byte, heapFloor)
	return func() { runtime.KeepAlive(floor) }
}

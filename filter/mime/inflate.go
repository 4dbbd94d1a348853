package mime

import (
	"io"
	"iter"
	"runtime"

	"github.com/klauspost/compress/zlib"
)

// Limits of what compressed messages may become: octets of all in one message
// together; and for each octet that came, from so many on.
const (
	maxInflated  = 64 << 20
	inflateRatio = 250
	inflateFree  = 1 << 20
)

// inflater unpacks zlib's form (RFC 1950) as its octets arrive. The library wants
// to read: it does so in a coroutine that waits where there is nothing more yet.
// That knows nothing of the inflater, so that one which is dropped with its
// message, unfinished, takes the coroutine along.
type inflater struct {
	co   *inflation
	next func() (struct{}, bool)
	stop func()
}

// inflation is the coroutine's side. All but in and packed is set for one write.
type inflation struct {
	in     []byte
	packed int64
	out    int64
	to     func(p []byte)
	sum    *int64 // octets of all in one message
	over   bool   // a limit was reached
	yield  func(struct{}) bool
}

func newInflater() *inflater {
	co := &inflation{}
	f := &inflater{co: co}
	f.next, f.stop = iter.Pull(co.run)
	runtime.AddCleanup(f, func(stop func()) { stop() }, f.stop)
	return f
}

// write takes the next octets; false when a limit has been reached.
func (f *inflater) write(p []byte, sum *int64, to func(p []byte)) bool {
	co := f.co
	co.in, co.sum, co.to = p, sum, to
	co.packed += int64(len(p))
	f.next()
	co.in, co.sum, co.to = nil, nil, nil
	return !co.over
}

// run is the coroutine. What is damaged gives what came before the damage.
func (co *inflation) run(yield func(struct{}) bool) {
	co.yield = yield
	z, err := zlib.NewReader(co)
	if err != nil {
		return
	}
	buffer := make([]byte, 4096)
	for {
		n, err := z.Read(buffer)
		if co.to == nil {
			return // closed
		}
		co.out += int64(n)
		*co.sum += int64(n)
		if *co.sum > maxInflated || co.out > inflateFree && co.out > inflateRatio*co.packed {
			co.over = true
			return
		}
		if n > 0 {
			co.to(buffer[:n])
		}
		if err != nil {
			return
		}
	}
}

// Read implements io.Reader for the library.
func (co *inflation) Read(p []byte) (int, error) {
	for len(co.in) == 0 {
		if !co.yield(struct{}{}) {
			return 0, io.ErrUnexpectedEOF
		}
	}
	n := copy(p, co.in)
	co.in = co.in[n:]
	return n, nil
}

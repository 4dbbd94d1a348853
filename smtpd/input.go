package smtpd

import (
	"bytes"
	"sync"
)

// Two sizes of read buffer. An idle session holds the small one, so that ten
// thousand of them fit into memory; while a message flows it borrows a large
// one, so that 64 KiB cost one read and one write.
const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// input is what has been read from the connection and not yet been used.
type input struct {
	buf   []byte // small or large
	r, w  int    // buf[r:w] is unused
	small *[smallBuffer]byte
	large *[largeBuffer]byte
}

func (in *input) init() {
	in.small = smallBuffers.Get().(*[smallBuffer]byte)
	in.buf = in.small[:]
}

// release gives the buffers back; in must not be used after it.
func (in *input) release() {
	if in.large != nil {
		largeBuffers.Put(in.large)
	}
	smallBuffers.Put(in.small)
	*in = input{}
}

func (in *input) unused() []byte { return in.buf[in.r:in.w] }
func (in *input) empty() bool    { return in.r == in.w }

// grow changes to a large buffer.
func (in *input) grow() {
	if in.large != nil {
		return
	}
	large := largeBuffers.Get().(*[largeBuffer]byte)
	in.w = copy(large[:], in.unused())
	in.r = 0
	in.buf, in.large = large[:], large
}

// shrink goes back to the small buffer, which must hold all that is unused.
func (in *input) shrink() {
	if in.large == nil {
		return
	}
	in.w = copy(in.small[:], in.unused())
	in.r = 0
	in.buf = in.small[:]
	largeBuffers.Put(in.large)
	in.large = nil
}

// room is where to read to: never empty, but when the buffer is full of
// unused octets. Those move to the front at most once a read.
func (in *input) room() []byte {
	if in.r > 0 {
		in.w = copy(in.buf, in.unused())
		in.r = 0
	}
	return in.buf[in.w:]
}

// line takes a whole line out, with its LF.
func (in *input) line() ([]byte, bool) {
	i := bytes.IndexByte(in.unused(), '\n')
	if i < 0 {
		return nil, false
	}
	line := in.unused()[:i+1]
	in.r += i + 1
	return line, true
}

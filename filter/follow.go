package filter

import (
	"context"
	"errors"
	"io"
	"sync"
)

// arrival is how much of a message has come in. One session writes it, any
// number of followers read it.
type arrival struct {
	src io.ReaderAt // holds the bytes; ReadAt may run beside its writer

	mu   sync.Mutex
	n    int64
	err  error         // io.EOF after the last byte, another error when aborted
	wake chan struct{} // made by a follower that waits, closed by the session
}

// errAborted is what a follower reads when the message will not be judged.
var errAborted = errors.New("filter: the message was not completed")

func (a *arrival) advance(n int) {
	a.mu.Lock()
	a.n += int64(n)
	a.broadcast()
	a.mu.Unlock()
}

func (a *arrival) finish(err error) {
	a.mu.Lock()
	if a.err == nil {
		a.err = err
	}
	a.broadcast()
	a.mu.Unlock()
}

// broadcast wakes the followers; nothing is allocated when there are none.
func (a *arrival) broadcast() {
	if a.wake != nil {
		close(a.wake)
		a.wake = nil
	}
}

// Follow reads the whole message as it arrives: it blocks while the sender has
// not sent more, gives io.EOF after the final dot, and another error when the
// message was cut short or ctx ended. Reading slowly never stalls the session.
// The reader must not be used after the check's Run has returned.
func (tx *Transaction) Follow(ctx context.Context) io.Reader {
	return &follower{ctx: ctx, a: tx.arrival}
}

// Await waits until the whole message is there, and gives its size in octets:
// for who begins with a complete message only, and must not hold anything while
// a slow sender sends. The error is that of Follow.
func (tx *Transaction) Await(ctx context.Context) (int64, error) {
	for {
		n, wake, err := tx.arrival.look()
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case err == io.EOF:
			return n, nil
		case err != nil:
			return 0, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
		}
	}
}

// look gives what has arrived, and what is closed when there is more.
func (a *arrival) look() (n int64, wake <-chan struct{}, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil && a.wake == nil {
		a.wake = make(chan struct{})
	}
	return a.n, a.wake, a.err
}

type follower struct {
	ctx context.Context
	a   *arrival
	off int64
}

func (f *follower) Read(p []byte) (int, error) {
	for {
		f.a.mu.Lock()
		n, err := f.a.n, f.a.err
		var wake chan struct{}
		if n == f.off && err == nil {
			if f.a.wake == nil {
				f.a.wake = make(chan struct{})
			}
			wake = f.a.wake
		}
		f.a.mu.Unlock()

		switch {
		case f.ctx.Err() != nil:
			return 0, f.ctx.Err()
		case err != nil && err != io.EOF:
			return 0, err
		case n > f.off:
			return f.readAt(p, n)
		case err == io.EOF:
			return 0, io.EOF
		}
		select {
		case <-wake:
		case <-f.ctx.Done():
		}
	}
}

func (f *follower) readAt(p []byte, n int64) (int, error) {
	if int64(len(p)) > n-f.off {
		p = p[:n-f.off]
	}
	got, err := f.a.src.ReadAt(p, f.off)
	f.off += int64(got)
	if got > 0 {
		return got, nil // an error at this offset comes back on the next call
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF // the store has less than was written
	}
	return 0, err
}

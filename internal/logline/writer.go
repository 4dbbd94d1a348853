package logline

import (
	"io"
	"runtime"
	"sync"
)

// maxWaiting bounds what may wait for a slow output, beside as much that is
// being written; who writes more waits.
const maxWaiting = 1 << 20

// Writer gathers what is written meanwhile into one write of the output, by a
// goroutine of its own. There is no timer in it: a line on an idle gateway goes
// out at once, and under load lines share a system call. What waits is lost
// when the process is killed in that moment, and only then: Close writes all.
type Writer struct {
	out io.Writer

	mu      sync.Mutex
	work    sync.Cond // for the goroutine
	room    sync.Cond // for everybody else
	waiting []byte
	writing bool
	asleep  bool
	closed  bool
	ended   chan struct{}
}

// NewWriter starts the goroutine; Close ends it.
func NewWriter(out io.Writer) *Writer {
	w := &Writer{out: out, ended: make(chan struct{})}
	w.work.L, w.room.L = &w.mu, &w.mu
	go w.run()
	return w
}

// Write never fails: that the log cannot be written has nowhere to be said.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.waiting) >= maxWaiting && !w.closed {
		w.room.Wait()
	}
	if w.closed {
		for len(w.waiting) > 0 || w.writing {
			w.room.Wait()
		}
		return w.out.Write(p)
	}
	w.waiting = append(w.waiting, p...)
	if w.asleep {
		w.asleep = false
		w.work.Signal()
	}
	return len(p), nil
}

// Flush returns when all that was written before is out.
func (w *Writer) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.waiting) > 0 || w.writing {
		w.room.Wait()
	}
}

// Close writes what waits. Later lines go straight to the output.
func (w *Writer) Close() error {
	w.mu.Lock()
	w.closed = true
	w.work.Signal()
	w.room.Broadcast()
	w.mu.Unlock()
	<-w.ended
	return nil
}

func (w *Writer) run() {
	defer close(w.ended)
	var spare []byte
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for len(w.waiting) == 0 {
			if w.closed {
				return
			}
			w.asleep = true
			w.work.Wait()
		}
		w.mu.Unlock()
		runtime.Gosched() // whoever can run now may have a line too
		w.mu.Lock()
		lines := w.waiting
		w.waiting, w.writing = spare[:0], true
		w.mu.Unlock()
		w.out.Write(lines) // an error: see Write
		w.mu.Lock()
		w.writing, spare = false, lines
		w.room.Broadcast()
	}
}

package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress shows how far long work has come, on a terminal only.
type progress struct {
	w        io.Writer
	all, n   int
	terminal bool
	last     time.Time
}

func newProgress(w io.Writer, all int) *progress {
	p := &progress{w: w, all: all}
	if f, ok := w.(*os.File); ok && all > 1 {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

func (p *progress) step() {
	p.n++
	if p.terminal && time.Since(p.last) > 100*time.Millisecond {
		p.last = time.Now()
		fmt.Fprintf(p.w, "\r%d of %d (%d %%) ", p.n, p.all, 100*p.n/p.all)
	}
}

func (p *progress) done() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\033[K")
	}
}

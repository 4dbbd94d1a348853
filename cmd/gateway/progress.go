package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress shows how far long work has come, on a terminal only.
type progress struct {
	w        io.Writer
	all, n   int
	terminal bool
	begin    time.Time
	last     time.Time
}

func newProgress(w io.Writer, all int) *progress {
	p := &progress{w: w, all: all, begin: time.Now()}
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
		fmt.Fprint(p.w, "\r\033[K"+p.line(p.last.Sub(p.begin)))
	}
}

const barWidth = 30

// line is a bar, the count, and how long the rest will take.
func (p *progress) line(took time.Duration) string {
	full := barWidth * p.n / p.all
	left := time.Duration(float64(took) / float64(p.n) * float64(p.all-p.n))
	return fmt.Sprintf("[%s%s] %d of %d (%d %%), %s left",
		strings.Repeat("#", full), strings.Repeat(".", barWidth-full), p.n, p.all, 100*p.n/p.all, left.Round(time.Second))
}

func (p *progress) done() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\033[K")
	}
}

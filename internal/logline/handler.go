// Package logline is the way of a log line to standard error: a slog.Handler
// that takes lines which write their own JSON, and a Writer that gathers them.
package logline

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"mailweir/internal/jsonx"
)

// Line is what a line says beside time, level and message. The two ways to
// tell it must agree: AppendFields for JSON, LogValue (a group) for all other
// handlers.
type Line interface {
	slog.LogValuer
	AppendFields(o *jsonx.Object)
}

// Log writes a line that was made at that time.
func Log(log *slog.Logger, at time.Time, level slog.Level, msg string, line Line) {
	ctx, h := context.Background(), log.Handler()
	if !h.Enabled(ctx, level) {
		return
	}
	if h, ok := h.(*handler); ok {
		h.write(at, level, msg, line) // slog drops these errors too
		return
	}
	r := slog.NewRecord(at, level, msg, 0)
	r.AddAttrs(slog.Any("", line)) // a group without a name is part of the line
	h.Handle(ctx, r)
}

// Router is an output that has one of its own for classes of lines.
type Router interface {
	io.Writer
	For(class string) io.Writer
}

// Classed is a Line that belongs into a class.
type Classed interface{ Class() string }

// NewHandler makes a handler that writes JSON, one Write a line. When out has
// a Flush, an error is out before Handle returns.
func NewHandler(out io.Writer, level slog.Leveler) slog.Handler {
	h := &handler{Handler: slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level}), out: out}
	h.flush, _ = out.(interface{ Flush() })
	h.router, _ = out.(Router)
	return h
}

// handler passes on all but Lines. A logger with attributes or in a group is
// the embedded handler's: it loses the short way, and nothing else.
type handler struct {
	slog.Handler
	out    io.Writer
	flush  interface{ Flush() }
	router Router // nil: all lines go to out
}

// buffer is what a line is made in.
type buffer struct {
	o jsonx.Object
	b []byte
}

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if line := only(r); line != nil {
		return h.write(r.Time, r.Level, r.Message, line)
	}
	err := h.Handler.Handle(ctx, r)
	if h.flush != nil && r.Level >= slog.LevelError {
		h.flush.Flush()
	}
	return err
}

// only is the Line of a record that has nothing else.
func only(r slog.Record) (line Line) {
	if r.NumAttrs() == 1 {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "" {
				line, _ = a.Value.Any().(Line)
			}
			return false
		})
	}
	return line
}

func (h *handler) write(at time.Time, level slog.Level, msg string, line Line) error {
	buf := buffers.Get().(*buffer)
	o := &buf.o
	*o = jsonx.Begin(buf.b[:0])
	if !at.IsZero() {
		o.Time(slog.TimeKey, at.Round(0))
	}
	o.String(slog.LevelKey, level.String())
	o.String(slog.MessageKey, msg)
	line.AppendFields(o)
	b := append(o.End(), '\n')
	out := h.out
	if c, ok := line.(Classed); ok && h.router != nil {
		out = h.router.For(c.Class())
	}
	_, err := out.Write(b)
	if buf.b = b; cap(b) <= 16<<10 {
		buffers.Put(buf)
	}
	return err
}

// Package logfile keeps log lines in files of one UTC day, CLASS-2006-01-02.log,
// that are dropped whole: retention is a file's name, and nothing has to be
// rewritten.
package logfile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Class of lines: which files they go to, and how long these are kept.
type Class struct {
	Name string
	Keep time.Duration // from the end of the file's day on
}

const suffix = ".log"

// Writer appends to the file of the day. It is safe for concurrent use; each
// Write is whole lines.
type Writer struct {
	dir   string
	class Class

	mu   sync.Mutex
	day  string
	file *os.File
}

// Open makes dir where it is missing, drops the class's files that are too old,
// and gives its writer.
func Open(dir string, class Class) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	w := &Writer{dir: dir, class: class}
	return w, w.Expire(time.Now())
}

// Write implements io.Writer.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if day := now.UTC().Format(time.DateOnly); day != w.day {
		if err := w.turn(day, now); err != nil {
			return 0, err
		}
	}
	return w.file.Write(p)
}

func (w *Writer) turn(day string, now time.Time) error {
	f, err := os.OpenFile(filepath.Join(w.dir, w.class.Name+"-"+day+suffix), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if w.file != nil {
		w.file.Close()
	}
	w.day, w.file = day, f
	return w.expire(now)
}

// Expire drops the files that are too old. It is called now and then, since a
// gateway that logs nothing turns no day.
func (w *Writer) Expire(now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.expire(now)
}

func (w *Writer) expire(now time.Time) error {
	files, err := Files(w.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Class == w.class.Name && !f.End().Add(w.class.Keep).After(now) {
			if err := os.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// Close closes the file of the day; a later Write opens it again.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file, w.day = nil, ""
	return err
}

// File is a file of one day.
type File struct {
	Path  string
	Class string
	Day   time.Time
	Size  int64
}

// End is the first moment after its day.
func (f *File) End() time.Time { return f.Day.AddDate(0, 0, 1) }

// Files are those in dir, oldest first; others are not ours. No dir, no files.
func Files(dir string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []File
	for _, e := range entries {
		class, day, ok := parseName(e.Name())
		if !ok {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // dropped meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("logfile: %w", err)
		}
		list = append(list, File{filepath.Join(dir, e.Name()), class, day, info.Size()})
	}
	slices.SortStableFunc(list, func(a, b File) int { return cmp.Or(a.Day.Compare(b.Day), cmp.Compare(a.Class, b.Class)) })
	return list, nil
}

func parseName(name string) (class string, day time.Time, ok bool) {
	stem, found := strings.CutSuffix(name, suffix)
	n := len(stem) - len("-2006-01-02")
	if !found || n < 1 || stem[n] != '-' {
		return "", day, false
	}
	day, err := time.Parse(time.DateOnly, stem[n+1:])
	return stem[:n], day, err == nil
}

package queue

import (
	"os"

	"mailweir/internal/fsx"
)

// Inspect lists what f selects of a spool that no gateway has open, and touches
// nothing: no lock is taken, nothing is repaired, no file is made.
func Inspect(fsys fsx.FS, dir string, f Filter) ([]Item, error) {
	var items []Item
	err := Peek(fsys, dir, Options{}, func(q *Queue) error {
		for it := range q.List(f) {
			items = append(items, it)
		}
		return nil
	})
	return items, err
}

// Peek gives f a queue to look at that is read from a spool which no gateway
// has open, with the same care as Inspect: List, Get, Show, Why and Summary
// work. The queue ends with the return.
func Peek(fsys fsx.FS, dir string, o Options, f func(*Queue) error) error {
	fresh, err := checkFormat(fsys, dir)
	if err != nil {
		return err
	}
	o.setDefaults()
	q := newQueue(fsys, dir, o, true)
	defer func() {
		for _, s := range q.segments {
			s.file.Close()
		}
	}()
	if fresh {
		return f(q)
	}
	if err := q.keys.read(); err != nil {
		return err
	}
	found, err := q.readLog(os.O_RDONLY)
	if err != nil {
		return err
	}
	if err := q.missed(found.damaged > 0); err != nil {
		return err
	}
	q.rebuild()
	return f(q)
}

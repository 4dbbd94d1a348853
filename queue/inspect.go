package queue

import (
	"os"

	"mailweir/internal/fsx"
)

// Inspect lists what f selects of a spool that no gateway has open, and touches
// nothing: no lock is taken, nothing is repaired, no file is made.
func Inspect(fsys fsx.FS, dir string, f Filter) ([]Item, error) {
	fresh, err := checkFormat(fsys, dir)
	if err != nil || fresh {
		return nil, err
	}
	o := Options{}
	o.setDefaults()
	q := newQueue(fsys, dir, o, true)
	defer func() {
		for _, s := range q.segments {
			s.file.Close()
		}
	}()
	if _, err := q.readLog(os.O_RDONLY); err != nil {
		return nil, err
	}
	q.rebuild()
	var items []Item
	for it := range q.List(f) {
		items = append(items, it)
	}
	return items, nil
}

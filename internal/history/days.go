package history

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// day is a UTC day as "2006-01-02": days compare as strings.
type day string

const (
	suffix        = ".jsonl"
	secondsPerDay = 24 * 60 * 60
)

func dayOf(t time.Time) day { return day(t.UTC().Format(time.DateOnly)) }

func (d day) file() string { return string(d) + suffix }

// end is the first moment after the day.
func (d day) end() time.Time {
	t, _ := time.Parse(time.DateOnly, string(d)) // parseDay made sure of it
	return t.AddDate(0, 0, 1)
}

// parseDay reads a file name; anything else in the directory is not ours.
func parseDay(name string) (day, bool) {
	s, ok := strings.CutSuffix(name, suffix)
	if !ok {
		return "", false
	}
	t, err := time.Parse(time.DateOnly, s)
	return dayOf(t), err == nil
}

// days lists the days that dir has a file of, oldest first.
func days(dir string) ([]day, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []day
	for _, e := range entries {
		if d, ok := parseDay(e.Name()); ok && e.Type().IsRegular() {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b day) int { return cmp.Compare(a, b) })
	return list, nil
}

// expire deletes the days whose last entry is older than the time to keep, and
// sets the timer to the next midnight.
func (w *writer) expire() {
	now := time.Now()
	w.midnight.Reset(dayOf(now).end().Sub(now))
	if w.l.keys != nil {
		if err := w.l.keys.Expire(now); err != nil {
			w.l.log.Error("old keys of the history cannot be destroyed", "error", err)
		}
	}
	list, err := days(w.l.dir)
	if err != nil {
		w.l.log.Error("old history cannot be listed", "error", err)
		return
	}
	for _, d := range list {
		if d.end().Add(w.l.keep).After(now) {
			return
		}
		err := os.Remove(filepath.Join(w.l.dir, d.file()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.l.log.Error("old history cannot be deleted", "error", err)
			continue
		}
		w.l.log.Info("old history is deleted", "day", string(d))
	}
}

// Days are the files that dir has, with the moment that their day ends. An
// empty or missing directory is no error.
func Days(dir string) (map[string]time.Time, error) {
	list, err := days(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	files := make(map[string]time.Time, len(list))
	for _, d := range list {
		files[filepath.Join(dir, d.file())] = d.end()
	}
	return files, err
}

package census

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

// Count is how many messages were of a name.
type Count struct {
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Messages int64  `json:"messages,omitempty"`
	// FewerThan stands instead of the count where it is below the threshold.
	FewerThan int64 `json:"fewer_than,omitempty"`
}

// Days are the files that dir has, with the moment that their day ends.
func Days(dir string) (map[string]time.Time, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	files := map[string]time.Time{}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if d, err := time.Parse(time.DateOnly, name); ok && err == nil {
			files[filepath.Join(dir, e.Name())] = d.AddDate(0, 0, 1)
		}
	}
	return files, err
}

func drop(dir string, keep time.Duration, now time.Time) error {
	files, err := Days(dir)
	for path, end := range files {
		if !end.Add(keep).After(now) {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

// Stats adds up the hours from since to until; a zero time is no bound. Names
// with fewer than k messages are counted as Other, and Other is no number when
// it has fewer, too: few messages tell of somebody.
func Stats(dir string, since, until time.Time, k int64) ([]Count, error) {
	files, err := Days(dir)
	if err != nil {
		return nil, err
	}
	sum := counts{}
	for path, end := range files {
		if !since.IsZero() && !end.After(since) || !until.IsZero() && !end.AddDate(0, 0, -1).Before(until) {
			continue
		}
		hours, err := read(path)
		if err != nil {
			return nil, err
		}
		for hour, c := range hours {
			if !since.IsZero() && hour.Add(time.Hour).Before(since) || !until.IsZero() && !hour.Before(until) {
				continue
			}
			for kind, names := range c {
				for name, n := range names {
					sum.add(kind, name, n)
				}
			}
		}
	}
	return merged(sum, k), nil
}

// merged is what may be told, the most frequent names of a kind first.
func merged(sum counts, k int64) (list []Count) {
	for kind, names := range sum {
		var few int64
		for name, n := range names {
			if n < k || name == Other {
				few += n
				continue
			}
			list = append(list, Count{Kind: kind, Name: name, Messages: n})
		}
		switch {
		case few >= k:
			list = append(list, Count{Kind: kind, Name: Other, Messages: few})
		case few > 0:
			list = append(list, Count{Kind: kind, Name: Other, FewerThan: k})
		}
	}
	slices.SortFunc(list, func(a, b Count) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), cmp.Compare(b.Messages, a.Messages), strings.Compare(a.Name, b.Name))
	})
	return list
}

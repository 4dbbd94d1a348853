package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"mailweir/mail"
)

// Entry is one line of the history.
type Entry struct {
	ID   mail.ID         `json:"id"`
	Kind string          `json:"kind"`
	At   time.Time       `json:"at"`
	Data json.RawMessage `json:"data"`
}

const (
	linePrefix = `{"id":"` // every line begins so; then the ID
	// readBytes is one read. Lines are a few KB, so that hundreds come at once.
	readBytes = 1 << 20
	// maxLine bounds a line with its framing, sealed. A longer one is not ours.
	maxLine = maxEntry*4/3 + 4096
	// clockSlack: how far an entry may lie before the time in its ID, when the
	// clock was set back in between.
	clockSlack = time.Hour
)

// Find gives all entries of id, in the order they were written. It may run
// while a gateway writes, in another process; what that holds back for a second
// is not found yet. An empty or missing directory is no error; an entry that
// keys do not open is one.
func Find(dir string, keys Keys, id mail.ID) ([]Entry, error) {
	list, err := days(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	first := dayOf(id.Time().Add(-clockSlack))
	var found []Entry
	for _, d := range list {
		if d < first {
			continue
		}
		found, err = findIn(filepath.Join(dir, d.file()), &opener{keys: keys, day: d.end().Add(-time.Second)}, id, found)
		if err != nil {
			return found, fmt.Errorf("history: %w", err)
		}
	}
	return found, nil
}

// EachLine calls fn for every line of the UTC day of t, opened, in the order they
// were written; line is only valid during the call, and may be torn. A day
// without a file has none. It may run while a gateway writes. Lines that keys do
// not open are left out, and an error in the end.
func EachLine(dir string, keys Keys, t time.Time, fn func(line []byte)) error {
	f, err := os.Open(filepath.Join(dir, dayOf(t).file()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	defer f.Close()
	o := &opener{keys: keys, day: t}
	err = eachLine(f, func(line []byte) {
		if line = o.open(line); line != nil {
			fn(line)
		}
	})
	return errors.Join(err, o.failed)
}

// Each calls fn for every entry from since on, day after day, in the order they
// were written; it stops at the first error of fn. Like Find it may run while a
// gateway writes.
func Each(dir string, keys Keys, since time.Time, fn func(Entry) error) error {
	list, err := days(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	var failed error
	for _, d := range list {
		if d < dayOf(since) || failed != nil {
			continue
		}
		err := EachLine(dir, keys, d.end().Add(-time.Second), func(line []byte) {
			if failed != nil {
				return
			}
			if e, ok := decode(line); ok && !e.At.Before(since) {
				failed = fn(e)
			}
		})
		if err != nil {
			return err
		}
	}
	return failed
}

// findIn appends the entries of id in one file.
func findIn(path string, o *opener, id mail.ID, found []Entry) ([]Entry, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) { // deleted since it was listed
		return found, nil
	}
	if err != nil {
		return found, err
	}
	defer f.Close()
	prefix := append(id.AppendTo([]byte(linePrefix)), '"')
	err = eachLine(f, func(line []byte) {
		if !bytes.HasPrefix(line, prefix) {
			return
		}
		if e, ok := decode(o.open(line)); ok && e.ID == id {
			found = append(found, e)
		}
	})
	return found, errors.Join(err, o.failed)
}

// eachLine calls fn for every line, without its newline; line is only valid
// during the call. Lines over maxLine are left out.
func eachLine(r io.Reader, fn func(line []byte)) error {
	buf := make([]byte, maxLine+readBytes)
	kept, skipping := 0, false
	for {
		n, err := io.ReadFull(r, buf[kept:min(kept+readBytes, len(buf))])
		rest := buf[:kept+n]
		for {
			end := bytes.IndexByte(rest, '\n')
			if end < 0 {
				break
			}
			if !skipping {
				fn(rest[:end])
			}
			skipping = false
			rest = rest[end+1:]
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			if !skipping && len(rest) > 0 {
				fn(rest)
			}
			return nil
		case err != nil:
			return err
		}
		if len(rest) > maxLine {
			rest, skipping = nil, true
		}
		kept = copy(buf, rest)
	}
}

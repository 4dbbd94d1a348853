// Package daykey keeps a key for each UTC day and destroys it when what it
// served is too old: from then on nobody can read that, whatever copies there
// are. Keys are files, DIR/2006-01-02.key, in one of two forms:
//
//	key [32]                                   without a master key
//
//	 0  magic      "MWDAYKY1"                  with one
//	 8  master ID  [8]
//	16  nonce      [12]
//	28  key        [32], sealed, and tag [16]
//
// The seal is AES-256-GCM, its additional data the first 16 octets and the
// day's name. The ID of a master key is the start of SHA-256("mailweir master
// key" and the key).
//
// Destroying a key overwrites its file and removes it; a file system that never
// writes in place (a snapshot, a flash translation layer) may keep the old
// blocks.
package daykey

import (
	"crypto/rand"
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

// Size of a key in octets.
const Size = 32

const suffix = ".key"

// Master seals the keys of days. It never shows itself.
type Master [32]byte

// String keeps it out of logs.
func (Master) String() string { return "***" }

// GoString keeps it out of %#v.
func (Master) GoString() string { return "***" }

// Keys are those of one directory. They are safe for concurrent use; a command
// may read beside a gateway that makes and destroys them.
type Keys struct {
	dir  string
	keep time.Duration

	mu      sync.Mutex
	masters []Master // the first is in use; none: keys lie in clear
}

// New is for those who only read.
func New(dir string, keep time.Duration, masters ...Master) *Keys {
	return &Keys{dir: dir, keep: keep, masters: masters}
}

// Open is New for who makes keys: it makes dir where it is missing, destroys
// the keys of days that ended longer than keep ago, and puts all others under
// the first of the masters.
func Open(dir string, keep time.Duration, masters ...Master) (*Keys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	k := New(dir, keep)
	if err := k.Expire(time.Now()); err != nil {
		return nil, err
	}
	return k, k.Rekey(masters)
}

func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// Path is the file of a day's key.
func (k *Keys) Path(day time.Time) string { return filepath.Join(k.dir, dayOf(day)+suffix) }

// Read gives the key of the day of t; fs.ErrNotExist when there is none, or no
// more.
func (k *Keys) Read(t time.Time) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.read(dayOf(t))
}

// Make is Read, and makes the key where there is none.
func (k *Keys) Make(t time.Time) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	day := dayOf(t)
	key, err := k.read(day)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key = make([]byte, Size)
	rand.Read(key) // never fails
	return key, k.write(day, key)
}

func (k *Keys) read(day string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(k.dir, day+suffix))
	if err != nil {
		return nil, err
	}
	key, err := unwrap(b, day, k.masters)
	if err != nil {
		return nil, fmt.Errorf("key of %s in %s: %w", day, k.dir, err)
	}
	return key, nil
}

// write puts the key in its place, under the master key in use, as a whole.
func (k *Keys) write(day string, key []byte) error {
	if len(k.masters) > 0 {
		key = wrap(key, day, k.masters[0])
	}
	f, err := os.CreateTemp(k.dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is none
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(k.dir, day+suffix))
}

// Rekey puts all keys under the first of the masters, or in clear when there
// are none; all of them can be needed to read those that are there. What the
// files had before is overwritten.
func (k *Keys) Rekey(masters []Master) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	days, err := k.days()
	if err != nil {
		return err
	}
	before := k.masters
	k.masters = append(slices.Clone(masters), before...) // to read with
	defer func() { k.masters = slices.Clone(masters) }()
	for _, d := range days {
		if err := k.rewrap(dayOf(d), masters); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keys) rewrap(day string, masters []Master) error {
	name := filepath.Join(k.dir, day+suffix)
	b, err := os.ReadFile(name)
	if err != nil || isUnder(b, masters) {
		return err
	}
	key, err := k.read(day)
	if err != nil {
		return err
	}
	old, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	reading := k.masters
	k.masters = masters
	err = k.write(day, key)
	if k.masters = reading; err != nil {
		return errors.Join(err, old.Close())
	}
	return wipe(old)
}

// Expire destroys the keys that are due.
func (k *Keys) Expire(now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	days, err := k.days()
	if err != nil {
		return err
	}
	for _, d := range days {
		if d.AddDate(0, 0, 1).Add(k.keep).After(now) {
			continue
		}
		name := k.Path(d)
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(wipe(f), os.Remove(name)); err != nil {
			return err
		}
	}
	return nil
}

// wipe overwrites the file, which somebody may have removed already.
func wipe(f *os.File) error {
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt(make([]byte, info.Size()), 0)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// Days are the days that there is a key of, oldest first; none without dir.
func (k *Keys) Days() ([]time.Time, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.days()
}

func (k *Keys) days() ([]time.Time, error) {
	entries, err := os.ReadDir(k.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var days []time.Time
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), suffix); ok {
			if d, err := time.Parse(time.DateOnly, name); err == nil {
				days = append(days, d)
			}
		}
	}
	return days, nil
}

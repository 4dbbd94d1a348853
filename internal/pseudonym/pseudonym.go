// Package pseudonym replaces addresses in logs by names that mean something
// only while a key lives. A key is made each UTC day and destroyed after the
// time that logs are kept: until then who knows an address can compute its
// pseudonyms and find it, afterwards nobody can, whatever copies of the log
// there are.
//
// A pseudonym is the HMAC-SHA256 of kind, NUL and value under the key of the
// day, its first 80 bits in base32:
//
//	ip-MFRGGZDFMZTWQ2LK
//
// Keys are files of 32 octets, DIR/2006-01-02.key. Destroying one overwrites it
// and removes it; a file system that never writes in place (a snapshot, a flash
// translation layer) may keep the old blocks.
package pseudonym

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Kinds keep an address and a name that read the same apart.
const (
	IP   = "ip"
	Name = "name"
	Mail = "mail"
)

const (
	keySize = 32
	suffix  = ".key"
	bits    = 80
)

// Keys makes pseudonyms under the key of the day. It is safe for concurrent use.
type Keys struct {
	dir  string
	keep time.Duration

	mu  sync.Mutex
	day string
	under
}

// Open makes dir where it is missing and destroys the keys of days that ended
// longer than keep ago.
func Open(dir string, keep time.Duration) (*Keys, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	k := &Keys{dir: dir, keep: keep}
	return k, k.turn(time.Now())
}

// Of is the pseudonym of a value at that time, of the day before midnight or of
// the day after. An empty value stays empty.
func (k *Keys) Of(at time.Time, kind, value string) string {
	if value == "" {
		return ""
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if day := at.UTC().Format(time.DateOnly); day > k.day {
		if k.turnTo(day, at) != nil {
			return kind + "-unknown" // no key, no name; never the value
		}
	}
	return k.compute(kind, value)
}

// under is a key at work; its scratch saves what a log line would else cost.
type under struct {
	mac     hash.Hash
	scratch []byte
}

func (u *under) compute(kind, value string) string {
	b := append(append(u.scratch[:0], kind...), 0)
	for _, c := range []byte(value) {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	u.mac.Reset()
	u.mac.Write(b)
	b = u.mac.Sum(b[:0])
	sum := len(b)
	b = append(append(b, kind...), '-')
	b = encoding.AppendEncode(b, b[:bits/8])
	u.scratch = b
	return string(b[sum:])
}

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

func (k *Keys) turn(now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.turnTo(now.UTC().Format(time.DateOnly), now)
}

// turnTo takes the key of a day, and destroys those that are too old.
func (k *Keys) turnTo(day string, now time.Time) error {
	key, err := k.key(day)
	if err != nil {
		return err
	}
	k.day, k.under = day, under{mac: hmac.New(sha256.New, key)}
	return k.expire(now)
}

// key reads a day's key, or makes it.
func (k *Keys) key(day string) ([]byte, error) {
	name := filepath.Join(k.dir, day+suffix)
	key, err := os.ReadFile(name)
	if err == nil && len(key) == keySize {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key = make([]byte, keySize)
	rand.Read(key)
	f, err := os.CreateTemp(k.dir, ".new-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	return key, os.Rename(f.Name(), name)
}

func (k *Keys) expire(now time.Time) error {
	days, err := Days(k.dir)
	if err != nil {
		return err
	}
	for _, d := range days {
		if !d.AddDate(0, 0, 1).Add(k.keep).After(now) {
			if err := destroy(filepath.Join(k.dir, d.Format(time.DateOnly)+suffix)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Expire destroys what is due: called now and then, since a gateway that logs
// nothing turns no day.
func (k *Keys) Expire(now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.expire(now)
}

func destroy(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, keySize))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(name))
}

// Days are the days that dir has a key of, oldest first.
func Days(dir string) ([]time.Time, error) {
	entries, err := os.ReadDir(dir)
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

// All are the pseudonyms of a value, by day, under every key that lives. It
// may run beside a gateway.
func All(dir, kind, value string) (map[time.Time]string, error) {
	days, err := Days(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := make(map[time.Time]string, len(days))
	for _, d := range days {
		key, err := os.ReadFile(filepath.Join(dir, d.Format(time.DateOnly)+suffix))
		if errors.Is(err, fs.ErrNotExist) {
			continue // destroyed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if len(key) != keySize {
			return nil, fmt.Errorf("pseudonym: the key of %s has %d octets", d.Format(time.DateOnly), len(key))
		}
		u := under{mac: hmac.New(sha256.New, key)}
		all[d] = u.compute(kind, value)
	}
	return all, nil
}

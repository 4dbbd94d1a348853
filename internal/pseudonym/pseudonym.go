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
// The keys are internal/daykey's.
package pseudonym

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"hash"
	"io/fs"
	"strings"
	"sync"
	"time"

	"mailweir/internal/daykey"
)

// Kinds keep an address and a name that read the same apart.
const (
	IP   = "ip"
	Name = "name"
	Mail = "mail"
)

const bits = 80

// Keys makes pseudonyms under the key of the day. It is safe for concurrent use.
type Keys struct {
	keys *daykey.Keys

	mu   sync.Mutex
	ends time.Time // of the key's day
	under
	known map[known]string // made under this key: a client's messages name it again and again
}

// known is what a pseudonym is of.
type known struct{ kind, value string }

// maxKnown bounds what is remembered; when it is reached all is forgotten.
const maxKnown = 4096

// Open makes dir where it is missing and destroys the keys of days that ended
// longer than keep ago.
func Open(dir string, keep time.Duration) (*Keys, error) {
	keys, err := daykey.Open(dir, keep)
	if err != nil {
		return nil, err
	}
	k := &Keys{keys: keys}
	return k, k.turnTo(time.Now())
}

// Of is the pseudonym of a value at that time, of the day before midnight or of
// the day after. An empty value stays empty.
func (k *Keys) Of(at time.Time, kind, value string) string {
	if value == "" {
		return ""
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !at.Before(k.ends) {
		if k.turnTo(at) != nil {
			return kind + "-unknown" // no key, no name; never the value
		}
	}
	name, ok := k.known[known{kind, value}]
	if !ok {
		name = k.compute(kind, value)
		if len(k.known) == maxKnown {
			clear(k.known)
		}
		k.known[known{kind, strings.Clone(value)}] = name
	}
	return name
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

// turnTo takes the key of the day of now, and destroys those that are too old.
func (k *Keys) turnTo(now time.Time) error {
	key, err := k.keys.Make(now)
	if err != nil {
		return err
	}
	k.ends = now.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)
	k.under, k.known = under{mac: hmac.New(sha256.New, key)}, map[known]string{}
	return k.keys.Expire(now)
}

// Expire destroys what is due: called now and then, since a gateway that logs
// nothing turns no day.
func (k *Keys) Expire(now time.Time) error { return k.keys.Expire(now) }

// All are the pseudonyms of a value, by day, under every key that lives. It
// may run beside a gateway.
func All(dir, kind, value string) (map[time.Time]string, error) {
	keys := daykey.New(dir, 0)
	days, err := keys.Days()
	if err != nil {
		return nil, err
	}
	all := make(map[time.Time]string, len(days))
	for _, d := range days {
		key, err := keys.Read(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue // destroyed meanwhile
		}
		if err != nil {
			return nil, err
		}
		u := under{mac: hmac.New(sha256.New, key)}
		all[d] = u.compute(kind, value)
	}
	return all, nil
}

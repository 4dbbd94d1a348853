package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mailweir/filter"
	"mailweir/internal/fsx"
)

// maxEntries bounds each list of a store: a network is looked for in all of
// them.
const maxEntries = 10_000

// What Add and Remove refuse.
var (
	ErrFull    = fmt.Errorf("the list is full: it has %d entries", maxEntries)
	ErrUnknown = errors.New("there is no such entry (what the config says is changed there)")
)

// Store keeps the entries that commands make: a JSON file that is replaced as a
// whole, and what is in force at once. Entries that have expired are dropped
// from it by Expire.
type Store struct {
	fs   fsx.FS
	name string

	mu      sync.Mutex // of changes
	entries map[Kind][]Entry
	force   atomic.Pointer[map[Kind]*list]
}

// OpenStore reads the file, which need not be there.
func OpenStore(f fsx.FS, name string) (*Store, error) {
	s := &Store{fs: f, name: name, entries: map[Kind][]Entry{}}
	data, err := fsx.Content(f, name)
	if err == nil {
		err = json.Unmarshal(data, &s.entries)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s.publish()
	return s, nil
}

func (s *Store) publish() {
	s.force.Store(&map[Kind]*list{Allow: newList(s.entries[Allow]), Block: newList(s.entries[Block])})
}

func (s *Store) list(k Kind) *list { return (*s.force.Load())[k] }

// Entries are those of a kind, the oldest first.
func (s *Store) Entries(k Kind) []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.entries[k])
}

// Add puts an entry into a list, in place of one about the same and for the same
// recipients. When it returns nil the entry is durable and in force.
func (s *Store) Add(k Kind, e Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := slices.DeleteFunc(slices.Clone(s.entries[k]), func(o Entry) bool {
		return o.What() == e.What() && o.Scope.String() == e.Scope.String()
	})
	if len(fresh) >= maxEntries {
		return ErrFull
	}
	return s.replace(k, append(fresh, e))
}

// Remove takes the entries about something out of a list: those for the
// recipients of a scope, or without one all of them.
func (s *Store) Remove(k Kind, what string, scope *filter.Scope) (removed []Entry, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := slices.DeleteFunc(slices.Clone(s.entries[k]), func(o Entry) bool {
		hit := o.What() == what && (scope == nil || o.Scope.String() == scope.String())
		if hit {
			removed = append(removed, o)
		}
		return hit
	})
	if len(removed) == 0 {
		return nil, ErrUnknown
	}
	return removed, s.replace(k, fresh)
}

// Expire drops the entries that are over at a moment, and tells which, and when
// the next one will be: zero when none will.
func (s *Store) Expire(now time.Time) (dropped map[Kind][]Entry, next time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped = map[Kind][]Entry{}
	for _, k := range []Kind{Allow, Block} {
		fresh := slices.DeleteFunc(slices.Clone(s.entries[k]), func(e Entry) bool {
			if e.expired(now) {
				dropped[k] = append(dropped[k], e)
				return true
			}
			if !e.Expires.IsZero() && (next.IsZero() || e.Expires.Before(next)) {
				next = e.Expires
			}
			return false
		})
		if len(dropped[k]) > 0 {
			if err := s.replace(k, fresh); err != nil {
				return nil, next, err
			}
		}
	}
	return dropped, next, nil
}

// replace makes a list durable, and puts it into force. The caller holds s.mu.
func (s *Store) replace(k Kind, list []Entry) error {
	fresh := map[Kind][]Entry{Allow: s.entries[Allow], Block: s.entries[Block]}
	fresh[k] = list
	data, err := json.MarshalIndent(fresh, "", "\t")
	if err == nil {
		err = fsx.Replace(s.fs, s.name, append(data, '\n'))
	}
	if err != nil {
		return err
	}
	s.entries = fresh
	s.publish()
	return nil
}

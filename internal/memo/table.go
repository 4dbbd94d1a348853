package memo

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"mailweir/internal/fsx"
)

// Key is the keyed hash of a name.
type Key uint64

// Entry is what is kept of a name. What A and B mean is its user's business.
type Entry struct {
	At   uint32 // when it last changed, seconds since 1970; set by Update
	A, B uint32
}

// Options configure a Table.
type Options struct {
	Most    int           // entries
	Keep    time.Duration // after its last change an entry is as good as none
	Log     *slog.Logger  // nil: none
	Metrics *Metrics      // nil: none
	Name    string        // the table's label in the metrics
}

// Table is safe for concurrent use.
type Table struct {
	fs   fsx.FS
	path string
	o    Options

	mu      sync.Mutex
	entries map[Key]Entry
	dirty   map[Key]struct{} // changed since they were last written
	keep    uint32           // seconds

	// These belong to the writer.
	key     [keySize]byte
	size    int64 // of the file, up to the last whole record; 0: there is none yet
	swept   time.Time
	failing bool
}

// Open reads the table, or begins an empty one: the file is made with the first
// change. One that is no table is moved aside, and said: what was remembered is
// worth less than a gateway that starts.
func Open(f fsx.FS, path string, o Options) (*Table, error) {
	t, err := Read(f, path, o)
	if errors.Is(err, errHead) {
		t.o.Log.Error("a table cannot be read and begins anew", "file", path, "kept_as", path+".damaged", "error", err)
		err = f.Rename(path, path+".damaged")
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// Read is Open for who only looks, beside the gateway that writes it: it changes
// nothing on the disk.
func Read(f fsx.FS, path string, o Options) (*Table, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	t := &Table{fs: f, path: path, o: o, key: newKey(), entries: make(map[Key]Entry), dirty: make(map[Key]struct{})}
	t.Keep(o.Keep)
	b, err := fsx.Content(f, path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	key, err := readHead(b)
	if err != nil {
		return t, fmt.Errorf("%s: %w", path, err)
	}
	t.key = key
	t.load(b)
	return t, nil
}

// load takes the records of a file into the empty table.
func (t *Table) load(b []byte) {
	damaged, now := 0, seconds(time.Now())
	at := headSize
	for ; at+recSize <= len(b); at += recSize {
		k, e, ok := readRecord(b[at:])
		switch {
		case !ok:
			damaged++
		case t.expired(e, now):
			delete(t.entries, k)
		default:
			t.make(k)
			t.entries[k] = e
		}
	}
	t.size = int64(at)
	if damaged > 0 {
		t.o.Log.Warn("records of a table are damaged and passed over", "file", t.path, "records", damaged)
	}
	t.o.Metrics.entries(t.o.Name, len(t.entries))
}

// Key is the hash of a name. Kinds keep apart names that read the same.
func (t *Table) Key(kind, name string) Key {
	var buf [256]byte
	sum := sha256.Sum256(append(append(append(append(buf[:0], t.key[:]...), kind...), 0), name...))
	return Key(binary.LittleEndian.Uint64(sum[:]))
}

// Get gives what is known of a name.
func (t *Table) Get(k Key) (Entry, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.get(k, seconds(time.Now()))
}

func (t *Table) get(k Key, now uint32) (Entry, bool) {
	e, ok := t.entries[k]
	if !ok || t.expired(e, now) {
		return Entry{}, false
	}
	return e, true
}

// Update changes what is known of a name: fn gets what there is, and the time.
func (t *Table) Update(k Key, fn func(e Entry, known bool, now uint32) Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := seconds(time.Now())
	old, known := t.get(k, now)
	e := fn(old, known, now)
	e.At = now
	t.make(k)
	t.entries[k] = e
	t.dirty[k] = struct{}{}
}

// Forget drops what is known of a name, and reports whether there was anything.
func (t *Table) Forget(k Key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, known := t.get(k, seconds(time.Now()))
	delete(t.entries, k)
	if known {
		t.dirty[k] = struct{}{}
	}
	return known
}

// Keep changes for how long entries are kept.
func (t *Table) Keep(d time.Duration) {
	t.mu.Lock()
	t.keep = uint32(max(1, d/time.Second))
	t.mu.Unlock()
}

// sample is how many entries are looked at to find an old one to give way.
const sample = 8

// make makes room for k. The order of a map is random, so that the oldest of a
// few is an old one.
func (t *Table) make(k Key) {
	if _, there := t.entries[k]; there || len(t.entries) < t.o.Most {
		return
	}
	var oldest Key
	at, n := ^uint32(0), 0
	for k, e := range t.entries {
		if e.At <= at {
			oldest, at = k, e.At
		}
		if n++; n == sample {
			break
		}
	}
	delete(t.entries, oldest)
	delete(t.dirty, oldest)
}

func (t *Table) expired(e Entry, now uint32) bool {
	return e.At == 0 || now > e.At && now-e.At > t.keep
}

func seconds(now time.Time) uint32 { return uint32(now.Unix()) }

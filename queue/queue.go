package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// Deliverer is what the queue hands due messages to: the relay, seen from here.
type Deliverer interface {
	// Route names the destination of a recipient; "" when there is none. It
	// is asked before every attempt and must be quick.
	Route(rcpt mail.Path) mail.Destination
	// Deliver makes one attempt to relay m to the recipients whose indexes
	// are in rcpts, and reports exactly one outcome for each. When ctx ends
	// the attempt is cut short. Nothing of m may be used after the return.
	Deliver(ctx context.Context, d mail.Destination, m *mail.Message, rcpts []int, done func(mail.Outcome))
}

// Queue holds messages between the 250 and the next hop.
type Queue struct {
	fs     fsx.FS
	dir    string
	o      Options
	inline bool // tests: no goroutine but the writer
	lock   io.Closer
	log    *wal
	space  space
	start  time.Time // wall clock at Open, with the monotonic reading

	poked chan struct{}  // wakes the janitor
	stop  chan struct{}  // ends maker, janitor and scrubber
	tasks sync.WaitGroup // these

	closing sync.Once
	timers  sync.Pool // of settled

	mu          sync.Mutex
	segments    map[uint64]*segment
	nextSegment uint64
	nextSize    int64
	entries     map[mail.ID]*entry
	dying       map[mail.ID]*entry // over, the tombstone is on its way to the disk
	first, last *entry             // in the order of arrival
	cursors     map[*cursor]struct{}
	tombs       map[mail.ID]tomb
	doomed      []mail.ID  // big files without use
	strays      []uint64   // digests without a segment
	straying    sync.Mutex // held by who sweeps them
	chunks      []*chunk   // the cache, oldest first
	cacheBytes  int64
	unlisted    int   // dropped chunks that may still be in chunks
	recipients  int   // pending, held ones included
	bytes       int64 // of all entries
	ledger      Ledger
	domains     map[string]*domain
	reasons     []string
	reasonIndex map[string]uint16
	suspects    suspects
	keys        keyring
	veils       map[mail.ID]veil // at a start
	dispatch
}

// Open opens the spool in dir, or makes one, and recovers what is in it. A
// spool of another format, or one that is in use, is left untouched.
func Open(fsys fsx.FS, dir string, o Options) (*Queue, error) { return open(fsys, dir, o, false) }

func open(fsys fsx.FS, dir string, o Options, inline bool) (*Queue, error) {
	o.setDefaults()
	q := newQueue(fsys, dir, o, inline)
	if err := q.openSpool(); err != nil {
		return nil, err
	}
	if err := q.recover(); err != nil {
		q.closeFiles()
		return nil, err
	}
	if err := q.log.roll(); errors.Is(err, syscall.ENOSPC) {
		// What is in the queue is ours all the same: it is relayed, and
		// recorded as soon as there is space.
		o.Logger.Error("queue: no space for the first segment", "err", err)
		q.log.stalled = fmt.Errorf("%w: %w", ErrNoSpace, err)
	} else if err != nil {
		q.closeFiles()
		return nil, fmt.Errorf("queue: first segment: %w", err)
	}
	if !inline {
		q.log.made = make(chan madeSegment)
		q.tasks.Add(3)
		go q.maker()
		go q.janitor()
		go q.scrubber()
	}
	go q.log.run()
	q.openSuspects()
	o.Metrics.state.queue.Store(q)
	return q, nil
}

func newQueue(fsys fsx.FS, dir string, o Options, inline bool) *Queue {
	q := &Queue{
		fs: fsys, dir: path.Clean(dir), o: o, inline: inline,
		start: o.hooks.wall(),
		poked: make(chan struct{}, 1), stop: make(chan struct{}),
		segments: map[uint64]*segment{}, nextSegment: 1,
		nextSize: min(firstSegmentSize, o.SegmentSize),
		entries:  map[mail.ID]*entry{}, dying: map[mail.ID]*entry{}, tombs: map[mail.ID]tomb{},
		domains: map[string]*domain{}, reasons: []string{""}, reasonIndex: map[string]uint16{},
		cursors: map[*cursor]struct{}{},
		veils:   map[mail.ID]veil{},
	}
	q.keys = keyring{fs: fsys, dir: q.dir + "/keys", masters: o.Keys, epochs: map[uint32]*epochKey{}}
	q.dispatch.init(q)
	q.log = newWAL(q)
	return q
}

// now is the wall clock at Open plus the time that passed since: steps of the
// system's clock move no schedule.
func (q *Queue) now() time.Time { return q.start.Add(time.Since(q.start)) }

func (q *Queue) nowMilli() int64 { return q.now().UnixMilli() }

// openSpool checks the format, takes the lock, and makes what is missing.
func (q *Queue) openSpool() error {
	fresh, err := checkFormat(q.fs, q.dir)
	if err != nil {
		return err
	}
	if fresh {
		if err := q.fs.MkdirAll(q.dir, 0o700); err != nil {
			return err
		}
	}
	if q.lock, err = q.fs.Lock(q.dir + "/LOCK"); err != nil {
		if errors.Is(err, fsx.ErrLocked) {
			return ErrInUse
		}
		return err
	}
	if err = q.keys.read(); err == nil {
		err = q.makeSpool(fresh)
	}
	if err != nil {
		q.lock.Close()
	}
	return err
}

// checkFormat reads FORMAT. fresh: there is no spool yet, or its making was
// cut short before anything was stored.
func checkFormat(fsys fsx.FS, dir string) (fresh bool, err error) {
	text, err := readSmall(fsys, dir+"/FORMAT")
	switch {
	case err == nil && (text == formatText || text == formatText2):
		return false, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	list, lerr := fsys.ReadDir(dir + "/seg")
	if lerr != nil && !errors.Is(lerr, fs.ErrNotExist) {
		return false, lerr
	}
	if err == nil && text != "" || len(list) > 0 {
		return false, fmt.Errorf("%w: %s/FORMAT is %q, want %q", ErrFormat, dir, text, formatText)
	}
	return true, nil
}

func readSmall(fsys fsx.FS, name string) (string, error) {
	f, err := fsys.Open(name, os.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, 256)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return string(b[:n]), nil
}

// makeSpool makes the directories, and FORMAT last: no segment is made before
// it is durable.
func (q *Queue) makeSpool(fresh bool) error {
	for _, d := range []string{q.segDir(), q.bigDir(), q.corruptDir()} {
		if err := q.fs.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	if !fresh {
		return nil
	}
	if err := q.writeFormat(q.dir + "/FORMAT"); err != nil {
		return err
	}
	return q.syncDir(path.Dir(q.dir))
}

// upgrade lets FORMAT say what will be written from now on.
func (q *Queue) upgrade() error {
	text, err := readSmall(q.fs, q.dir+"/FORMAT")
	if err != nil || text == q.format() || text == formatText2 {
		return err
	}
	name := q.dir + "/FORMAT.new"
	if err := q.writeFormat(name); err != nil {
		return err
	}
	if err := q.fs.Rename(name, q.dir+"/FORMAT"); err != nil {
		return err
	}
	return q.syncDir(q.dir)
}

func (q *Queue) format() string {
	if q.keys.on() || q.o.codec() != codecNone {
		return formatText2
	}
	return formatText
}

func (q *Queue) writeFormat(name string) error {
	f, err := q.fs.Open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(q.format()), 0)
	if err == nil {
		err = f.Datasync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = q.syncDir(q.dir)
	}
	return err
}

// maker keeps one segment ready, so that the writer never waits for one. When
// none can be made it tries again each second, and the writer gets the latest
// error.
func (q *Queue) maker() {
	defer q.tasks.Done()
	for {
		s, err := q.makeSegment()
		var again <-chan time.Time
		if err != nil {
			again = time.After(time.Second)
		}
		select {
		case q.log.made <- madeSegment{s, err}:
		case <-again:
			continue
		case <-q.stop:
			return
		}
		if err != nil {
			select {
			case <-again:
			case <-q.stop:
				return
			}
		}
	}
}

// poke wakes the janitor.
func (q *Queue) poke() {
	select {
	case q.poked <- struct{}{}:
	default:
	}
}

// Close ends the queue after Run has returned: what was appended is synced.
func (q *Queue) Close() error {
	q.closing.Do(func() {
		q.log.close()
		close(q.stop)
		q.tasks.Wait()
		q.keys.turn.Lock() // Rekey may still be at it
		defer q.keys.turn.Unlock()
		if q.log.health() == nil {
			q.destroyKeys(nil)
		}
		q.o.Metrics.state.queue.CompareAndSwap(q, nil)
		q.closeFiles()
	})
	return q.log.health()
}

func (q *Queue) closeFiles() {
	for _, s := range q.segments {
		if s.file != nil {
			s.file.Close()
		}
	}
	if q.suspects.file != nil {
		q.suspects.file.Close()
	}
	q.lock.Close()
}

// Health tells why the queue does not work as it should: the disk failed, or
// it is full. nil is healthy.
func (q *Queue) Health() error {
	if err := q.log.health(); err != nil {
		return err
	}
	return q.space.health(q)
}

// Discard counts recipients that the policy discarded at reception: accepted,
// and gone at once.
func (q *Queue) Discard(n int) {
	q.mu.Lock()
	q.ledger.Accepted += int64(n)
	q.ledger.Discarded += int64(n)
	q.mu.Unlock()
	q.o.Metrics.accepted.Add(float64(n))
	q.o.Metrics.discarded.Add(float64(n))
}

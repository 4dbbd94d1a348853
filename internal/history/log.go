package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"mailweir/mail"
)

const (
	// backlog is how many entries may wait for the writer: a disk may stall
	// for about that many before entries are lost. Each keeps its facts in
	// memory, some KB.
	backlog = 4096
	// gather and flushEvery bound what a crash loses: the writer begins when so
	// many entries wait, or the first one has waited so long.
	gather     = 512
	flushEvery = time.Second
	// flushBytes is about what goes out in one write.
	flushBytes = 256 << 10
	// maxEntry bounds the data of one entry; what is larger is replaced by null.
	maxEntry = 1 << 20
	// MaxDayBytes bounds the file of one day. History shares a disk with the
	// spool, which needs the space more.
	MaxDayBytes = 4 << 30
	// complainEvery is how often losses are logged.
	complainEvery = time.Minute
)

// Log is the writing side. It is safe for concurrent use.
type Log struct {
	dir      string
	keep     time.Duration
	keys     Keys
	maxDay   int64
	log      *slog.Logger
	counters counters
	overflow atomic.Int64 // entries that found the queue full, not yet logged

	mu     sync.RWMutex // held for reading while in is sent to
	closed bool
	in     chan entry
	awake  atomic.Bool   // the writer knows that something waits
	wake   chan struct{} // one token: something waits, or much
	ending chan struct{} // closed when in is
	done   chan struct{} // closed when the writer has ended
}

// entry is what Append hands to the writer.
type entry struct {
	id   mail.ID
	kind string
	at   time.Time
	v    any

	synced chan struct{} // to be closed when all before it is written; it is no entry then
}

// Open makes dir where it is missing, deletes files whose entries are all older
// than keep, and starts the writer, which seals entries by keys and destroys
// those with the files; nil keys leave entries in clear. Register the Log with a Prometheus registry
// to see what it does: it is a prometheus.Collector.
func Open(dir string, keep time.Duration, keys Keys, logger *slog.Logger) (*Log, error) {
	if keep <= 0 {
		return nil, errors.New("history: the time to keep entries must be positive")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	l := &Log{
		dir: dir, keep: keep, keys: keys, maxDay: MaxDayBytes, log: logger,
		counters: newCounters(),
		in:       make(chan entry, backlog),
		done:     make(chan struct{}),
	}
	l.start()
	return l, nil
}

func (l *Log) start() {
	l.wake, l.ending = make(chan struct{}, 1), make(chan struct{})
	w := newWriter(l)
	go func() {
		defer close(l.done)
		w.run()
	}()
}

// Append records v, encoded as JSON, under id. It never waits. v must not
// change any more, nor anything that it points to: it is encoded later, by
// another goroutine; a jsonx.Appender encodes itself, which is far cheaper. A
// json.RawMessage is taken as it is. Kind is
// a short word such as "verdict" or "attempt".
func (l *Log) Append(id mail.ID, kind string, at time.Time, v any) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		l.counters.lost[lostClosed].Inc()
		return
	}
	select {
	case l.in <- entry{id: id, kind: kind, at: at, v: v}:
		if l.awake.CompareAndSwap(false, true) || len(l.in) >= gather {
			l.signal()
		}
	default:
		l.counters.lost[lostBacklog].Inc()
		l.overflow.Add(1)
	}
}

// Sync returns when all that was appended before it is written, within
// flushEvery: who erases lines must not have more of them written afterwards.
func (l *Log) Sync(ctx context.Context) error {
	synced := make(chan struct{})
	if err := l.askSync(ctx, synced); err != nil {
		return err
	}
	select {
	case <-synced:
	case <-l.done: // which is after it, or after all
	}
	return nil
}

func (l *Log) askSync(ctx context.Context, synced chan struct{}) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return nil
	}
	select {
	case l.in <- entry{synced: synced}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if l.awake.CompareAndSwap(false, true) {
		l.signal()
	}
	return nil
}

func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Close writes what was appended and ends the writer. Entries that come later
// are counted as dropped.
func (l *Log) Close() error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.in)
		close(l.ending)
	}
	l.mu.Unlock()
	<-l.done
	return nil
}

package events

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// backlog is how many rows may wait for the writer.
	backlog = 8192
	// flushEvery is what a crash loses at most, and the time of one commit.
	flushEvery = time.Second
	// openDays bounds the databases that are open: today's, and those of
	// messages that are delivered late.
	openDays = 4
)

// Store is the writing side. It is safe for concurrent use.
type Store struct {
	dir     string
	keep    time.Duration
	log     *slog.Logger
	written prometheus.Counter
	dropped *prometheus.CounterVec
	crashes prometheus.Counter
	ledger  *ledger

	mu      sync.Mutex
	waiting []change
	closed  bool
	full    chan struct{} // one token: half of the backlog waits
	syncs   chan chan struct{}
	ending  chan struct{} // closed when closed is set
	done    chan struct{}
}

// change is one thing to write.
type change struct {
	*Event
	outcome bool // not a new row, but the end of one
	tries   int  // how often the row was not there yet
}

// The reasons of losses.
const (
	lostBacklog = "backlog"
	lostWrite   = "write"
	lostClosed  = "closed"
	lostCrash   = "crash"
)

// Open makes dir where it is missing, drops days that are older than keep, and
// starts the writer. The Store is a prometheus.Collector.
func Open(dir string, keep time.Duration, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	if err := drop(dir, keep, time.Now()); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, keep: keep, log: log, full: make(chan struct{}, 1), syncs: make(chan chan struct{}), ending: make(chan struct{}), done: make(chan struct{})}
	s.written = prometheus.NewCounter(prometheus.CounterOpts{Name: "mailweir_events_written_total", Help: "Rows and outcomes written to the events."})
	s.dropped = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mailweir_events_dropped_total", Help: "Rows and outcomes missing from the events; mail is not affected."}, []string{"reason"})
	s.crashes = prometheus.NewCounter(prometheus.CounterOpts{Name: "mailweir_events_crashes_total", Help: "Starts after a run that did not end in order: its last one or two seconds are missing."})
	for _, r := range []string{lostBacklog, lostWrite, lostClosed, lostCrash} {
		s.dropped.WithLabelValues(r)
	}
	ledger, lost, crashed, err := openLedger(dir)
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	s.ledger = ledger
	if crashed {
		s.crashes.Inc()
		s.dropped.WithLabelValues(lostCrash).Add(float64(lost))
		log.Warn("events: the last run did not end in order: what it had not written in its last second or two is missing", "events", lost)
	}
	w := &writer{s: s, days: map[string]*dayDB{}}
	go func() {
		defer close(s.done)
		w.run()
	}()
	return s, nil
}

// Received adds a row. It never waits; e must not change any more.
func (s *Store) Received(e *Event) { s.send(change{Event: e}) }

// Finished notes the Outcome of the recipient in e. It may come before the row,
// by a second or two; one that never gets a row, as a DSN of our own, becomes
// one.
func (s *Store) Finished(e *Event) { s.send(change{Event: e, outcome: true}) }

// send leaves the writer asleep: waking it for each change costs more than the
// change.
func (s *Store) send(c change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		s.dropped.WithLabelValues(lostClosed).Inc()
		return
	case len(s.waiting) >= backlog:
		s.dropped.WithLabelValues(lostBacklog).Inc()
		return
	}
	s.ledger.came.Add(1)
	if s.waiting = append(s.waiting, c); len(s.waiting) == backlog/2 {
		select {
		case s.full <- struct{}{}:
		default:
		}
	}
}

// Sync returns when all that came before it is written, and does not wait for
// the next batch: who erases an address must not have it written afterwards.
func (s *Store) Sync(ctx context.Context) error {
	synced := make(chan struct{})
	select {
	case s.syncs <- synced:
	case <-s.done: // closed, and written
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	<-synced
	return nil
}

// take gives what waits, and begins anew in spare.
func (s *Store) take(spare []change) []change {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.waiting
	s.waiting = spare
	return list
}

// Close writes what waits and ends the writer.
func (s *Store) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.ending)
	}
	s.mu.Unlock()
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ledger == nil {
		return nil
	}
	err := s.ledger.close(s.dir)
	s.ledger = nil
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	return nil
}

// Describe implements prometheus.Collector.
func (s *Store) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, ch) }

// Collect implements prometheus.Collector.
func (s *Store) Collect(ch chan<- prometheus.Metric) {
	s.written.Collect(ch)
	s.dropped.Collect(ch)
	s.crashes.Collect(ch)
}

package queue

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/mail"
)

// Options say how a queue behaves. The zero value of each field means the
// default that is named beside it.
type Options struct {
	// Hostname is the reporting MTA of DSNs ("localhost").
	Hostname string

	SegmentSize int64 // of a log segment, once the spool has grown (64 MiB)
	MemoryLimit int64 // bytes of recent messages kept in memory for the relay (64 MiB)
	SpillAt     int64 // a larger message goes to its own file while it arrives (256 KiB)

	MinFreeBytes  int64 // Begin refuses below this (512 MiB)
	MinFreeInodes int64 // and below this (1024)

	Retry          Schedule      // 5 min, doubled up to 1 h, no jitter
	Expire         time.Duration // how long a message is tried (5 days)
	DelayWarning   time.Duration // after so long its sender is told, once (0: never)
	QuarantineKeep time.Duration // how long a held recipient is kept (30 days)
	Grace          time.Duration // how long attempts in flight may go on after Run's context ended (5 s)

	PerDestination int // concurrent attempts to one destination (20)
	Workers        int // concurrent attempts in all (256)

	LowRate int // attempts a minute for messages of ours that are in no hurry (60)

	// Sign returns fields to put on top of a DSN's header section: a DKIM
	// signature, or nothing. It is called for each attempt, by several at once.
	Sign func(head, body []byte) []byte // (no fields)

	// Keys are the master keys, the one in use first. With none nothing is
	// sealed, and a spool with sealed messages does not open.
	Keys []Key

	// Compress lets the log hold header sections and small bodies compressed,
	// where that gains something.
	Compress bool

	Logger  *slog.Logger // (discard)
	Metrics *Metrics     // (a registry of its own)

	// Observe is told of each attempt's outcome, for the log line and the
	// history. It is called from delivery goroutines and must not block.
	Observe func(*Attempt)

	// hooks break the protocol on purpose; only the tests that prove the
	// harnesses set them.
	hooks hooks
}

// hooks are mutations: each switches off one rule that durability rests on.
type hooks struct {
	skipDirSync    bool // a new name is not synced
	ackBeforeSync  bool // Commit returns before the fdatasync
	ackBeforeWrite bool // Commit returns before the write
	dropTombstone  bool // segments with needed tombstones are recycled
	retrySync      bool // a failed sync is tried again on the same descriptor
	lossyDigest    bool // digests leave out tombstones

	carefulScan bool // recovery makes no surveys

	chunk int // of the memory that batches are written from (chunkSize)

	wall func() time.Time // the clock at Open (time.Now)
	boot func() string    // changes when the machine starts (bootID)
}

// Attempt is the end of one attempt for one recipient.
type Attempt struct {
	ID          mail.ID
	ReversePath mail.Path
	Recipient   mail.Path
	Destination mail.Destination
	Outcome     mail.Outcome
	// State is what the recipient is now: "relayed", "pending" (deferred, or
	// held with Hold), "failed" or "expired".
	State    string
	Hold     string
	Attempts int       // this one included
	Next     time.Time // the next attempt, when there will be one
	Delay    time.Duration
	Duration time.Duration
}

func (o *Options) setDefaults() {
	def := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	def(&o.SegmentSize, 64<<20)
	def(&o.MemoryLimit, 64<<20)
	def(&o.SpillAt, 256<<10)
	def(&o.MinFreeBytes, 512<<20)
	def(&o.MinFreeInodes, 1024)
	dur := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	dur(&o.Retry.First, 5*time.Minute)
	dur(&o.Retry.Max, time.Hour)
	dur(&o.Expire, 5*24*time.Hour)
	dur(&o.QuarantineKeep, 30*24*time.Hour)
	dur(&o.Grace, 5*time.Second)
	if o.PerDestination == 0 {
		o.PerDestination = 20
	}
	if o.Workers == 0 {
		o.Workers = 256
	}
	if o.LowRate == 0 {
		o.LowRate = 60
	}
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	if o.Sign == nil {
		o.Sign = func(_, _ []byte) []byte { return nil }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	if o.hooks.chunk == 0 {
		o.hooks.chunk = chunkSize
	}
	if o.hooks.wall == nil {
		o.hooks.wall = time.Now
	}
	if o.hooks.boot == nil {
		o.hooks.boot = bootID
	}
	if mutate != nil {
		mutate(&o.hooks)
	}
}

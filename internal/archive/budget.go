package archive

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// Limits bound the work on all archives of one message together.
type Limits struct {
	Depth      int           // archives inside each other
	Entries    int           // entries of all archives
	Unpacked   int64         // octets of all entries
	Slow       int64         // of them, octets out of formats that unpack slowly: 7z, rar, xz, bzip2, lzma
	Ratio      int64         // unpacked to packed, of an entry from RatioFrom octets on
	RatioFrom  int64         //
	Dictionary int64         // octets that an unpacker keeps
	Time       time.Duration // in all
}

// DefaultLimits are those of the gateway. What deflate can reach at most is
// 1,030:1; honest files that reach 250:1 over 10 MiB are rare enough for a
// person to look at.
func DefaultLimits() Limits {
	return Limits{
		Depth: 6, Entries: 10000, Unpacked: 100 << 20, Slow: 32 << 20,
		Ratio: 250, RatioFrom: 10 << 20, Dictionary: 64 << 20, Time: 10 * time.Second,
	}
}

// LimitError tells which limit was reached: "depth", "entries", "unpacked",
// "ratio", "dictionary" or "time".
type LimitError struct{ Limit string }

func (e *LimitError) Error() string { return "archive: limit reached: " + e.Limit }

// What an archive or an entry can end with, beside a LimitError.
var (
	ErrEncrypted   = errors.New("archive: encrypted")
	ErrUnsupported = errors.New("archive: a method that is not known here")
	ErrDamaged     = errors.New("archive: damaged")
)

// damaged wraps what a library says.
func damaged(err error) error {
	var limit *LimitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &limit), errors.Is(err, ErrEncrypted), errors.Is(err, ErrUnsupported), errors.Is(err, ErrDamaged):
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// Budget is what is left for one message. It is not safe for concurrent use,
// but for Cancel.
type Budget struct {
	limits   Limits
	entries  int
	unpacked int64
	slow     int64
	left     time.Duration // while the clock stands
	deadline time.Time     // while it runs
	over     error         // sticky
	givenUp  atomic.Bool
}

// Cancel ends the work at its next step: nobody waits for it any more. It alone
// may be called beside the others.
func (b *Budget) Cancel() { b.givenUp.Store(true) }

// NewBudget makes a budget whose clock runs.
func NewBudget(l Limits) *Budget {
	b := &Budget{limits: l, left: l.Time}
	b.Start()
	return b
}

// Stop stops the clock: nothing is done until Start.
func (b *Budget) Stop() { b.left = time.Until(b.deadline) }

// Start lets the clock go on.
func (b *Budget) Start() { b.deadline = time.Now().Add(b.left) }

// Meter counts what is read through it on the budget.
func (b *Budget) Meter(r io.Reader) io.Reader { return &meter{r: r, b: b} }

// Limits are what the budget began with.
func (b *Budget) Limits() Limits { return b.limits }

// Unpacked is how many octets were.
func (b *Budget) Unpacked() int64 { return b.unpacked }

// Exceeded is the LimitError that ended the work, nil while there is budget.
func (b *Budget) Exceeded() error { return b.over }

// Check fails when the time is over.
func (b *Budget) Check() error {
	if b.over == nil && (b.givenUp.Load() || time.Now().After(b.deadline)) {
		b.over = &LimitError{"time"}
	}
	return b.over
}

// entry counts one.
func (b *Budget) entry() error {
	if b.entries++; b.entries > b.limits.Entries && b.over == nil {
		b.over = &LimitError{"entries"}
	}
	return b.Check()
}

// spend counts octets that were unpacked.
func (b *Budget) spend(n int64, slow bool) error {
	b.unpacked += n
	if slow {
		b.slow += n
	}
	if b.over == nil && (b.unpacked > b.limits.Unpacked || b.slow > b.limits.Slow) {
		b.over = &LimitError{"unpacked"}
	}
	return b.Check()
}

// meter counts what is read through it on the budget.
type meter struct {
	r      io.Reader
	b      *Budget
	packed int64 // octets that it unpacks from; 0 where that is not known
	slow   bool
	n      int64
	err    error
}

func (m *meter) Read(p []byte) (int, error) {
	if m.err == nil {
		m.err = m.b.Check()
	}
	if m.err != nil {
		return 0, m.err
	}
	n, err := m.r.Read(p)
	m.n += int64(n)
	if over := m.b.spend(int64(n), m.slow); over != nil {
		m.err = over
		return n, over
	}
	if l := m.b.limits; m.packed > 0 && m.n > l.RatioFrom && m.n/m.packed >= l.Ratio {
		m.err = &LimitError{"ratio"}
		return n, m.err
	}
	if err != nil {
		m.err = err
		if err != io.EOF {
			m.err = damaged(err)
		}
	}
	return n, m.err
}

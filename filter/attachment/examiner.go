package attachment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"mailweir/filter"
	"mailweir/internal/archive"
	"mailweir/internal/filetype"
)

// Options configure an Examiner.
type Options struct {
	Limits  archive.Limits
	Workers int    // messages that are examined at once
	Dir     string // for the files that large parts are held in; "" for the system's
	Walk    Walk   // takes messages apart that lie in archives
	Metrics *Metrics
}

// patience is how long a message may wait for a worker.
const patience = time.Minute

// errNoWorker ends an examination that never began.
var errNoWorker = errors.New("attachment: no worker was free in time")

// Examiner looks at attachments; safe for concurrent use.
type Examiner struct {
	o     Options
	slots chan struct{}
}

// New makes an examiner.
func New(o Options) *Examiner {
	return &Examiner{o: o, slots: make(chan struct{}, max(1, o.Workers))}
}

// Name is the word for `[checks] disabled` and metrics.
func (*Examiner) Name() string { return "attachment" }

// Message is the examination of one message. One goroutine calls its methods.
type Message struct {
	e *Examiner
	x *exam // the worker's, until idle

	mu      sync.Mutex
	waiting []*item
	working bool
	idle    sync.Cond
	cancel  context.CancelFunc
	ctx     context.Context
	err     error
}

// item is a part that is complete.
type item struct {
	part Part
	hold *hold
	cut  bool // not all of it was kept: its beginning said all, or it is too large
}

// Open starts the examination of one message.
func (e *Examiner) Open() *Message {
	m := &Message{e: e}
	m.idle.L = &m.mu
	return m
}

// Begin starts a part; nil where nobody could open it as a file.
func (m *Message) Begin(p Part) Content {
	if p.IsBody() {
		return nil
	}
	return &content{m: m, part: p, hold: hold{dir: m.e.o.Dir}}
}

// content is a part that arrives.
type content struct {
	m       *Message
	part    Part
	hold    hold
	decided bool
	enough  bool
}

// Write implements Content.
func (c *content) Write(p []byte) bool {
	c.hold.write(p)
	if !c.decided && c.hold.n >= filetype.HeadSize {
		c.decided = true
		c.enough = !c.part.wanted(c.hold.mem)
	}
	if c.hold.n > c.m.e.o.Limits.Unpacked {
		c.enough = true // the worker says that it is too large
	}
	return !c.enough
}

// End implements Content.
func (c *content) End() {
	c.m.add(&item{part: c.part, hold: &c.hold, cut: c.enough})
}

// add gives a part to the worker of this message, and starts one where there is
// none.
func (m *Message) add(i *item) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = append(m.waiting, i)
	if m.working {
		return
	}
	m.working = true
	if m.x == nil {
		m.x = newExam(m.e.o)
		m.ctx, m.cancel = context.WithCancel(context.Background())
	}
	go m.work()
}

// work examines what waits, until nothing does.
func (m *Message) work() {
	err := m.e.admit(m.ctx)
	if err == nil {
		begin := time.Now()
		m.x.budget.Start()
		defer func() {
			m.e.o.Metrics.took(time.Since(begin))
			<-m.e.slots
		}()
	}
	for {
		i := m.next(err)
		if i == nil {
			return
		}
		m.examine(i)
	}
}

// admit waits for a slot.
func (e *Examiner) admit(ctx context.Context) error {
	select {
	case e.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case e.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return errNoWorker
	case <-ctx.Done():
		return ctx.Err()
	}
}

// next is the next part; nil where there is none, or none is to be examined any
// more: the worker ends then.
func (m *Message) next(err error) *item {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		err = m.ctx.Err()
	}
	if err != nil && m.err == nil {
		m.err = err
	}
	if m.err == nil && len(m.waiting) > 0 {
		i := m.waiting[0]
		m.waiting = m.waiting[1:]
		return i
	}
	for _, i := range m.waiting {
		i.hold.drop()
	}
	m.waiting, m.working = nil, false
	if err == nil {
		m.x.budget.Stop()
	}
	m.idle.Broadcast()
	return nil
}

// examine looks at one part. A panic is a failure of the check: what made it
// must neither end the process nor pass.
func (m *Message) examine(i *item) {
	defer func() {
		if v := recover(); v != nil {
			slog.Error("attachment: examination panicked", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			m.fail(fmt.Errorf("attachment: panic: %v", v))
		}
	}()
	data, err := i.hold.load()
	if err != nil {
		m.fail(err)
		return
	}
	m.x.part(i, data)
}

func (m *Message) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = err
	}
}

// Report waits for the worker and tells what was found. A State other than OK
// means that not all was looked at.
func (m *Message) Report() filter.Report {
	m.mu.Lock()
	for m.working {
		m.idle.Wait()
	}
	m.mu.Unlock()
	if m.x == nil {
		return filter.Report{State: filter.OK}
	}
	m.cancel()
	r := m.x.report()
	switch {
	case errors.Is(m.err, errNoWorker):
		r.State, r.Cause = filter.Timeout, m.err
	case m.err != nil:
		r.State, r.Cause = filter.Error, m.err
	}
	m.e.o.Metrics.examined(&r)
	return r
}

// Abort ends the examination without a report, and waits until nothing of it
// runs any more.
func (m *Message) Abort() {
	if m.cancel != nil {
		m.cancel()
		m.x.budget.Cancel()
	}
	m.mu.Lock()
	for m.working {
		m.idle.Wait()
	}
	m.mu.Unlock()
}

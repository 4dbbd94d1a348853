package report

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"mailweir/internal/history"
	"mailweir/mail"
)

const (
	// afterMidnight is when a day's reports are made at the earliest, and spread
	// how much later, each gateway at its own moment: the receivers of reports
	// get those of half the world at midnight.
	afterMidnight = 10 * time.Minute
	spread        = 50 * time.Minute
	// retryAfter is when a day is gone through again of which something is left
	// to do, because DNS or the queue failed.
	retryAfter = time.Hour
	// daysBack is how many days may still be reported: RFC 9990 lets a report
	// that could not be sent be sent later, or be dropped.
	daysBack = 2
)

// KeepJournals is how long it is known what was sent, and to whom.
const KeepJournals = 30 * 24 * time.Hour

// Settings are what a reload can change.
type Settings struct {
	Submitter Submitter
	Hidden    Hidden
	Resolver  Resolver
}

// Options of a Reporter.
type Options struct {
	History string // folder of the history
	Keys    history.Keys
	Dir     string // of the journals
	Queue   Queuer
	Sign    func(head, body []byte) []byte // fields to put on top; nil: none
	Logger  *slog.Logger
	Metrics *Metrics
}

// Reporter sends the reports of each day once it is over.
type Reporter struct {
	o     Options
	delay time.Duration // after midnight

	mu       sync.Mutex // one pass over a day at a time
	settings struct {
		sync.Mutex
		now     *Settings // nil: no reports
		changed chan struct{}
	}
}

// New makes a reporter that is switched off until Configure.
func New(o Options) *Reporter {
	if o.Sign == nil {
		o.Sign = func(_, _ []byte) []byte { return nil }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Reporter{o: o, delay: afterMidnight + rand.N(spread)}
	r.settings.changed = make(chan struct{}, 1)
	return r
}

// Configure puts other settings into force; nil switches reports off.
func (r *Reporter) Configure(s *Settings) {
	r.settings.Lock()
	r.settings.now = s
	r.settings.Unlock()
	select {
	case r.settings.changed <- struct{}{}:
	default:
	}
}

func (r *Reporter) current() *Settings {
	r.settings.Lock()
	defer r.settings.Unlock()
	return r.settings.now
}

// Run sends what is due until ctx ends.
func (r *Reporter) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.settings.changed:
		case <-timer.C:
		}
		timer.Reset(r.round(ctx))
	}
}

// round goes through the days that are over, and tells when to come again. Old
// journals go also when no more are made.
func (r *Reporter) round(ctx context.Context) time.Duration {
	now := time.Now()
	if err := expireJournals(r.o.Dir, DayOf(now.Add(-KeepJournals))); err != nil {
		r.o.Logger.Error("old journals of DMARC reports cannot be deleted", "error", err)
	}
	due := DayOf(now).Begin().Add(r.delay) // of yesterday's reports
	if s := r.current(); s == nil {
		return due.AddDate(0, 0, 1).Sub(now)
	}
	if now.Before(due) {
		return due.Sub(now)
	}
	wait := due.AddDate(0, 0, 1).Sub(now)
	for back := daysBack; back > 0; back-- {
		day := DayOf(now.AddDate(0, 0, -back))
		left, err := r.Send(ctx, day, nil, func(Entry) {})
		if err != nil && ctx.Err() == nil {
			r.o.Logger.Error("DMARC reports of a day could not be sent", "day", day, "error", err)
		}
		if left > 0 || err != nil {
			wait = min(wait, retryAfter)
		}
	}
	return wait
}

// ErrOff is returned while reports are switched off.
var ErrOff = errors.New("DMARC reports are switched off: dmarc.reports.email is not set")

// Send makes and queues the reports of a day that is over, those of the given
// domains only when there are any. What has an entry in the journal is not
// sent again. Each new entry is passed to done. left is how many reports wait
// for DNS or the queue.
func (r *Reporter) Send(ctx context.Context, day Day, domains []string, done func(Entry)) (left int, err error) {
	s := r.current()
	if s == nil {
		return 0, ErrOff
	}
	if !time.Now().After(day.End()) {
		return 0, fmt.Errorf("%s is not over: a report covers a whole day (UTC)", day)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	entries, err := ReadJournal(r.o.Dir, day)
	if err != nil || slices.ContainsFunc(entries, func(e Entry) bool { return e.State == Done }) {
		return 0, err
	}
	reports, err := Collect(r.o.History, r.o.Keys, s.Submitter.Host, day, s.Hidden)
	if err != nil {
		return 0, err
	}
	p := &pass{r: r, s: s, day: day, told: done}
	if p.journal, err = openJournal(r.o.Dir, day); err != nil {
		return 0, err
	}
	for _, e := range entries {
		p.known = append(p.known, e.ID)
	}
	err = p.all(ctx, reports, domains)
	return p.left, errors.Join(err, p.journal.close())
}

// pass is one walk over a day's reports.
type pass struct {
	r       *Reporter
	s       *Settings
	day     Day
	journal *journal
	known   []string // IDs that have an entry
	told    func(Entry)
	left    int
}

func (p *pass) all(ctx context.Context, reports []*Report, domains []string) error {
	for _, rep := range reports {
		if slices.Contains(p.known, rep.ID) || len(domains) > 0 && !slices.Contains(domains, rep.Domain) {
			continue
		}
		e, err := p.one(ctx, rep)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			p.left++
			p.r.o.Metrics.failed.Inc()
			p.r.o.Logger.Warn("a DMARC report waits", "day", p.day, "domain", rep.Domain, "error", err)
			continue
		}
		if err := p.journal.add(e); err != nil {
			return err
		}
		p.r.o.Metrics.count(e.State)
		p.told(e)
	}
	if p.left > 0 || len(domains) > 0 {
		return nil
	}
	return p.journal.add(Entry{At: time.Now().UTC(), State: Done})
}

// one sends one report. Its error means that it can be tried again.
func (p *pass) one(ctx context.Context, rep *Report) (Entry, error) {
	e := Entry{At: time.Now().UTC(), State: Skipped, ID: rep.ID, Domain: rep.Domain, Messages: rep.Messages}
	list, problems, err := Destinations(ctx, p.s.Resolver, rep.Domain, rep.Policy)
	if err != nil {
		return e, err
	}
	e.Problems = problems
	s := &p.s.Submitter
	attachment, err := rep.compress(s)
	if err != nil {
		return e, err
	}
	var to []mail.Path
	for _, d := range list {
		if size := int64(len(attachment)) * 4 / 3; d.Max > 0 && size > d.Max {
			e.Problems = append(e.Problems, fmt.Sprintf("%s: takes %d octets, the report has %d", d.Path, d.Max, size))
		} else if !slices.Contains(to, d.Path) {
			to = append(to, d.Path)
		}
	}
	if len(to) == 0 {
		return e, nil
	}
	env := &mail.Envelope{ID: mail.NewID(e.At), Arrived: e.At, ReversePath: mail.Path(s.Email), Low: true}
	for _, path := range to {
		// Nobody is told when a report does not arrive: there will be another.
		env.Recipients = append(env.Recipients, mail.Recipient{Path: path, Notify: mail.NotifyNever})
	}
	head, body := rep.message(s, to, attachment, e.At)
	head = append(p.r.o.Sign(head, body), head...)
	if err := p.r.o.Queue.Generate(env, head, body); err != nil {
		return e, err
	}
	e.State, e.To, e.Queue = Queued, pathTexts(to), env.ID.String()
	return e, nil
}

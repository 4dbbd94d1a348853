package clamav

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"mailweir/filter"
)

// patience is how long a scan may wait, in all, for more of a message while it
// holds one of the scanner's slots. A sender who is slower gets scanned after
// his final dot: a few of them would else keep everybody's mail from the
// scanner.
const patience = 5 * time.Second

// Check scans each message while it arrives.
type Check struct {
	client   *Client
	contents func(tx *filter.Transaction, open func() io.Reader) Contents
	patience time.Duration
	unpack   chan struct{} // holds a place for each message whose archives are unpacked
}

// NewCheck makes the check of the chain. Who makes it also keeps
// Client.Run going, for the breaker and the version in the facts. contents
// takes a message apart whose octets open gives, header section included, as
// often as it is asked; nil leaves that to clamd alone.
func NewCheck(c *Client, contents func(tx *filter.Transaction, open func() io.Reader) Contents) *Check {
	return &Check{client: c, contents: contents, patience: patience, unpack: make(chan struct{}, unpackers)}
}

// Name implements filter.Check.
func (*Check) Name() string { return "clamav" }

// Run implements filter.Check. It pulls the message at its own pace.
func (k *Check) Run(ctx context.Context, tx *filter.Transaction) filter.Report {
	var facts filter.VirusFacts
	contents := k.begin(ctx, tx)
	v, err := k.scan(ctx, func(ctx context.Context) io.Reader { return tx.Follow(ctx) })
	if err == nil && !v.Clean || err != nil && !errors.Is(err, ErrOversize) {
		contents.end()
		return k.report(v, "", err, facts)
	}
	// A message that is too large as a whole may have parts that are infected.
	found := contents.wait()
	facts.Contents = found.scans
	if found.weight() > weightClean {
		v, err = found.v, found.err
	}
	return k.report(v, found.where, err, facts)
}

// errSlow ends a scan whose message does not come.
var errSlow = errors.New("clamav: the message arrives too slowly")

// scan scans what follow reads: at once, or when that takes too long, again
// when the message is complete.
func (k *Check) scan(ctx context.Context, follow func(context.Context) io.Reader) (Verdict, error) {
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slow := &impatience{left: k.patience, cancel: cancel}
	v, err := k.client.Scan(attempt, slow.watch(follow(attempt)))
	if err == nil || !errors.Is(context.Cause(attempt), errSlow) {
		return v, err
	}
	if _, err := io.Copy(io.Discard, follow(ctx)); err != nil {
		return Verdict{}, fmt.Errorf("%w: %w", ErrAborted, err)
	}
	return k.client.Scan(ctx, follow(ctx))
}

// report says what a scan means. Only a verdict is State ok; ErrOversize is one
// too, because it will be the same tomorrow. where is the content that was
// looked at last, "" for the whole message.
func (k *Check) report(v Verdict, where string, err error, facts filter.VirusFacts) filter.Report {
	switch {
	case errors.Is(err, ErrOversize):
		return filter.Report{
			State:   filter.OK,
			Symbols: []filter.Symbol{{Name: filter.SymOversize, Detail: printable(err.Error())}},
			Set:     k.facts(facts),
		}
	case errors.Is(err, ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return filter.Report{State: filter.Timeout, Cause: err}
	case err != nil:
		return filter.Report{State: filter.Error, Cause: err}
	case v.Clean:
		facts.Scanned = true
		return filter.Report{State: filter.OK, Set: k.facts(facts)}
	case v.Signature == "": // the zero Verdict, which says nothing
		return filter.Report{State: filter.Error, Cause: ErrReply}
	}
	name := printable(v.Signature)
	facts.Scanned, facts.Signature, facts.Where = true, name, printable(where)
	return filter.Report{
		State:   filter.OK,
		Symbols: []filter.Symbol{{Name: filter.SymVirus, Detail: name}},
		Set:     k.facts(facts),
	}
}

func (k *Check) facts(v filter.VirusFacts) func(*filter.Facts) {
	v.Version = k.client.DatabaseVersion()
	return func(f *filter.Facts) { f.Virus = v }
}

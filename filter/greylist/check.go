package greylist

import (
	"context"
	"errors"
	"time"

	"mailweir/filter"
)

// Check is the check "greylist". It looks at facts, after the authentication,
// and asks nobody.
type Check struct{ list *List }

// NewCheck makes the check; list is nil where nothing is remembered.
func NewCheck(l *List) *Check { return &Check{l} }

// Name implements filter.Check.
func (*Check) Name() string { return "greylist" }

var (
	errOwn     = errors.New("the client is one of ours")
	errUnknown = errors.New("the client's address is not known")
	errMemory  = errors.New("nothing is remembered here: it depends on whether the sender has come back before")
)

// Run implements filter.Check.
func (c *Check) Run(_ context.Context, tx *filter.Transaction) filter.Report {
	skip := func(why error) filter.Report { return filter.Report{State: filter.Skipped, Cause: why} }
	switch {
	case tx.Client.Own:
		return skip(errOwn)
	case c.list == nil:
		return skip(errMemory)
	}
	s := c.list.senderOf(tx.Facts)
	if s.n == 0 {
		return skip(errUnknown)
	}
	name, wait := c.list.look(s, time.Now())
	symbol := filter.Symbol{Name: name}
	if wait > 0 {
		symbol.Detail = filter.InWords(wait)
	}
	return filter.Report{State: filter.OK, Symbols: []filter.Symbol{symbol}}
}

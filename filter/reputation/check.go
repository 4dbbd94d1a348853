package reputation

import (
	"context"
	"errors"

	"mailweir/filter"
)

// Check is the check "reputation". It looks at facts, after the authentication,
// and asks nobody.
type Check struct{ book *Book }

// NewCheck makes the check.
func NewCheck(b *Book) *Check { return &Check{b} }

// Name implements filter.Check.
func (*Check) Name() string { return "reputation" }

var (
	errOwn     = errors.New("the client is one of ours")
	errNothing = errors.New("too little is known of the sender")
)

// Run implements filter.Check.
func (c *Check) Run(_ context.Context, tx *filter.Transaction) filter.Report {
	if tx.Client.Own {
		return filter.Report{State: filter.Skipped, Cause: errOwn}
	}
	s, known := c.domain(tx.Facts)
	if !known && tx.Client.Addr.IsValid() {
		if n, there := c.book.Network(tx.Client.Addr); there {
			s, known = c.book.Symbol(n, "the client's network")
		}
	}
	if !known {
		return filter.Report{State: filter.Skipped, Cause: errNothing}
	}
	return filter.Report{State: filter.OK, Symbols: []filter.Symbol{s}}
}

func (c *Check) domain(f *filter.Facts) (s filter.Symbol, known bool) {
	domain := filter.AuthenticatedDomain(f)
	if domain == "" {
		return s, false
	}
	n, there := c.book.Domain(domain)
	if !there {
		return s, false
	}
	return c.book.Symbol(n, domain)
}

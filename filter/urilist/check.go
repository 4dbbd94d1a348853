// Package urilist is the check that asks lists of domains (URIBL, RFC 5782) about
// what a message links to. The protocol is in package dnsbl.
package urilist

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mailweir/dnsbl"
	"mailweir/filter"
)

// MaxLookups is how many questions a message may cost, all zones together.
// Cached answers count too: what is asked must not depend on who asked before.
const MaxLookups = 20

// Lister is what the check asks: *dnsbl.Lists.
type Lister interface {
	// LookupNames returns one result for each zone and name, zone by zone.
	LookupNames(ctx context.Context, names []string) []dnsbl.NameResult
	// PrefetchNames begins what LookupNames will ask, and does not wait.
	PrefetchNames(names []string)
}

// Check is the filter.Check of the last phase. It reads Facts.Body, so that it
// belongs into a group behind the one that fills it.
type Check struct {
	lists Lister
	names int      // that may be asked
	own   []string // domains that nobody lists
}

var _ filter.BodyPrefetcher = (*Check)(nil)

// New makes the check for so many zones. own are our own domains, canonical.
func New(l Lister, zones int, own []string) *Check {
	return &Check{lists: l, names: MaxLookups / max(zones, 1), own: own}
}

// Name implements filter.Check.
func (*Check) Name() string { return "uribl" }

var (
	errNoDomains = errors.New("the message links to no domain")
	errOwn       = errors.New("the client is in own_networks")
)

// Run implements filter.Check. One zone counts once, however many of the
// domains it lists; one that did not answer makes the state, and takes nothing
// from what the others said.
func (c *Check) Run(ctx context.Context, tx *filter.Transaction) filter.Report {
	if tx.Client.Own {
		return filter.Report{State: filter.Skipped, Cause: errOwn}
	}
	names := c.pick(tx.Facts.Body.URLs)
	if len(names) == 0 {
		return filter.Report{State: filter.Skipped, Cause: errNoDomains}
	}
	report := filter.Report{State: filter.OK}
	var listings []filter.Listing
	counted := ""
	for _, r := range c.lists.LookupNames(ctx, names) {
		switch r.State {
		case dnsbl.Listed:
			code := r.Code.String()
			listings = append(listings, filter.Listing{Zone: r.Zone, Code: code, Score: r.Score, Domain: r.Domain})
			if r.Zone != counted {
				counted = r.Zone
				report.Symbols = append(report.Symbols,
					filter.Symbol{Name: Symbol(r.Zone), Score: r.Score, Detail: r.Domain + " in " + r.Zone + " " + code})
			}
		case dnsbl.Error, dnsbl.Timeout:
			report.Cause = errors.Join(report.Cause, fmt.Errorf("%s in %s: %w", r.Domain, r.Zone, r.Err))
			if report.State != filter.Error {
				report.State = filter.Timeout
			}
			if r.State == dnsbl.Error {
				report.State = filter.Error
			}
		}
	}
	if listings != nil {
		report.Set = func(f *filter.Facts) { f.Domains = listings }
	}
	return report
}

// PrefetchBody implements filter.BodyPrefetcher.
func (c *Check) PrefetchBody(tx *filter.Transaction, f *filter.Facts) {
	if !tx.Client.Own {
		c.lists.PrefetchNames(c.pick(f.Body.URLs))
	}
}

// pick chooses the registered domains that are asked about, each once. What a
// reader is led to comes first, and before all a link that shows another
// domain than its own; pictures come last: whoever fills a message with other
// people's domains pushes out pictures first.
func (c *Check) pick(urls []filter.URL) []string {
	var names []string
	for _, want := range []func(u *filter.URL) bool{
		func(u *filter.URL) bool { return u.Disguised },
		func(u *filter.URL) bool { return !u.Image },
		func(*filter.URL) bool { return true },
	} {
		for i := range urls {
			u := &urls[i]
			if len(names) == c.names {
				return names
			}
			if u.Domain != "" && want(u) && !slices.Contains(names, u.Domain) && !slices.Contains(c.own, u.Domain) {
				names = append(names, u.Domain)
			}
		}
	}
	return names
}

// Symbol is the name of a listing's symbol: URIBL_DBL_EXAMPLE.
func Symbol(zone string) string {
	name := []byte("URIBL_")
	for _, c := range []byte(zone) {
		switch {
		case 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		default:
			c = '_'
		}
		name = append(name, c)
	}
	return string(name)
}

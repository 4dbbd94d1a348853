// Package dnslist is the check that asks DNS lists about the client while it
// is still talking. The protocol is in package dnsbl.
package dnslist

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"mailweir/dnsbl"
	"mailweir/filter"
)

// Lister is what the check asks: *dnsbl.Lists.
type Lister interface {
	// Lookup returns one result a zone, in the order of the config.
	Lookup(ctx context.Context, addr netip.Addr) []dnsbl.Result
}

// Check is the filter.Check of the connect phase.
type Check struct{ lists Lister }

var _ filter.Check = (*Check)(nil)

// New makes the check.
func New(l Lister) *Check { return &Check{lists: l} }

// Name implements filter.Check.
func (*Check) Name() string { return "dnsbl" }

var (
	errNoAddress = errors.New("the client's address is not known")
	errOwn       = errors.New("the client is in own_networks")
)

// Run implements filter.Check. A zone that did not answer makes the state, and
// takes nothing from what the others said.
func (c *Check) Run(ctx context.Context, tx *filter.Transaction) filter.Report {
	switch {
	case !tx.Client.Addr.IsValid():
		return filter.Report{State: filter.Skipped, Cause: errNoAddress}
	case tx.Client.Own:
		return filter.Report{State: filter.Skipped, Cause: errOwn}
	}
	report := filter.Report{State: filter.OK}
	var listings []filter.Listing
	for _, r := range c.lists.Lookup(ctx, tx.Client.Addr) {
		switch r.State {
		case dnsbl.Listed:
			code := r.Code.String()
			listings = append(listings, filter.Listing{Zone: r.Zone, Code: code, Score: r.Score})
			report.Symbols = append(report.Symbols,
				filter.Symbol{Name: Symbol(r.Zone, r.Score), Score: r.Score, Detail: r.Zone + " " + code})
		case dnsbl.Error, dnsbl.Timeout:
			report.Cause = errors.Join(report.Cause, fmt.Errorf("%s: %w", r.Zone, r.Err))
			report.State = worse(report.State, r.State)
		}
	}
	if listings != nil {
		report.Set = func(f *filter.Facts) { f.Listings = listings }
	}
	return report
}

// worse is Error once any zone had an error, Timeout when some were only late.
func worse(s filter.State, r dnsbl.State) filter.State {
	if s == filter.Error || r == dnsbl.Error {
		return filter.Error
	}
	return filter.Timeout
}

// Symbol is the name of a listing's symbol: DNSBL_ZEN_EXAMPLE, and with DNSWL_
// for a list that welcomes.
func Symbol(zone string, score float64) string {
	name := []byte("DNSBL_")
	if score < 0 {
		name = []byte("DNSWL_")
	}
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

package allow

import (
	"context"
	"errors"

	"mailweir/filter"
)

var (
	errNoEntries = errors.New("no [[allow]] entry of this kind")
	errNoAddress = errors.New("the client's address is not known")
	errNoFrom    = errors.New("the author's domain is not known")
)

// Network is the filter.Check of the connect phase, "allow_network".
type Network struct{ entries []Entry }

// Domain is the filter.Check after dmarc, "allow_domain".
type Domain struct{ entries []Entry }

var (
	_ filter.Check = (*Network)(nil)
	_ filter.Check = (*Domain)(nil)
)

// NewNetwork takes the entries that name a network, and leaves the others.
func NewNetwork(entries []Entry) *Network {
	c := &Network{}
	for _, e := range entries {
		if e.Network.IsValid() {
			e.Reason = printable(e.Reason)
			c.entries = append(c.entries, e)
		}
	}
	return c
}

// NewDomain takes the entries that name a domain, and leaves the others.
func NewDomain(entries []Entry) *Domain {
	c := &Domain{}
	for _, e := range entries {
		if e.Domain != "" {
			e.Domain, e.Reason = canonical(e.Domain), printable(e.Reason)
			c.entries = append(c.entries, e)
		}
	}
	return c
}

// Name implements filter.Check.
func (*Network) Name() string { return "allow_network" }

// Name implements filter.Check.
func (*Domain) Name() string { return "allow_domain" }

// Run implements filter.Check. The first entry in the config's order counts.
func (c *Network) Run(_ context.Context, tx *filter.Transaction) filter.Report {
	switch {
	case len(c.entries) == 0:
		return filter.Report{State: filter.Skipped, Cause: errNoEntries}
	case !tx.Client.Addr.IsValid():
		return filter.Report{State: filter.Skipped, Cause: errNoAddress}
	}
	addr := tx.Client.Addr.Unmap().WithZone("")
	for i := range c.entries {
		if c.entries[i].Network.Contains(addr) {
			return allowed(&c.entries[i])
		}
	}
	return filter.Report{State: filter.OK}
}

// Run implements filter.Check.
func (c *Domain) Run(_ context.Context, tx *filter.Transaction) filter.Report {
	if len(c.entries) == 0 {
		return filter.Report{State: filter.Skipped, Cause: errNoEntries}
	}
	ev := evidence(tx.Facts)
	if ev.From == "" {
		return filter.Report{State: filter.Skipped, Cause: errNoFrom}
	}
	for i := range c.entries {
		if c.entries[i].Matches(ev) {
			return allowed(&c.entries[i])
		}
	}
	return filter.Report{State: filter.OK}
}

func allowed(e *Entry) filter.Report {
	return filter.Report{
		State:   filter.OK,
		Symbols: []filter.Symbol{{Name: filter.SymAllowed, Detail: e.Reason}},
	}
}

// evidence reads the facts of spf, dkim and dmarc. Where there is a DMARC
// record, alignment is what its owner says; where there is none, SPF and DKIM
// speak for themselves. If DMARC could not find out, they do not: the record
// might be strict.
func evidence(f *filter.Facts) Evidence {
	ev := Evidence{From: canonical(f.DMARC.From)}
	for _, a := range f.Header.From {
		// With two authors, one could ride on the other's good name.
		if ev.From != "" && canonical(a.Domain) != ev.From {
			return Evidence{}
		}
	}
	ev.Aligned = f.DMARC.Result == "pass" && (f.DMARC.AlignedSPF != "" || f.DMARC.AlignedDKIM != "")
	if f.DMARC.Result != "none" {
		return ev
	}
	if f.SPF.Result == "pass" {
		ev.Proved = append(ev.Proved, canonical(f.SPF.Domain))
	}
	for _, d := range f.DKIM {
		// A key in test mode proves nothing (RFC 6376 section 3.6.1, t=y).
		if d.Result == "pass" && !d.Testing {
			ev.Proved = append(ev.Proved, canonical(d.Domain))
		}
	}
	return ev
}

package access

import (
	"context"
	"errors"
	"time"

	"mailweir/filter"
	"mailweir/mail"
)

var errNoEntries = errors.New("there is no [[allow]] and no [[block]] entry")

// Check is the filter.Check of the last phase, "access": authentication has its
// results by then.
type Check struct{ lists *Lists }

var _ filter.Check = (*Check)(nil)

// NewCheck looks messages up in lists.
func NewCheck(l *Lists) *Check { return &Check{l} }

// Name implements filter.Check.
func (*Check) Name() string { return "access" }

// Run implements filter.Check. The first entry in the config's order counts; one
// with a scope is followed by others.
func (c *Check) Run(_ context.Context, tx *filter.Transaction) filter.Report {
	if c.lists.empty() {
		return filter.Report{State: filter.Skipped, Cause: errNoEntries}
	}
	r := filter.Report{State: filter.OK}
	ev, now := evidence(tx.Facts), time.Now()
	for _, kind := range []Kind{Allow, Block} {
		for _, e := range c.lists.matches(kind, tx.Client.Addr, ev, now) {
			r.Symbols = append(r.Symbols, e.symbol(kind))
		}
	}
	return r
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
	if len(f.Header.From) == 1 {
		ev.Address = mailbox(f.Header.From[0].Addr)
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

// mailbox is an author's address as entries have it.
func mailbox(addr string) string {
	p, err := mail.ParsePath(addr, true)
	if err != nil || p.Domain() == "" {
		return ""
	}
	return p.Mailbox()
}

// Package greylist is the check "greylist": has the sender of a message come
// back before, when it was told to? The policy (filter.GreylistPolicy) decides
// for which mail that matters; what it decided is remembered afterwards, by
// List.Observe.
//
// A sender is a client network (/24, or /64 of IPv6) together with the domain
// that is authenticated, or that of the reverse-path where none is. What an
// authenticated domain does holds for it from everywhere, too: large senders
// come back from another network.
//
//	new -- deferred --> waiting -- back after Delay, accepted --> known -- Keep without mail --> new
//	                    waiting -- not back within Window --> new
package greylist

import (
	"net/netip"
	"time"

	"mailweir/filter"
	"mailweir/internal/memo"
)

// Most is how many senders are remembered: 10 MB.
const Most = 200_000

// Options are the times of greylisting.
type Options struct {
	Delay  time.Duration // that somebody new has to wait
	Window time.Duration // within which it has to be back
	Keep   time.Duration // for which a sender that sends nothing stays known
}

// List is what is known of senders. It is safe for concurrent use.
type List struct {
	table *memo.Table
	o     Options
}

// New makes a list on a table: of its entries A is when the sender was first
// deferred, B is 1 for a known one. It sets
// for how long the table keeps them.
func New(t *memo.Table, o Options) *List {
	t.Keep(max(o.Keep, o.Window))
	return &List{t, o}
}

const known = 1

// sender is who sent a message: one key, or two where a domain is
// authenticated.
type sender struct {
	keys [2]memo.Key
	n    int
}

// senderOf is the zero sender where the client's address is not known.
func (l *List) senderOf(f *filter.Facts) (s sender) {
	addr, err := netip.ParseAddr(f.Client.Address)
	if err != nil {
		return s
	}
	domain := filter.AuthenticatedDomain(f)
	proven := domain != ""
	if !proven {
		domain = f.Envelope.FromDomain
	}
	var b [128]byte
	name := append(append(filter.ClientNetwork(addr).AppendTo(b[:0]), ' '), domain...)
	s.keys[0], s.n = l.table.Key("pair", string(name)), 1
	if proven {
		s.keys[1], s.n = domainKey(l.table, domain), 2
	}
	return s
}

func domainKey(t *memo.Table, domain string) memo.Key { return t.Key("domain", domain) }

// ForgetDomain drops from a list's table that an authenticated domain is known from
// everywhere, and reports whether it was. Where it has been before it still is: the
// networks of a domain cannot be listed.
func ForgetDomain(t *memo.Table, domain string) bool { return t.Forget(domainKey(t, domain)) }

// look gives the symbol of a sender, and how long it has to wait.
func (l *List) look(s sender, now time.Time) (symbol string, wait time.Duration) {
	o := &l.o
	first := time.Time{}
	for _, k := range s.keys[:s.n] {
		e, there := l.table.Get(k)
		switch {
		case !there:
		case e.B == known:
			if now.Sub(time.Unix(int64(e.At), 0)) <= o.Keep {
				return filter.SymGreylistKnown, 0
			}
		default:
			at := time.Unix(int64(e.A), 0)
			if now.Sub(at) <= o.Window && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
	}
	switch {
	case first.IsZero():
		return filter.SymGreylistNew, o.Delay
	case now.Sub(first) < o.Delay:
		return filter.SymGreylistWait, o.Delay - now.Sub(first)
	}
	return filter.SymGreylistRetried, 0
}

// Observe implements filter.Observer.
func (l *List) Observe(j *filter.Judgement, d *filter.Decision) {
	symbol := found(j.Facts.Symbols)
	if symbol == "" { // not looked at: own clients
		return
	}
	s := l.senderOf(j.Facts)
	switch {
	case d.Verdict.Reason == filter.ReasonGreylist:
		if symbol == filter.SymGreylistNew {
			l.deferred(s)
		}
	case filter.Graver(d.Verdict.Action, filter.Strip):
	case symbol == filter.SymGreylistRetried, symbol == filter.SymGreylistKnown:
		l.accepted(s)
	case s.n > 1 && d.Verdict.Action == filter.Accept: // proven, and its mail is good
		l.accepted(s)
	}
}

func (l *List) deferred(s sender) {
	for _, k := range s.keys[:s.n] {
		l.table.Update(k, func(_ memo.Entry, _ bool, now uint32) memo.Entry { return memo.Entry{A: now} })
	}
}

// fresh is how long a known sender is not noted again: most mail changes
// nothing.
const fresh = time.Hour

func (l *List) accepted(s sender) {
	for _, k := range s.keys[:s.n] {
		if e, there := l.table.Get(k); there && e.B == known && time.Since(time.Unix(int64(e.At), 0)) < fresh {
			continue
		}
		l.table.Update(k, func(e memo.Entry, _ bool, _ uint32) memo.Entry { e.B = known; return e })
	}
}

func found(symbols []filter.Symbol) string {
	for i := range symbols {
		switch name := symbols[i].Name; name {
		case filter.SymGreylistNew, filter.SymGreylistWait, filter.SymGreylistRetried, filter.SymGreylistKnown:
			return name
		}
	}
	return ""
}

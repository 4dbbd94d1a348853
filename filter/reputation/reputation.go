// Package reputation is the check "reputation": what has the sender of a
// message sent before? A sender is a domain that is authenticated
// (filter.AuthenticatedDomain), and the client's network; the domain is asked
// first, since it is the one who is answerable.
//
// Of each, messages that were good and messages that were bad are counted. Old
// ones count less, by half-life, and there is no room for more than a hundred,
// so that a sender who changes is known as what it has become. What a message
// is counted as is decided by everything but reputation itself: an opinion must
// not feed on itself.
package reputation

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"mailweir/filter"
	"mailweir/internal/memo"
)

const (
	// Most is how many senders are remembered: 10 MB.
	Most = 200_000
	// saturation is how many messages the counts of a sender may come to.
	saturation = 100
	// halves is after how many half-lives without mail a sender is forgotten.
	halves = 6
)

// The symbols.
const (
	SymGood = "REPUTATION_GOOD"
	SymBad  = "REPUTATION_BAD"
)

// Options say what reputation counts for.
type Options struct {
	Good, Bad float64 // the most that each symbol can score: Good <= 0 <= Bad
	Minimum   float64 // messages before there is an opinion
	HalfLife  time.Duration
}

// Keep is how long a sender without mail is remembered.
func (o *Options) Keep() time.Duration { return halves * o.HalfLife }

// Book has the counts. It is safe for concurrent use.
type Book struct {
	table *memo.Table
	o     Options
}

// New makes a book on a table: of its entries A and B are the good and the bad
// messages, float32. It sets for how long the table keeps them.
func New(t *memo.Table, o Options) *Book {
	t.Keep(o.Keep())
	return &Book{t, o}
}

// Counts are the messages of a sender as they count now.
type Counts struct {
	Good float64   `json:"good"`
	Bad  float64   `json:"bad"`
	Last time.Time `json:"last"`
}

// kinds of keys.
const (
	kindDomain  = "domain"
	kindNetwork = "network"
)

// Domain gives the counts of a registered domain.
func (b *Book) Domain(name string) (Counts, bool) { return b.counts(b.table.Key(kindDomain, name)) }

// Network gives the counts of a client's network.
func (b *Book) Network(a netip.Addr) (Counts, bool) {
	return b.counts(b.networkKey(a))
}

func (b *Book) networkKey(a netip.Addr) memo.Key { return networkKey(b.table, a) }

func networkKey(t *memo.Table, a netip.Addr) memo.Key {
	var buf [64]byte
	return t.Key(kindNetwork, string(filter.ClientNetwork(a).AppendTo(buf[:0])))
}

// ForgetDomain drops the counts of a registered domain from a book's table, and
// reports whether there were any.
func ForgetDomain(t *memo.Table, name string) bool { return t.Forget(t.Key(kindDomain, name)) }

// ForgetNetwork does so for a client's network.
func ForgetNetwork(t *memo.Table, a netip.Addr) bool { return t.Forget(networkKey(t, a)) }

func (b *Book) counts(k memo.Key) (Counts, bool) {
	e, ok := b.table.Get(k)
	return b.decayed(e, time.Now()), ok
}

func (b *Book) decayed(e memo.Entry, now time.Time) Counts {
	last := time.Unix(int64(e.At), 0)
	left := math.Exp2(-max(0, now.Sub(last).Seconds()) / b.o.HalfLife.Seconds())
	return Counts{float64(math.Float32frombits(e.A)) * left, float64(math.Float32frombits(e.B)) * left, last}
}

// Symbol is what counts say: none where they say too little. Its score grows
// with how sure they are, up to the limits of the options.
func (b *Book) Symbol(c Counts, who string) (s filter.Symbol, ok bool) {
	n := c.Good + c.Bad
	if n < b.o.Minimum-0.5 { // they have decayed by seconds
		return s, false
	}
	share, sure := c.Bad/n, n/(n+b.o.Minimum)
	switch {
	case share >= 0.7:
		s = filter.Symbol{Name: SymBad, Score: b.o.Bad * sure * (2*share - 1)}
	case share <= 0.05:
		s = filter.Symbol{Name: SymGood, Score: b.o.Good * sure * (1 - 2*share)}
	default:
		return s, false
	}
	s.Score = math.Round(s.Score*10) / 10
	s.Detail = fmt.Sprintf("%s: %.0f%% bad of %.0f messages", who, 100*share, n)
	return s, s.Score != 0
}

// Observe implements filter.Observer: the message counts for its sender.
func (b *Book) Observe(j *filter.Judgement, d *filter.Decision) {
	f := j.Facts
	good, bad := lesson(j, d)
	if f.Client.Own || !good && !bad {
		return
	}
	if domain := filter.AuthenticatedDomain(f); domain != "" {
		b.count(b.table.Key(kindDomain, domain), bad)
	}
	if a, err := netip.ParseAddr(f.Client.Address); err == nil {
		b.count(b.networkKey(a), bad)
	}
}

// lesson tells what a message is without what reputation says of it. One that
// is deferred comes again, an entry of [[allow]] says nothing about the mail, and
// what is near the threshold is neither.
func lesson(j *filter.Judgement, d *filter.Decision) (good, bad bool) {
	v := &d.Verdict
	if v.Action == filter.Defer || v.Reason == filter.ReasonAllowed {
		return false, false
	}
	if v.Reason == filter.ReasonVirus {
		return false, true
	}
	score := 0.0
	for i := range j.Symbols {
		if s := &j.Symbols[i]; !strings.HasPrefix(s.Name, "REPUTATION_") {
			score += s.Score
		}
	}
	const epsilon = 0.0005 // scores are thousandths
	return v.Action == filter.Accept && score <= v.Required/2, score+epsilon >= v.Required
}

func (b *Book) count(k memo.Key, bad bool) {
	b.table.Update(k, func(e memo.Entry, _ bool, now uint32) memo.Entry {
		c := b.decayed(e, time.Unix(int64(now), 0))
		if bad {
			c.Bad++
		} else {
			c.Good++
		}
		if n := c.Good + c.Bad; n > saturation {
			c.Good, c.Bad = c.Good*saturation/n, c.Bad*saturation/n
		}
		return memo.Entry{A: math.Float32bits(float32(c.Good)), B: math.Float32bits(float32(c.Bad))}
	})
}

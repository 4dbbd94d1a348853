package filter

import (
	"cmp"
	"math"
	"slices"
)

// Pivot is a change of one thing that would flip a verdict: a finding that is
// taken away, or, without one, a score that is Change higher or lower.
type Pivot struct {
	Symbol string  `json:"symbol,omitempty"`
	Change float64 `json:"change"` // of the score
	Action Action  `json:"action"` // what it would be then
}

// Pivots are the findings that decide a verdict by themselves, the one with the
// smallest part in the score first, then the smallest changes of the score that
// would make the verdict milder and graver. It is pure, as Decide is.
func Pivots(symbols []Symbol, p *DomainPolicy) []Pivot {
	v := Decide(symbols, p)
	var found []Pivot
	rest := make([]Symbol, 0, len(symbols))
	for k, s := range symbols {
		rest = append(append(rest[:0], symbols[:k]...), symbols[k+1:]...)
		if w := Decide(rest, p); w.Action != v.Action {
			found = append(found, Pivot{s.Name, 0 - s.Score, w.Action})
		}
	}
	slices.SortStableFunc(found, func(a, b Pivot) int {
		return cmp.Compare(math.Abs(a.Change), math.Abs(b.Change))
	})
	return append(found, margins(symbols, p, v)...)
}

// margins are the distances to the nearest thresholds, where crossing them
// changes anything: a virus is one at any score.
func margins(symbols []Symbol, p *DomainPolicy, v Verdict) (found []Pivot) {
	var down, up *Pivot
	for _, t := range []float64{p.Tag, p.Quarantine, p.Reject, p.Greylist.From, p.Greylist.To} {
		if t <= 0 {
			continue
		}
		change := float64(milli(t)-milli(v.Score)) / 1000 // reaches t
		if change <= 0 {
			change -= 0.001 // falls below it
		}
		moved := append(slices.Clip(symbols), Symbol{Score: change})
		w := Decide(moved, p)
		if w.Action == v.Action {
			continue
		}
		pivot := &Pivot{Change: change, Action: w.Action}
		switch {
		case change < 0 && (down == nil || change > down.Change):
			down = pivot
		case change > 0 && (up == nil || change < up.Change):
			up = pivot
		}
	}
	for _, m := range []*Pivot{down, up} {
		if m != nil {
			found = append(found, *m)
		}
	}
	return found
}

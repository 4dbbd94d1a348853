package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"mailweir/filter"
	"mailweir/filter/rules"
	"mailweir/mail"
)

// hitJSON is what one symbol did.
type hitJSON struct {
	Symbol string  `json:"symbol"`
	Score  float64 `json:"score"` // in the set in force
	Shadow bool    `json:"shadow"`
	Hits   int     `json:"hits"`
	Sole   int     `json:"sole_decider"` // without it another action
	CostNS int64   `json:"cost_ns"`      // of its condition, for one message; 0 for what has none
}

// hitCounter weighs past mail by the rules in force and counts.
type hitCounter struct {
	set      *rules.Rules
	policies policies
	hits     map[string]*hitJSON
	verdicts int
	sample   []*filter.Facts // to measure on
}

// maxSample bounds what is kept to measure the cost on.
const maxSample = 200

func hitsOfRules(_ context.Context, std stdio, a *rulesArgs) (int, error) {
	if a.config == "" || len(a.rest) > 0 {
		return 0, errUsage
	}
	set, cfg, err := a.set(nil)
	if err != nil {
		return exitError, err
	}
	h := &hitCounter{set: set, policies: policiesOf(cfg), hits: map[string]*hitJSON{}}
	for _, s := range set.Symbols() {
		h.hits[s.Name] = &hitJSON{Symbol: s.Name, Score: s.Score, Shadow: s.Shadow}
	}
	if _, err := eachVerdict(cfg, a, h.count); err != nil {
		return exitError, err
	}
	for name, took := range set.Cost(h.sample) {
		h.hits[name].CostNS = took.Nanoseconds()
	}
	if !a.json {
		fmt.Fprintf(std.out, "%d messages since %s, set %s\n   score      hits  sole decider  cost/message  symbol\n",
			h.verdicts, time.Now().Add(-time.Duration(a.since)).UTC().Format(time.DateTime), set.Hash())
	}
	for _, s := range h.sorted() {
		if a.json {
			err = json.NewEncoder(std.out).Encode(s)
		} else {
			_, err = fmt.Fprintf(std.out, "%8.2f%s %8d  %12d  %9.1f µs  %s\n", s.Score, shadowMark(s.Shadow), s.Hits, s.Sole, float64(s.CostNS)/1000, s.Symbol)
		}
		if err != nil {
			return exitError, err
		}
	}
	return exitOK, nil
}

func (h *hitCounter) count(v *pastVerdict) error {
	h.verdicts++
	if len(h.sample) < maxSample {
		h.sample = append(h.sample, v.Facts)
	}
	symbols := h.set.Eval(v.Facts)
	sole := map[string]bool{}
	for _, rcpt := range v.Accepted {
		p := h.policies.of(mail.Path(rcpt.Address))
		if p == nil || !v.concerns(rcpt.Address) {
			continue
		}
		for _, pivot := range filter.Pivots(symbols, p) {
			sole[pivot.Symbol] = true
		}
	}
	for _, s := range symbols {
		hit := h.hits[s.Name]
		if hit == nil { // of a zone, or a group's cap
			hit = &hitJSON{Symbol: s.Name}
			h.hits[s.Name] = hit
		}
		hit.Hits++
		if sole[s.Name] {
			hit.Sole++
		}
	}
	return nil
}

// sorted has the most frequent first; what never hit comes last, and shows that
// it did not.
func (h *hitCounter) sorted() []*hitJSON {
	list := make([]*hitJSON, 0, len(h.hits))
	for _, hit := range h.hits {
		list = append(list, hit)
	}
	slices.SortFunc(list, func(a, b *hitJSON) int {
		return cmp.Or(cmp.Compare(b.Hits, a.Hits), cmp.Compare(a.Symbol, b.Symbol))
	})
	return list
}

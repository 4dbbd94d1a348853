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
	Acted  int     `json:"acted"`        // recipients whose mail it edited, sent elsewhere or answered
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
		fmt.Fprintf(std.out, "%d messages since %s, set %s\n   score      hits  sole decider     acted  cost/message  symbol\n",
			h.verdicts, time.Now().Add(-time.Duration(a.since)).UTC().Format(time.DateTime), set.Hash())
	}
	for _, s := range h.sorted() {
		if a.json {
			err = json.NewEncoder(std.out).Encode(s)
		} else {
			_, err = fmt.Fprintf(std.out, "%8.2f%s %8d  %12d  %8d  %9.1f µs  %s\n", s.Score, shadowMark(s.Shadow), s.Hits, s.Sole, s.Acted, float64(s.CostNS)/1000, s.Symbol)
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
	j := filter.Weigh(h.set, v.Facts, v.recipients())
	found, sole := map[string]bool{}, map[string]bool{}
	for k, rcpt := range v.Accepted {
		p := h.policies.of(mail.Path(rcpt.Address))
		if p == nil || !v.concerns(rcpt.Address) {
			continue
		}
		for _, s := range j.For(k) {
			found[s.Name] = true
		}
		for _, pivot := range filter.Pivots(j.For(k), p) {
			sole[pivot.Symbol] = true
		}
		h.did(filter.Decide(j.For(k), p))
	}
	for name := range found {
		h.of(name).Hits++
	}
	for name := range sole {
		if found[name] {
			h.of(name).Sole++
		}
	}
	return nil
}

// of is the account of a symbol; that of a zone, or of a group's cap, is made.
func (h *hitCounter) of(name string) *hitJSON {
	hit := h.hits[name]
	if hit == nil {
		hit = &hitJSON{Symbol: name}
		h.hits[name] = hit
	}
	return hit
}

// did counts the recipients for whom rules do something to a message that is
// accepted.
func (h *hitCounter) did(v filter.Verdict) {
	for _, a := range v.Acts {
		if len(wanted(filter.Verdict{Action: v.Action, Acts: []filter.RuleAct{a}})) > 0 {
			h.of(a.Symbol).Acted++
		}
	}
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

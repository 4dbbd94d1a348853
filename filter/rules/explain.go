package rules

import (
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"

	"mailweir/filter"
)

// Info says where a symbol comes from; false for one that this set does not
// know, such as that of a DNSBL zone, which brings its own score.
func (r *Rules) Info(symbol string) (SymbolInfo, bool) {
	k := slices.IndexFunc(r.symbols, func(s SymbolInfo) bool { return s.Name == symbol })
	if k < 0 {
		return SymbolInfo{}, false
	}
	return r.symbols[k], true
}

// maxEvidence bounds the text of one fact in Evidence, in octets.
const maxEvidence = 60

// Evidence is what a rule saw: the facts in its condition with their values.
// It is empty for what is no rule: a check says itself what it saw, and the
// text that a pattern matched is not kept.
func (r *Rules) Evidence(f *filter.Facts, symbol string) []string {
	k := slices.IndexFunc(r.rules, func(r rule) bool { return r.Symbol == symbol })
	if k < 0 {
		return nil
	}
	view := newView(f, r.own)
	var out []string
	for i := range facts {
		if slices.Contains(r.rules[k].facts, facts[i].name) {
			out = append(out, facts[i].name+" = "+shown(facts[i].get(view)))
		}
	}
	return out
}

func shown(v any) string {
	s, ok := v.(string)
	if !ok {
		return fmt.Sprint(v)
	}
	if len(s) > maxEvidence {
		cut := maxEvidence
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "..."
	}
	return strconv.Quote(s)
}

// factNames collects the facts that a condition looks at.
type factNames struct{ names []string }

// Visit implements ast.Visitor.
func (v *factNames) Visit(node *ast.Node) {
	n, ok := (*node).(*ast.IdentifierNode)
	if ok && !slices.Contains(v.names, n.Value) && slices.ContainsFunc(facts[:], func(f fact) bool { return f.name == n.Value }) {
		v.names = append(v.names, n.Value)
	}
}

// costRounds is how often a condition is run on each message to measure it.
const costRounds = 5

// Cost measures what the condition of each rule takes for one message, on the
// average over the sample; what is no rule has no condition of its own.
func (r *Rules) Cost(sample []*filter.Facts) map[string]time.Duration {
	cost := make(map[string]time.Duration, len(r.rules))
	if len(sample) == 0 {
		return cost
	}
	e := newEvaluation()
	for _, f := range sample {
		e.begin(r, f)
		for _, s := range f.Symbols {
			e.symbols[s.Name] = true
		}
		for i := range r.rules {
			begin := time.Now()
			for range costRounds {
				e.vm.Run(r.rules[i].program, e.env)
			}
			cost[r.rules[i].Symbol] += time.Since(begin)
		}
		clear(e.symbols)
		clear(e.patterns)
	}
	for name := range cost {
		cost[name] /= time.Duration(costRounds * len(sample))
	}
	return cost
}

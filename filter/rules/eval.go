package rules

import (
	"math"
	"slices"
	"sync"

	"github.com/expr-lang/expr/vm"

	"mailweir/filter"
	"mailweir/internal/looks"
	"mailweir/internal/pattern"
	"mailweir/mail"
)

// For is the set for a gateway with these domains: what looks like one of them is
// a lookalike, for whomever a message is.
func (r *Rules) For(domains []string) *Rules {
	labels := make([]string, len(domains))
	for k, d := range domains {
		labels[k] = ownName(filter.Organization(d))
	}
	set := *r
	set.own = looks.NewIndex(labels)
	return &set
}

// Hash names the compiled set: the same for files that say the same.
func (r *Rules) Hash() string { return r.hash }

// Patterns are the text patterns, for the content check.
func (r *Rules) Patterns() *pattern.Set { return r.set }

// Symbols are all symbols that this set scores, in the files' order.
func (r *Rules) Symbols() []SymbolInfo { return slices.Clone(r.symbols) }

// NextHops are those that rules send messages to.
func (r *Rules) NextHops() (list []mail.Destination) {
	for i := range r.rules {
		if a := r.rules[i].Act; a != nil && a.NextHop != "" && !slices.Contains(list, a.NextHop) {
			list = append(list, a.NextHop)
		}
	}
	return list
}

// Eval weighs: the symbols of the checks, with their weight from [scores]
// unless they carry a score of their own; then scored patterns, then rules, in
// the files' order; then what holds groups at their caps. The sum of all scores
// is the message's score, for recipients of a class. Eval looks at f alone and
// changes nothing.
func (r *Rules) Eval(f *filter.Facts, class string) []filter.Symbol {
	e := evaluations.Get().(*evaluation)
	e.begin(r, f)
	scoped := len(r.scopes) // those of facts follow those of rules
	for _, s := range f.Symbols {
		if s.Scope != nil {
			if scoped++; !filter.InClass(class, scoped-1) {
				continue
			}
		}
		if s.Score == 0 {
			s.Score = r.scores[s.Name]
		}
		e.add(s)
	}
	for i := range r.patterns {
		if p := &r.patterns[i]; e.pattern(p.Name) {
			e.add(weigh(p.Name, p.Score, p.Shadow, nil))
		}
	}
	// Without header facts the content was not read (switched off, or the
	// check failed): rules would hit on what they do not see.
	if len(f.Header.Names) > 0 {
		for i := range r.rules {
			if n := r.rules[i].scope; n < 0 || filter.InClass(class, n) {
				e.rule(&r.rules[i])
			}
		}
	}
	e.caps()
	out := slices.Clone(e.out)
	e.end()
	return out
}

// Class implements filter.Scorer.
func (r *Rules) Class(f *filter.Facts, rcpt mail.Path) string {
	reported := f.Scopes()
	if len(r.scopes) == 0 && reported == nil {
		return ""
	}
	return filter.Class(rcpt, append(slices.Clip(r.scopes), reported...)...)
}

// evaluation is the state of one Eval. The map is the environment of all
// expressions, with functions that look at this evaluation; it is kept from
// one message to the next.
type evaluation struct {
	vm       vm.VM
	env      map[string]any
	rules    *Rules
	facts    *filter.Facts
	out      []filter.Symbol
	symbols  map[string]bool
	patterns map[string]bool
	sums     []float64 // by group
}

var evaluations = sync.Pool{New: func() any { return newEvaluation() }}

func newEvaluation() *evaluation {
	e := &evaluation{symbols: make(map[string]bool), patterns: make(map[string]bool), facts: &filter.Facts{}}
	e.env = make(map[string]any, len(facts)+8)
	e.env["has"] = func(name string) bool { return e.symbols[name] }
	e.env["pattern"] = e.pattern
	e.env["header"] = func(name string) string { return e.facts.Header.Values[name] }
	e.env["has_header"] = func(name string) bool { return slices.Contains(e.facts.Header.Names, name) }
	e.env["header_count"] = e.headerCount
	e.env["ambiguity"] = func(name string) bool { return slices.Contains(e.facts.Body.Ambiguities, name) }
	e.env["has_type"] = e.hasType
	e.env["freemail"] = func(domain string) bool { return freemail[domain] }
	return e
}

// sample is an environment to check types against.
func sample() map[string]any {
	e := newEvaluation()
	e.fill(&filter.Facts{}, nil)
	return e.env
}

func (e *evaluation) fill(f *filter.Facts, own *looks.Index) {
	v := newView(f, own)
	for i := range facts {
		e.env[facts[i].name] = facts[i].get(v)
	}
}

func (e *evaluation) begin(r *Rules, f *filter.Facts) {
	e.rules, e.facts = r, f
	e.fill(f, r.own)
	for _, name := range f.Body.Patterns {
		e.patterns[name] = true
	}
	e.sums = append(e.sums[:0], make([]float64, len(r.groups))...)
}

func (e *evaluation) end() {
	clear(e.symbols)
	clear(e.patterns)
	clear(e.out)
	e.out, e.rules, e.facts = e.out[:0], nil, nil
	evaluations.Put(e)
}

func (e *evaluation) add(s filter.Symbol) {
	e.out = append(e.out, s)
	e.symbols[s.Name] = true
	if g, ok := e.rules.groupOf[s.Name]; ok && s.Score > 0 {
		e.sums[g] += s.Score
	}
}

// SymRuleError reports a rule whose condition failed to run: types are checked
// when rules are loaded, so that only an index out of range can.
const SymRuleError = "RULE_ERROR"

func (e *evaluation) rule(r *rule) {
	result, err := e.vm.Run(r.program, e.env)
	hit, ok := result.(bool)
	switch {
	case err != nil || !ok:
		e.add(filter.Symbol{Name: SymRuleError, Detail: r.Symbol})
	case hit && !e.strips(r.Act): // there is nothing that it is about
	case hit:
		e.add(weigh(r.Symbol, r.Score, r.Shadow, r.Act))
	}
}

// strips tells whether a message has what a rule takes out, if that is what the
// rule is for.
func (e *evaluation) strips(a *filter.Act) bool {
	if a == nil || len(a.Strip) == 0 {
		return true
	}
	return slices.ContainsFunc(e.facts.Attachments, func(f filter.AttachmentFacts) bool { return f.Named(a.Strip) })
}

// weigh is the symbol of a rule. In shadow it counts nothing.
func weigh(name string, score float64, shadow bool, act *filter.Act) filter.Symbol {
	if shadow {
		return filter.Symbol{Name: name, Would: score, WouldDo: act}
	}
	return filter.Symbol{Name: name, Score: score, Do: act}
}

// caps adds what holds each group at its cap, so that the sum which is shown
// is the sum which is used.
func (e *evaluation) caps() {
	for i, g := range e.rules.groups {
		if excess := e.sums[i] - g.Cap; excess > 1e-9 {
			e.out = append(e.out, filter.Symbol{Name: g.symbol, Score: -math.Round(excess*1e6) / 1e6})
		}
	}
}

func (e *evaluation) pattern(name string) bool { return e.patterns[name] }

func (e *evaluation) headerCount(name string) int {
	n := 0
	for _, s := range e.facts.Header.Names {
		if s == name {
			n++
		}
	}
	return n
}

func (e *evaluation) hasType(name string) bool {
	for i := range e.facts.Body.Parts {
		if e.facts.Body.Parts[i].Type == name {
			return true
		}
	}
	return false
}

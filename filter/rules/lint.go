package rules

import (
	"fmt"
	"slices"

	"github.com/expr-lang/expr/ast"
)

// Gateway is what Lint has to know of the one that the rules are for.
type Gateway struct {
	Tag float64 // the lowest threshold
	// Domains are those that mail is accepted for, canonical, and whether each is
	// in tag mode. nil: nothing is said about them.
	Domains map[string]bool
	// Outbound tells that mail for other domains has a route.
	Outbound bool
}

// Lint finds what compiles and is still a mistake most of the time. Rules in
// shadow are looked at as if they were in force.
func (r *Rules) Lint(g Gateway) []Fault {
	l := linter{Gateway: g, r: r}
	for i := range r.symbols {
		s := &r.symbols[i]
		if _, reported := r.scores[s.Name]; reported {
			l.weight(s.Name, s.Score, place{s.File, s.Line}, slices.Contains(provenSymbols, s.Name))
		}
	}
	for i := range r.patterns {
		p := &r.patterns[i]
		l.weight(p.Name, p.Score, p.place, false)
	}
	for i := range r.rules {
		s := &r.rules[i]
		l.weight(s.Symbol, s.Score, s.place, prover{r.rules[:i]}.proves(s.program.Node(), true))
		l.never(s)
		if b, ok := s.program.Node().(*ast.BoolNode); ok && (!b.Value || s.Act == nil) {
			l.add(s.place, "%s: the condition is %v for every message", s.Symbol, b.Value)
		}
		l.scope(s)
		l.act(s)
	}
	l.shadowed()
	return l.found
}

type linter struct {
	Gateway
	r     *Rules
	found []Fault
}

func (l *linter) add(at place, format string, args ...any) {
	l.found = append(l.found, Fault{at.File, at.Line, fmt.Sprintf(format, args...)})
}

// testSymbol is meant to decide alone: it is there to try that out.
const testSymbol = "GTUBE"

// weight looks at a score by itself, as far as its group lets it count. What
// lowers it by as much as a decision must look at something that a sender cannot
// write himself.
func (l *linter) weight(symbol string, score float64, at place, proven bool) {
	counts := score
	if g, ok := l.r.groupOf[symbol]; ok {
		counts = min(score, l.r.groups[g].Cap)
	}
	switch {
	case counts >= l.Tag && symbol != testSymbol:
		l.add(at, "%s: a score of %.2f reaches the threshold of %.2f alone", symbol, score, l.Tag)
	case score <= -l.Tag/2 && !proven:
		l.add(at, "%s: a score of %.2f for what any sender can write: make it depend on dmarc, dkim, spf or the client, or use [[allow]]", symbol, score)
	}
}

type visit func(ast.Node)

// Visit implements ast.Visitor.
func (v visit) Visit(node *ast.Node) { v(*node) }

// Unseen are the patterns of r that old does not look for in the same way. What
// they would have matched in mail that old has judged is not known: facts say
// which patterns matched, and hold no text.
func (r *Rules) Unseen(old *Rules) []string {
	var names []string
	for _, p := range r.texts {
		same := slices.ContainsFunc(old.texts, func(o patternSource) bool {
			return o.Name == p.Name && o.In == p.In && o.Regex == p.Regex && slices.Equal(o.Any, p.Any)
		})
		if !same {
			names = append(names, p.Name)
		}
	}
	return names
}

package main

import (
	"fmt"
	"io"
	"strings"

	"mailweir/filter"
	"mailweir/filter/rules"
	"mailweir/internal/config"
	"mailweir/mail"
	"mailweir/smtpd"
)

// originJSON is where a symbol comes from, and what it went by.
type originJSON struct {
	Symbol   string   `json:"symbol"`
	Rule     string   `json:"rule"` // file:line; "" when no rules file scores it
	Describe string   `json:"describe"`
	Evidence []string `json:"evidence"` // the facts that the rule's condition looked at
}

// origins are those of symbols, beside them. A nil set knows none.
func origins(set *rules.Rules, f *filter.Facts, symbols []filter.Symbol) []originJSON {
	list := make([]originJSON, len(symbols))
	for k, s := range symbols {
		list[k] = originJSON{Symbol: s.Name, Evidence: []string{}}
		if set == nil {
			continue
		}
		if info, ok := set.Info(s.Name); ok {
			list[k].Rule, list[k].Describe = fmt.Sprintf("%s:%d", info.File, info.Line), info.Describe
			list[k].Evidence = append(list[k].Evidence, set.Evidence(f, s.Name)...)
		}
	}
	return list
}

// printSymbol has a second line for what weighs anything.
func printSymbol(w io.Writer, indent string, s filter.Symbol, o originJSON) {
	detail := s.Detail
	if s.Shadow() {
		would := fmt.Sprintf("would be %.2f", s.Would)
		if s.WouldDo != nil {
			would = strings.Join(append([]string{would}, s.WouldDo.Wants()...), ", ")
		}
		detail = strings.TrimSpace("(in shadow, " + would + ") " + detail)
	}
	fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%s%7.2f  %-28s %s", indent, s.Score, s.Name, detail), " "))
	if o.Rule == "" || s.Score == 0 && s.Do == nil && !s.Shadow() {
		return
	}
	line := o.Rule
	if o.Describe != "" {
		line += "  " + o.Describe
	}
	if s.Do != nil {
		line += "  does: " + strings.Join(s.Do.Wants(), ", ")
	}
	if len(o.Evidence) > 0 {
		line += "  [" + strings.Join(o.Evidence, ", ") + "]"
	}
	fmt.Fprintf(w, "%s         %s\n", indent, line)
}

// maxPivots bounds how many are told: the smallest changes come first.
const maxPivots = 4

func printPivots(w io.Writer, indent string, list []filter.Pivot) {
	for _, p := range list[:min(len(list), maxPivots)] {
		switch {
		case p.Symbol != "":
			fmt.Fprintf(w, "%s         without %s it would be %s\n", indent, p.Symbol, p.Action)
		case p.Change < 0:
			fmt.Fprintf(w, "%s         with a score lower by %.2f it would be %s\n", indent, -p.Change, p.Action)
		default:
			fmt.Fprintf(w, "%s         with a score higher by %.2f it would be %s\n", indent, p.Change, p.Action)
		}
	}
}

// explainer knows the rules and policies that are in force now.
type explainer struct {
	rules    *rules.Rules // nil when they cannot be read
	policies policies
}

// newExplainer does without rules that are wrong: what became of a message can
// be told all the same.
func newExplainer(cfg *config.Config) *explainer {
	x := &explainer{policies: policiesOf(cfg)}
	if r, err := loadRules(cfg); err == nil {
		x.rules = r
	}
	return x
}

// rulesOf is the set that judged r, nil when another one is in force now.
func (x *explainer) rulesOf(r *smtpd.Record) *rules.Rules {
	if x.rules == nil || x.rules.Hash() != r.Rules {
		return nil
	}
	return x.rules
}

// pivots are those of the first recipient, by the policy in force now.
func (x *explainer) pivots(r *smtpd.Record) []filter.Pivot {
	if len(r.Accepted) == 0 {
		return nil
	}
	p := x.policies.of(mail.Path(r.Accepted[0].Address))
	if p == nil {
		return nil
	}
	return filter.Pivots(r.Symbols, p)
}

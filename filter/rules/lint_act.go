package rules

import (
	"maps"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"mailweir/filter"
	"mailweir/mail"
)

// scope finds rules that nobody's mail will ever meet.
func (l *linter) scope(r *rule) {
	if r.Scope != nil && l.Domains != nil {
		for _, d := range r.Scope.Domains {
			if _, ours := l.Domains[d]; !ours {
				l.add(r.place, "%s: no mail is accepted for the domain %s", r.Symbol, d)
			}
		}
		for _, m := range r.Scope.Recipients {
			if d := mail.Path(m).Domain(); !l.ours(d) {
				l.add(r.place, "%s: no mail is accepted for %s", r.Symbol, m)
			}
		}
	}
	for _, name := range required(r.program.Node()) {
		other, ok := l.r.Info(name)
		if ok && !overlap(r.Scope, other.Scope) {
			l.add(r.place, "%s: it needs %s, which is for other recipients: it is never found", r.Symbol, name)
		}
	}
}

func (l *linter) ours(domain string) bool {
	_, ok := l.Domains[mail.CanonicalDomain(domain)]
	return ok
}

// required are the symbols without which a condition is false: those of has()
// that && joins.
func required(n ast.Node) []string {
	switch n := n.(type) {
	case *ast.BinaryNode:
		if n.Operator == "&&" || n.Operator == "and" {
			return append(required(n.Left), required(n.Right)...)
		}
	case *ast.CallNode:
		callee, ok := n.Callee.(*ast.IdentifierNode)
		if !ok || callee.Value != "has" || len(n.Arguments) != 1 {
			return nil
		}
		if s, ok := n.Arguments[0].(*ast.StringNode); ok {
			return []string{s.Value}
		}
	}
	return nil
}

// overlap tells whether a recipient can be in both scopes.
func overlap(a, b *filter.Scope) bool {
	if a == nil || b == nil {
		return true
	}
	within := func(list []string, s *filter.Scope) bool {
		return slices.ContainsFunc(list, func(m string) bool { return s.Includes(mail.Path(m)) })
	}
	return within(a.Recipients, b) || within(b.Recipients, a) ||
		slices.ContainsFunc(a.Domains, func(d string) bool { return slices.Contains(b.Domains, d) })
}

// act finds what a rule wants and will never get.
func (l *linter) act(r *rule) {
	a := r.Act
	if a == nil {
		return
	}
	rest := &filter.Act{Edits: a.Edits, Redirect: a.Redirect, Copy: a.Copy, NextHop: a.NextHop, AutoReply: a.AutoReply}
	switch a.Action {
	case filter.Reject, filter.Defer, filter.Discard:
		if wants := rest.Wants(); len(wants) > 0 {
			l.add(r.place, "%s: %s never happens: action = %q is for the same messages", r.Symbol, strings.Join(wants, ", "), a.Action)
		}
	case filter.Tag, filter.Quarantine:
		if a.AutoReply != nil {
			l.add(r.place, "%s: auto_reply never happens: what is tagged or held is not answered", r.Symbol)
		}
	}
	if a.Action != "" && a.Action != filter.Tag && a.Action != filter.Defer && l.onlyTags(r.Scope) {
		l.add(r.place, "%s: %s never happens: all its recipients are in domains with mode = \"tag\"", r.Symbol, a.Action)
	}
	l.routes(r)
}

// onlyTags tells whether all recipients of a scope are in tag mode.
func (l *linter) onlyTags(s *filter.Scope) bool {
	domains := slices.Collect(maps.Keys(l.Domains))
	if s != nil {
		domains = slices.Clone(s.Domains)
		for _, m := range s.Recipients {
			domains = append(domains, mail.CanonicalDomain(mail.Path(m).Domain()))
		}
	}
	for _, d := range domains {
		if !l.Domains[d] {
			return false
		}
	}
	return len(domains) > 0
}

// routes finds addresses that nothing leads to.
func (l *linter) routes(r *rule) {
	if l.Domains == nil {
		return
	}
	for _, p := range slices.Concat(r.Act.Redirect, r.Act.Copy) {
		switch {
		case !l.ours(p.Domain()) && !l.Outbound:
			l.add(r.place, "%s: there is no route to %s: its domain is no [[domain]], and relay.outbound is not set", r.Symbol, p)
		case r.Scope != nil && slices.Equal(r.Scope.Recipients, []string{p.Mailbox()}) && len(r.Scope.Domains) == 0:
			l.add(r.place, "%s: %s is the recipient himself", r.Symbol, p)
		}
	}
	if r.Act.AutoReply != nil && !l.Outbound {
		l.add(r.place, "%s: there is no route for answers to other domains: relay.outbound is not set", r.Symbol)
	}
}

// shadowed finds what a rule that takes all mail leaves nothing for.
func (l *linter) shadowed() {
	for i := range l.r.rules {
		taker := &l.r.rules[i]
		b, ok := taker.program.Node().(*ast.BoolNode)
		if !ok || !b.Value || taker.Shadow || taker.Act == nil {
			continue
		}
		if a := taker.Act.Action; a != filter.Reject && a != filter.Defer && a != filter.Discard {
			continue
		}
		for k := range l.r.rules {
			if r := &l.r.rules[k]; k != i && r.Act != nil && within(r.Scope, taker.Scope) {
				l.add(r.place, "%s: what it does never happens: %s takes all mail for these recipients (%s)", r.Symbol, taker.Symbol, taker.Act.Action)
			}
		}
	}
}

// within tells whether all recipients of a are in b.
func within(a, b *filter.Scope) bool {
	if b == nil || a == nil {
		return b == nil
	}
	for _, d := range a.Domains {
		if !slices.Contains(b.Domains, d) {
			return false
		}
	}
	for _, m := range a.Recipients {
		if !b.Includes(mail.Path(m)) {
			return false
		}
	}
	return true
}

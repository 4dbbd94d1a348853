package rules

import (
	"slices"
	"strconv"

	"github.com/expr-lang/expr/ast"
)

// A fact that a sender cannot choose proves something when it has one of these
// values; nil: any value but none. ARC is no such fact: anybody can seal a chain.
var provenFacts = map[string][]string{
	"spf": {"pass"}, "dkim": {"pass"}, "dmarc": {"pass"}, "iprev": {"pass"}, "client_address": nil, "client_name": nil,
}

// provenSymbols say the same.
var provenSymbols = []string{"SPF_PASS", "DKIM_PASS", "DMARC_PASS", "ALLOWED"}

// prover tells whether a condition holds only for mail of which something is
// proved.
type prover struct{ rules []rule }

// proves reports that, if the node comes to truth, something is proved.
func (p prover) proves(node ast.Node, truth bool) bool {
	switch n := node.(type) {
	case *ast.UnaryNode:
		return (n.Operator == "!" || n.Operator == "not") && p.proves(n.Node, !truth)
	case *ast.IdentifierNode:
		return truth && n.Value == "client_own"
	case *ast.ConditionalNode:
		return (p.proves(n.Cond, true) || p.proves(n.Exp1, truth)) && (p.proves(n.Cond, false) || p.proves(n.Exp2, truth))
	case *ast.CallNode:
		return truth && p.symbol(n)
	case *ast.BinaryNode:
		return p.binary(n, truth)
	}
	return false
}

func (p prover) binary(n *ast.BinaryNode, truth bool) bool {
	switch n.Operator {
	case "&&", "and", "||", "or":
		both := (n.Operator == "&&" || n.Operator == "and") != truth // both sides are needed for a proof
		if both {
			return p.proves(n.Left, truth) && p.proves(n.Right, truth)
		}
		return p.proves(n.Left, truth) || p.proves(n.Right, truth)
	case "==", "!=":
		truth = truth == (n.Operator == "==")
	}
	return truth && (compares(n.Left, n.Right) || n.Operator == "==" && compares(n.Right, n.Left))
}

// compares reports a fact that proves something by being what it is compared with.
func compares(left, right ast.Node) bool {
	fact, ok := left.(*ast.IdentifierNode)
	if !ok {
		return false
	}
	wanted, ok := provenFacts[fact.Value]
	if !ok {
		return false
	}
	list, ok := literals(right)
	return ok && len(list) > 0 && !slices.ContainsFunc(list, func(s string) bool {
		return s == "" || wanted != nil && !slices.Contains(wanted, s)
	})
}

// literals are the words that a node is, or is a list of.
func literals(node ast.Node) (list []string, ok bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return []string{n.Value}, true
	case *ast.ArrayNode:
		for _, e := range n.Nodes {
			s, ok := e.(*ast.StringNode)
			if !ok {
				return nil, false
			}
			list = append(list, s.Value)
		}
		return list, true
	case *ast.ConstantNode:
		switch v := n.Value.(type) {
		case map[string]struct{}:
			for s := range v {
				list = append(list, s)
			}
			slices.Sort(list)
			return list, true
		case []string:
			return v, true
		case []any:
			for _, e := range v {
				s, ok := e.(string)
				if !ok {
					return nil, false
				}
				list = append(list, s)
			}
			return list, true
		}
	}
	return nil, false
}

// symbol is has("NAME") of a symbol that proves something, or of a rule that does.
func (p prover) symbol(n *ast.CallNode) bool {
	f, ok := n.Callee.(*ast.IdentifierNode)
	if !ok || f.Value != "has" || len(n.Arguments) != 1 {
		return false
	}
	name, ok := n.Arguments[0].(*ast.StringNode)
	if !ok {
		return false
	}
	for i := range p.rules {
		if r := &p.rules[i]; r.Symbol == name.Value {
			return prover{p.rules[:i]}.proves(r.program.Node(), true)
		}
	}
	return slices.Contains(provenSymbols, name.Value)
}

// closedFacts have no other values than these.
var closedFacts = map[string][]string{
	"iprev":        {"", "pass", "fail", "temperror", "permerror"},
	"spf":          {"", "none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"},
	"dkim":         {"none", "pass", "fail", "neutral", "policy", "temperror", "permerror"},
	"dmarc":        {"", "none", "pass", "fail", "temperror", "permerror"},
	"dmarc_policy": {"", "none", "quarantine", "reject"},
	"arc":          {"", "none", "pass", "fail"},
}

// never notes comparisons with what a fact never is.
func (l *linter) never(s *rule) {
	node := s.program.Node()
	ast.Walk(&node, visit(func(n ast.Node) {
		b, ok := n.(*ast.BinaryNode)
		if !ok || b.Operator != "==" && b.Operator != "!=" && b.Operator != "in" {
			return
		}
		for _, side := range [][2]ast.Node{{b.Left, b.Right}, {b.Right, b.Left}} {
			fact, ok := side[0].(*ast.IdentifierNode)
			if !ok || closedFacts[fact.Value] == nil {
				continue
			}
			list, _ := literals(side[1])
			for _, v := range list {
				if !slices.Contains(closedFacts[fact.Value], v) {
					l.add(s.place, "%s: %s is never %s", s.Symbol, fact.Value, strconv.Quote(v))
				}
			}
		}
	}))
}

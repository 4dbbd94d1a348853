package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"mailweir/configs"
	"mailweir/filter"
	"mailweir/internal/looks"
	"mailweir/internal/pattern"
)

// Limits of a rules set, so that a slip of the pen does not eat the machine.
const (
	maxNodes    = 500     // of one condition
	maxRules    = 5000    // rules and patterns
	maxFileSize = 4 << 20 // octets of one file
)

// Rules is a compiled set of rules, immutable and safe for concurrent use.
type Rules struct {
	scores   map[string]float64
	patterns []patternSource // those with a score
	texts    []patternSource // all of them
	rules    []rule
	groups   []group
	groupOf  map[string]int // by symbol
	set      *pattern.Set
	hash     string
	symbols  []SymbolInfo
	scopes   []*filter.Scope // of rules, each once
	own      *looks.Index    // names of our domains
}

type rule struct {
	ruleSource
	program *vm.Program
	facts   []string // those that the condition looks at, in its order
	scope   int      // index into scopes; -1: everybody
}

type group struct {
	groupSource
	symbol string // of the negative score that holds the cap
}

// SymbolInfo says where a symbol comes from, for people.
type SymbolInfo struct {
	Name     string
	Score    float64
	Describe string
	File     string
	Line     int
	Shadow   bool
	Scope    *filter.Scope // nil: everybody
	Act      *filter.Act   // nil: nothing but the score
}

// Default is the shipped set.
func Default() (*Rules, error) {
	names, err := fs.Glob(configs.Rules, "rules/*.toml")
	if err != nil {
		return nil, err
	}
	files := make([]File, 0, len(names))
	for _, name := range names { // Glob sorts
		data, err := configs.Rules.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files = append(files, File{path.Base(name), data})
	}
	return Load(files...)
}

// Load compiles files, in their order, into one set. The error is an Errors
// with every fault of every file.
func Load(files ...File) (*Rules, error) {
	var src source
	var errs Errors
	for _, f := range files {
		if len(f.Data) > maxFileSize {
			errs.add(place{f.Name, 1}, "larger than %d octets", maxFileSize)
			continue
		}
		readFile(f, &src, &errs)
	}
	if n := len(src.Rules) + len(src.Patterns); n > maxRules {
		errs.add(place{files[0].Name, 1}, "%d rules and patterns, at most %d are allowed", n, maxRules)
		return nil, errs
	}
	c := compiler{src: &src, errs: &errs, rules: &Rules{
		scores: make(map[string]float64), groupOf: make(map[string]int),
	}, known: make(map[string]place), shadows: make(map[string]bool), patterns: make(map[string]bool)}
	c.run()
	if len(errs) > 0 {
		errs.sort(files)
		return nil, errs
	}
	c.rules.hash = hash(&src)
	return c.rules, nil
}

func hash(src *source) string {
	data, err := json.Marshal(src)
	if err != nil {
		panic(err) // strings and finite numbers only
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:6])
}

type compiler struct {
	src      *source
	errs     *Errors
	rules    *Rules
	known    map[string]place // symbols that has may name at this point
	shadows  map[string]bool  // those of them that are only tried out
	patterns map[string]bool
}

func (c *compiler) run() {
	c.scores()
	c.groups()
	c.compilePatterns()
	env := sample()
	for _, s := range c.src.Rules {
		c.rule(s, env)
	}
}

// define enters a symbol; false when it is there already.
func (c *compiler) define(name string, at place) bool {
	if old, twice := c.known[name]; twice {
		c.errs.add(at, "%s is already defined at %s:%d", name, old.File, old.Line)
		return false
	}
	c.known[name] = at
	return true
}

func (c *compiler) scores() {
	for _, s := range c.src.Scores {
		if c.define(s.Symbol, s.place) {
			c.rules.scores[s.Symbol] = s.Score
			c.info(s.Symbol, s.Score, "", s.place)
		}
	}
}

func (c *compiler) groups() {
	seen := make(map[string]bool)
	for _, g := range c.src.Groups {
		if !groupName().MatchString(g.Name) {
			c.errs.add(g.place, "group %q: want lower_snake", g.Name)
		}
		if seen[g.Name] {
			c.errs.add(g.place, "group %s is there twice", g.Name)
		}
		if g.Cap <= 0 {
			c.errs.add(g.place, "cap of group %s: want more than 0", g.Name)
		}
		seen[g.Name] = true
		c.rules.groups = append(c.rules.groups, group{g, "GROUP_" + strings.ToUpper(g.Name) + "_CAP"})
		for _, s := range g.Symbols {
			c.member(s, g.Name, g.place)
			if _, ok := c.known[s]; !ok {
				c.errs.add(g.place, "group %s: no symbol %s in [scores]", g.Name, s)
			}
		}
	}
}

// member puts a symbol into a group.
func (c *compiler) member(symbol, name string, at place) {
	if name == "" {
		return
	}
	if _, twice := c.rules.groupOf[symbol]; twice {
		c.errs.add(at, "%s is in two groups", symbol)
	}
	for i, g := range c.rules.groups {
		if g.Name == name {
			c.rules.groupOf[symbol] = i
			return
		}
	}
	c.errs.add(at, "no group %q", name)
}

func (c *compiler) info(name string, score float64, describe string, at place) *SymbolInfo {
	c.rules.symbols = append(c.rules.symbols, SymbolInfo{
		Name: name, Score: score, Describe: describe, File: at.File, Line: at.Line, Shadow: c.shadows[name],
	})
	return &c.rules.symbols[len(c.rules.symbols)-1]
}

func (c *compiler) compilePatterns() {
	c.rules.texts = c.src.Patterns
	var ps []pattern.Pattern
	for _, p := range c.src.Patterns {
		if !symbolName().MatchString(p.Name) {
			c.errs.add(p.place, "pattern %q: want UPPER_SNAKE", p.Name)
		}
		if c.patterns[p.Name] {
			c.errs.add(p.place, "pattern %s is there twice", p.Name)
		}
		c.patterns[p.Name] = true
		if !validArea(p.In) {
			c.errs.add(p.place, `in = %q: want "body", "subject", "url" or "header:name"`, p.In)
		}
		if p.Scored && c.define(p.Name, p.place) {
			c.member(p.Name, p.Group, p.place)
			c.info(p.Name, p.Score, p.Describe, p.place)
			c.shadow(p.Name, p.Shadow, p.Score, p.place)
			c.rules.patterns = append(c.rules.patterns, p)
		} else if !p.Scored && (p.Group != "" || p.Shadow) {
			c.errs.add(p.place, "group or shadow of a pattern without a score: it is no symbol")
		}
		ps = append(ps, pattern.Pattern{Name: p.Name, In: p.In, Any: p.Any, Regex: p.Regex})
	}
	set, faults := pattern.Compile(ps)
	for _, f := range faults {
		p := c.src.Patterns[f.Index]
		c.errs.add(p.place, "pattern %s: %v", p.Name, f.Err)
	}
	c.rules.set = set
}

// shadow notes a symbol that is only tried out.
func (c *compiler) shadow(symbol string, is bool, score float64, at place) {
	if !is {
		return
	}
	c.shadows[symbol] = true
	if score == 0 {
		c.errs.add(at, "%s: shadow with a score of 0 would show nothing: give it the score that it is to have", symbol)
	}
}

func validArea(in string) bool {
	name, isField := strings.CutPrefix(in, "header:")
	if isField {
		return name != "" && name == strings.ToLower(name)
	}
	return in == "body" || in == "subject" || in == "url"
}

func (c *compiler) rule(s ruleSource, env map[string]any) {
	if !symbolName().MatchString(s.Symbol) {
		c.errs.add(s.place, "symbol %q: want UPPER_SNAKE", s.Symbol)
		return
	}
	program, err := expr.Compile(s.When, expr.Env(env), expr.AsBool(), expr.MaxNodes(maxNodes))
	if err != nil {
		c.errs.add(s.place, "%s: %s", s.Symbol, firstLine(err))
		return
	}
	v := &argumentCheck{c: c, at: s}
	node := program.Node()
	ast.Walk(&node, v)
	looks := &factNames{}
	ast.Walk(&node, looks)
	if !c.define(s.Symbol, s.place) {
		return
	}
	if s.Act == nil {
		c.shadow(s.Symbol, s.Shadow, s.Score, s.place)
	}
	c.shadows[s.Symbol] = s.Shadow
	c.member(s.Symbol, s.Group, s.place)
	info := c.info(s.Symbol, s.Score, s.Describe, s.place)
	info.Scope, info.Act = s.Scope, s.Act
	c.rules.rules = append(c.rules.rules, rule{s, program, looks.names, c.scope(s.Scope)})
}

// scope is the number of a scope in the set.
func (c *compiler) scope(s *filter.Scope) int {
	if s == nil {
		return -1
	}
	same := func(o *filter.Scope) bool {
		return slices.Equal(s.Domains, o.Domains) && slices.Equal(s.Recipients, o.Recipients)
	}
	k := slices.IndexFunc(c.rules.scopes, same)
	if k < 0 {
		k = len(c.rules.scopes)
		c.rules.scopes = append(c.rules.scopes, s)
	}
	return k
}

// firstLine is an expression's error without the drawing under it.
func firstLine(err error) string {
	if fe, ok := err.(*file.Error); ok {
		return fe.Message
	}
	s, _, _ := strings.Cut(err.Error(), "\n")
	return s
}

// argumentCheck finds names in calls that nothing will ever answer to: a
// misspelt symbol is a rule that never hits.
type argumentCheck struct {
	c  *compiler
	at ruleSource
}

// Visit implements ast.Visitor.
func (v *argumentCheck) Visit(node *ast.Node) {
	call, ok := (*node).(*ast.CallNode)
	if !ok || len(call.Arguments) != 1 {
		return
	}
	callee, ok := call.Callee.(*ast.IdentifierNode)
	if !ok || callee.Value == "freemail" {
		return
	}
	arg, ok := call.Arguments[0].(*ast.StringNode)
	if !ok {
		v.c.errs.add(v.at.place, "%s: %s wants a string in quotes", v.at.Symbol, callee.Value)
		return
	}
	v.name(callee.Value, arg.Value)
}

func (v *argumentCheck) name(function, name string) {
	switch function {
	case "has":
		if _, ok := v.c.known[name]; !ok {
			v.c.errs.add(v.at.place, "%s: no symbol %s in [scores] or above this rule", v.at.Symbol, name)
		}
		// A rule in force must not change with one that is only tried out.
		if v.c.shadows[name] && !v.at.Shadow {
			v.c.errs.add(v.at.place, "%s: %s is in shadow, so this rule has to be, too", v.at.Symbol, name)
		}
	case "pattern":
		if !v.c.patterns[name] {
			v.c.errs.add(v.at.place, "%s: no pattern %s", v.at.Symbol, name)
		}
	case "header":
		for _, kept := range filter.KeptFields {
			if kept == name {
				return
			}
		}
		if slices.Contains(filter.KeptFields, strings.ToLower(name)) {
			v.c.errs.add(v.at.place, "%s: %s wants lower case, not %q", v.at.Symbol, function, name)
			return
		}
		v.c.errs.add(v.at.place, "%s: the facts do not keep the value of %q; use a [[pattern]] with in = \"header:%s\"",
			v.at.Symbol, name, name)
	case "has_header", "header_count":
		if name != strings.ToLower(name) {
			v.c.errs.add(v.at.place, "%s: %s wants lower case, not %q", v.at.Symbol, function, name)
		}
	}
}

package rules

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2/unstable"

	"mailweir/filter"
)

// File is one rules file. Name is what errors call it.
type File struct {
	Name string
	Data []byte
}

// place is where something was written.
type place struct {
	File string
	Line int
}

// source is what the files say, in their order, before it is compiled.
type source struct {
	Scores   []scoreSource
	Groups   []groupSource
	Patterns []patternSource
	Rules    []ruleSource
}

type scoreSource struct {
	place  `json:"-"`
	Symbol string
	Score  float64
}

type groupSource struct {
	place   `json:"-"`
	Name    string
	Cap     float64
	Symbols []string
}

type patternSource struct {
	place    `json:"-"`
	Name     string
	In       string
	Any      []string
	Regex    string
	Scored   bool // Score was given: the pattern is a symbol by itself
	Score    float64
	Describe string
	Group    string
	Shadow   bool `json:",omitempty"`
}

type ruleSource struct {
	place    `json:"-"`
	Symbol   string
	Score    float64
	When     string
	Describe string
	Group    string
	Shadow   bool          `json:",omitempty"`
	Scope    *filter.Scope `json:",omitempty"` // nil: everybody
	Act      *filter.Act   `json:",omitempty"`
	// AutoReply is the text in Act, which is not kept with verdicts.
	AutoReply string `json:",omitempty"`
}

// Fault is one thing that is wrong with a rules file.
type Fault struct {
	File string
	Line int
	What string
}

// Error is "file:line: what".
func (f Fault) Error() string { return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.What) }

// Errors are all faults of the rules files, by file and line.
type Errors []Fault

// Error has a line a fault.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

func (e *Errors) add(at place, format string, args ...any) {
	*e = append(*e, Fault{at.File, at.Line, fmt.Sprintf(format, args...)})
}

// sort puts faults into the order of the files.
func (e Errors) sort(files []File) {
	order := make(map[string]int)
	for i, f := range files {
		order[f.Name] = i
	}
	slices.SortStableFunc(e, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(order[a.File], order[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.What, b.What))
	})
}

// Compiled when a rule is first read: most commands read none.
var (
	symbolName = onFirstUse(`^[A-Z][A-Z0-9_]{0,63}$`)
	groupName  = onFirstUse(`^[a-z][a-z0-9_]{1,63}$`)
)

func onFirstUse(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// reader turns one file into source.
type reader struct {
	parser  unstable.Parser
	file    string
	out     *source
	errs    *Errors
	table   string
	entry   map[string]value // of the open [[table]]
	entryAt place
}

// value is a TOML value of the kinds that rules need.
type value struct {
	place
	kind unstable.Kind
	text string
	num  float64
	flag bool
	list []string
}

func readFile(f File, out *source, errs *Errors) {
	r := &reader{file: f.Name, out: out, errs: errs}
	r.parser.Reset(f.Data)
	for r.parser.NextExpression() {
		switch e := r.parser.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			r.close()
			r.open(e)
		case unstable.KeyValue:
			r.keyValue(e)
		}
	}
	r.close()
	if err := r.parser.Error(); err != nil {
		line := 1
		if pe, ok := err.(*unstable.ParserError); ok && len(pe.Highlight) > 0 {
			line = r.parser.Shape(r.parser.Range(pe.Highlight)).Start.Line
		}
		errs.add(place{f.Name, line}, "not TOML: %s", strings.TrimPrefix(err.Error(), "toml: "))
	}
}

// key is the dotted key of a node, and its line.
func (r *reader) key(e *unstable.Node) (string, place) {
	var parts []string
	at := place{r.file, 1}
	for it := e.Key(); it.Next(); {
		n := it.Node()
		if len(parts) == 0 {
			at.Line = r.parser.Shape(n.Raw).Start.Line
		}
		parts = append(parts, string(n.Data))
	}
	return strings.Join(parts, "."), at
}

func (r *reader) open(e *unstable.Node) {
	name, at := r.key(e)
	r.table, r.entry, r.entryAt = name, nil, at
	array := e.Kind == unstable.ArrayTable
	switch {
	case name == "scores" && !array:
	case (name == "pattern" || name == "rule" || name == "group") && array:
		r.entry = make(map[string]value)
	default:
		r.errs.add(at, "no table %q here: there are [scores], [[group]], [[pattern]] and [[rule]]", name)
		r.table = ""
	}
}

func (r *reader) keyValue(e *unstable.Node) {
	name, at := r.key(e)
	v, err := r.value(e.Value())
	v.place = at
	switch {
	case err != nil:
		r.errs.add(at, "%s: %v", name, err)
	case r.table == "scores":
		r.score(name, v)
	case r.entry != nil:
		if _, twice := r.entry[name]; twice {
			r.errs.add(at, "%s is there twice", name)
		}
		r.entry[name] = v
	case r.table == "" && r.entryAt.Line == 0:
		r.errs.add(at, "%s stands outside of a table", name)
	}
}

func (r *reader) value(n *unstable.Node) (value, error) {
	v := value{kind: n.Kind}
	switch n.Kind {
	case unstable.String:
		v.text = string(n.Data)
	case unstable.Integer, unstable.Float:
		f, err := strconv.ParseFloat(strings.ReplaceAll(string(n.Data), "_", ""), 64)
		if err != nil || f != f || f > 1e6 || f < -1e6 {
			return v, fmt.Errorf("%s is no number between -1000000 and 1000000", n.Data)
		}
		v.kind, v.num = unstable.Float, f
	case unstable.Bool:
		v.flag = string(n.Data) == "true"
	case unstable.Array:
		for it := n.Children(); it.Next(); {
			c := it.Node()
			if c.Kind != unstable.String {
				return v, fmt.Errorf("want a list of strings")
			}
			v.list = append(v.list, string(c.Data))
		}
	default:
		return v, fmt.Errorf("want a string, a number, true or false, or a list of strings")
	}
	return v, nil
}

func (r *reader) score(name string, v value) {
	if !symbolName().MatchString(name) {
		r.errs.add(v.place, "%q is no symbol: want UPPER_SNAKE", name)
		return
	}
	if v.kind != unstable.Float {
		r.errs.add(v.place, "%s: want a number", name)
		return
	}
	r.out.Scores = append(r.out.Scores, scoreSource{v.place, name, v.num})
}

// close takes the open [[table]] into source.
func (r *reader) close() {
	if r.entry == nil {
		return
	}
	e := entry{r.entry, r.entryAt, r.errs}
	switch r.table {
	case "group":
		r.out.Groups = append(r.out.Groups, groupSource{
			place: r.entryAt, Name: e.text("name", true), Cap: e.number("cap", true), Symbols: e.strings("symbols"),
		})
	case "pattern":
		_, scored := r.entry["score"]
		r.out.Patterns = append(r.out.Patterns, patternSource{
			place: r.entryAt, Name: e.text("name", true), In: e.text("in", true), Any: e.strings("any"),
			Regex: e.text("regex", false), Scored: scored, Score: e.number("score", false),
			Describe: e.text("describe", scored), Group: e.text("group", false), Shadow: e.flag("shadow"),
		})
	case "rule":
		s := ruleSource{
			place: r.entryAt, Symbol: e.text("symbol", true), Score: e.number("score", !e.acts()),
			When: e.text("when", true), Describe: e.text("describe", true), Group: e.text("group", false),
			Shadow: e.flag("shadow"), Scope: e.scope(), Act: e.act(),
		}
		if s.Act != nil && s.Act.AutoReply != nil {
			s.AutoReply = s.Act.AutoReply.Text
		}
		r.out.Rules = append(r.out.Rules, s)
	}
	e.unknown(r.table)
	r.entry = nil
}

// entry takes typed values out of a table, so that unknown reports the rest.
type entry struct {
	values map[string]value
	at     place
	errs   *Errors
}

func (e entry) take(name string, kind unstable.Kind, want string, required bool) (value, bool) {
	v, ok := e.values[name]
	delete(e.values, name)
	switch {
	case !ok && required:
		e.errs.add(e.at, "%s is missing", name)
	case ok && v.kind != kind:
		e.errs.add(v.place, "%s: want %s", name, want)
		return v, false
	}
	return v, ok
}

func (e entry) text(name string, required bool) string {
	v, _ := e.take(name, unstable.String, "a string", required)
	return v.text
}

func (e entry) number(name string, required bool) float64 {
	v, _ := e.take(name, unstable.Float, "a number", required)
	return v.num
}

func (e entry) flag(name string) bool {
	v, _ := e.take(name, unstable.Bool, "true or false", false)
	return v.flag
}

func (e entry) strings(name string) []string {
	v, _ := e.take(name, unstable.Array, "a list of strings", false)
	return v.list
}

func (e entry) unknown(table string) {
	for name, v := range e.values {
		e.errs.add(v.place, "[[%s]] has no %q", table, name)
	}
}

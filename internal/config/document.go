package config

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// kind is what a value is in TOML's words, as messages use them.
type kind string

const (
	kindTable   kind = "a table"
	kindTables  kind = "an array of tables"
	kindArray   kind = "an array"
	kindString  kind = "a string"
	kindInteger kind = "an integer"
	kindFloat   kind = "a number"
	kindBool    kind = "a boolean"
	kindTime    kind = "a date or time"
)

// node is a value that knows its line.
type node struct {
	kind kind
	line int
	text string  // of a scalar: its decoded value
	list []*node // of an array, or of an array of tables
	keys []entry // of a table, in order of appearance

	// Only tables that no [header] defined may be defined by one later, and
	// only those that dotted keys made may grow by dotted keys (TOML 1.0).
	defined, closed bool
}

type entry struct {
	name string
	line int
	node *node
}

func (n *node) get(name string) *entry {
	for i := range n.keys {
		if n.keys[i].name == name {
			return &n.keys[i]
		}
	}
	return nil
}

func (n *node) add(name string, line int, value *node) *node {
	n.keys = append(n.keys, entry{name, line, value})
	return value
}

// reader turns TOML into a tree. It goes on after a fault, so that one run
// shows them all.
type reader struct {
	parser unstable.Parser
	lines  []int // offset of each line's first byte
	offset int   // of the parser's data in the whole file
	root   *node
	at     *node  // the table that keys go to; nil: one that is in error
	path   string // of that table, for messages
	fault  func(line int, key, problem, hint string)
}

// read parses data into a tree. ok is false after a syntax error, when what is
// missing from the tree means nothing.
func read(data []byte, fault func(line int, key, problem, hint string)) (root *node, ok bool) {
	root = &node{kind: kindTable, line: 1, defined: true}
	r := reader{root: root, at: root, fault: fault}
	for i, c := range data {
		if c == '\n' {
			r.lines = append(r.lines, i+1)
		}
	}
	ok = true
	for rest := data; len(rest) > 0; {
		r.parser.Reset(rest)
		for r.parser.NextExpression() {
			r.expression(r.parser.Expression())
		}
		err := r.parser.Error()
		if err == nil {
			break
		}
		ok = false
		n := r.syntaxError(err)
		rest = rest[n:]
		r.offset += n
	}
	return root, ok
}

// syntaxError reports err and returns where reading can go on: at the next
// line that looks like an expression, so that the lines of a broken array do
// not give a fault each.
func (r *reader) syntaxError(err error) int {
	data := r.parser.Data()
	var at int
	problem := err.Error()
	var pe *unstable.ParserError
	if errors.As(err, &pe) {
		at = int(r.parser.Range(pe.Highlight).Offset)
		problem = pe.Message
	}
	r.fault(r.line(at), "", "not TOML: "+problem, "")
	for {
		i := bytes.IndexByte(data[at:], '\n')
		if i < 0 {
			return len(data)
		}
		at += i + 1
		if startsExpression(data[at:]) {
			return at
		}
	}
}

// startsExpression reports whether a line begins like `key =` or `[table]`.
func startsExpression(b []byte) bool {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	line = bytes.TrimLeft(line, " \t")
	if len(line) > 0 && line[0] == '[' {
		return len(bytes.Trim(line, "[ \t")) > 0
	}
	key, _, found := bytes.Cut(line, []byte("="))
	key = bytes.TrimRight(key, " \t")
	return found && len(key) > 0 && len(bytes.Trim(key, "abcdefghijklmnopqrstuvwxyz_.")) == 0
}

// line is the number of the line that holds the offset of the parser's data.
func (r *reader) line(offset int) int {
	return sort.SearchInts(r.lines, r.offset+offset+1) + 1
}

func (r *reader) lineOf(n *unstable.Node) int { return r.line(int(n.Raw.Offset)) }

func (r *reader) expression(n *unstable.Node) {
	switch n.Kind {
	case unstable.Table, unstable.ArrayTable:
		r.at = r.header(n)
	case unstable.KeyValue:
		if r.at != nil {
			r.keyValue(r.at, n, r.path)
		}
	}
}

// part is one name of a dotted key.
type part struct {
	name string
	line int
}

func (r *reader) keyParts(it unstable.Iterator) []part {
	var parts []part
	for it.Next() {
		parts = append(parts, part{string(it.Node().Data), r.lineOf(it.Node())})
	}
	return parts
}

func joinParts(parts []part) string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	return strings.Join(names, ".")
}

// header enters the table that [a.b] or [[a.b]] names.
func (r *reader) header(n *unstable.Node) *node {
	parts := r.keyParts(n.Key())
	r.path = joinParts(parts)
	t := r.root
	for _, p := range parts[:len(parts)-1] {
		if t = r.descend(t, p, joinParts(parts)); t == nil {
			return nil
		}
	}
	last := parts[len(parts)-1]
	if n.Kind == unstable.ArrayTable {
		return r.element(t, last, joinParts(parts))
	}
	e := t.get(last.name)
	switch {
	case e == nil:
		return t.add(last.name, last.line, &node{kind: kindTable, line: last.line, defined: true})
	case e.node.kind == kindTable && !e.node.defined && !e.node.closed:
		e.node.defined = true
		return e.node
	case e.node.kind == kindTables:
		r.fault(last.line, joinParts(parts), fmt.Sprintf("is an array of tables since line %d", e.line), fmt.Sprintf("write [[%s]]", joinParts(parts)))
	default:
		r.fault(last.line, joinParts(parts), fmt.Sprintf("is given twice, first on line %d", e.line), "keep one")
	}
	return nil
}

// element adds a table to the array that [[…]] names.
func (r *reader) element(t *node, last part, key string) *node {
	e := t.get(last.name)
	if e == nil {
		t.add(last.name, last.line, &node{kind: kindTables, line: last.line})
		e = t.get(last.name)
	}
	if e.node.kind != kindTables {
		r.fault(last.line, key, fmt.Sprintf("is %s since line %d", e.node.kind, e.line), "use one form")
		return nil
	}
	item := &node{kind: kindTable, line: last.line, defined: true}
	e.node.list = append(e.node.list, item)
	return item
}

// descend enters a table on the way to another, and makes it where there is
// none; of an array of tables it is the last one.
func (r *reader) descend(t *node, p part, key string) *node {
	e := t.get(p.name)
	switch {
	case e == nil:
		return t.add(p.name, p.line, &node{kind: kindTable, line: p.line})
	case e.node.kind == kindTables && len(e.node.list) > 0:
		return e.node.list[len(e.node.list)-1]
	case e.node.kind == kindTable && !e.node.closed:
		return e.node
	}
	r.fault(p.line, key, fmt.Sprintf("%s is %s since line %d, nothing can be added to it", p.name, e.node.kind, e.line), "")
	return nil
}

func (r *reader) keyValue(t *node, n *unstable.Node, path string) {
	parts := r.keyParts(n.Key())
	key := join(path, joinParts(parts))
	for _, p := range parts[:len(parts)-1] {
		if t = r.descend(t, p, key); t == nil {
			return
		}
		t.defined = true // a dotted key defines its tables
	}
	last := parts[len(parts)-1]
	if e := t.get(last.name); e != nil {
		r.fault(last.line, key, fmt.Sprintf("is given twice, first on line %d", e.line), "keep one")
		return
	}
	t.add(last.name, last.line, r.value(n.Value(), last.line, key))
}

// value copies a value out of the parser. Arrays have no position of their
// own: theirs is that of their key.
func (r *reader) value(n *unstable.Node, line int, key string) *node {
	if n.Raw.Length > 0 {
		line = r.lineOf(n)
	}
	v := &node{line: line, text: string(n.Data)}
	switch n.Kind {
	case unstable.String:
		v.kind = kindString
	case unstable.Bool:
		v.kind = kindBool
	case unstable.Integer:
		v.kind = kindInteger
	case unstable.Float:
		v.kind = kindFloat
	case unstable.Array:
		v.kind = kindArray
		for it := n.Children(); it.Next(); {
			v.list = append(v.list, r.value(it.Node(), line, key))
		}
	case unstable.InlineTable:
		v.kind, v.defined = kindTable, true
		for it := n.Children(); it.Next(); {
			r.keyValue(v, it.Node(), key)
		}
		v.closed = true
	default:
		v.kind = kindTime
	}
	return v
}

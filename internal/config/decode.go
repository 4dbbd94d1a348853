package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// origin is where a value comes from: a line of the file, or the path that it
// was inherited from, or neither: the default.
type origin struct {
	line int
	from string
}

// decoder fills the structs from the tree. Paths such as "domain[1].name" name
// values in origins; the keys of faults leave the index out, the line tells.
type decoder struct {
	file    string
	dir     string
	errs    Errors
	origins map[string]origin
	failed  map[string]bool // paths whose value is wrong: nothing more is said of them
}

func (d *decoder) fault(line int, key, problem, hint string) {
	d.errs = append(d.errs, &Error{File: d.file, Line: line, Key: key, Problem: problem, Hint: hint})
}

// field is one key of a section.
type field struct {
	reflect.StructField
	key   string
	value reflect.Value
}

// fields lists the keys of a struct in order, those of embedded structs too.
func fields(v reflect.Value) []field {
	var list []field
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			list = append(list, fields(v.Field(i))...)
		} else if key := f.Tag.Get("toml"); key != "" {
			list = append(list, field{f, key, v.Field(i)})
		}
	}
	return list
}

func isTable(t reflect.Type) bool { return t.Kind() == reflect.Struct && !isText(t) }

func isTables(t reflect.Type) bool { return t.Kind() == reflect.Slice && isTable(t.Elem()) }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// plainKey is a path without its indices.
func plainKey(path string) string {
	var b strings.Builder
	for path != "" {
		before, rest, found := strings.Cut(path, "[")
		b.WriteString(before)
		if !found {
			break
		}
		_, path, _ = strings.Cut(rest, "]")
	}
	return b.String()
}

// table decodes n, which may be nil for a section that is absent, into v.
func (d *decoder) table(n *node, v reflect.Value, path string, inherits bool) {
	fs := fields(v)
	d.unknown(n, fs, path)
	for _, f := range fs {
		var e *entry
		if n != nil {
			e = n.get(f.key)
		}
		d.field(n, e, f, join(path, f.key), inherits || f.Tag.Get("inherit") != "")
	}
}

// unknown reports the keys of n that no field has. The key that one of them
// was meant to be counts as wrong, not as missing.
func (d *decoder) unknown(n *node, fs []field, path string) {
	if n == nil {
		return
	}
	known := make(map[string]bool, len(fs))
	for _, f := range fs {
		known[f.key] = true
	}
	for _, e := range n.keys {
		if !known[e.name] {
			meant, hint := suggest(e.name, path, fs)
			d.fault(e.line, plainKey(join(path, e.name)), "unknown key", hint)
			d.failed[join(path, meant)] = true
		}
	}
}

func (d *decoder) field(parent *node, e *entry, f field, path string, inherits bool) {
	switch {
	case isTable(f.Type):
		d.subTable(e, f, path, inherits)
	case isTables(f.Type):
		d.tables(e, f, path)
	case e != nil:
		d.origins[path] = origin{line: e.line}
		d.value(e.node, f, path)
	case f.Tag.Get("required") != "":
		if !d.failed[path] {
			d.missing(parent, f, path)
		}
	case !inherits:
		d.setDefault(f)
	}
}

func (d *decoder) subTable(e *entry, f field, path string, inherits bool) {
	if e == nil {
		d.table(nil, f.value, path, inherits)
		return
	}
	if e.node.kind != kindTable {
		d.fault(e.line, plainKey(path), fmt.Sprintf("is %s, not a table", e.node.kind), fmt.Sprintf("write [%s]", plainKey(path)))
		return
	}
	d.origins[path] = origin{line: e.line}
	d.table(e.node, f.value, path, inherits)
}

// tables decodes an array of tables, be it written [[…]] or inline.
func (d *decoder) tables(e *entry, f field, path string) {
	if e == nil {
		return
	}
	d.origins[path] = origin{line: e.line}
	if e.node.kind != kindTables && e.node.kind != kindArray {
		d.fault(e.line, plainKey(path), fmt.Sprintf("is %s, not an array of tables", e.node.kind), fmt.Sprintf("write [[%s]]", plainKey(path)))
		return
	}
	for i, item := range e.node.list {
		path := fmt.Sprintf("%s[%d]", path, i)
		d.origins[path] = origin{line: item.line}
		if item.kind != kindTable {
			d.fault(item.line, plainKey(path), fmt.Sprintf("holds %s, not a table", item.kind), fmt.Sprintf("write [[%s]]", plainKey(path)))
			continue
		}
		f.value.Set(reflect.Append(f.value, reflect.Zero(f.Type.Elem())))
		d.table(item, f.value.Index(f.value.Len()-1), path, false)
	}
}

// missing reports a required key. Its line is that of the table it is missing
// from; the top level has none.
func (d *decoder) missing(parent *node, f field, path string) {
	line := 0
	if strings.Contains(path, ".") && parent != nil {
		line = parent.line
	}
	d.fault(line, plainKey(path), problemMissing, "it has no default")
}

func (d *decoder) setDefault(f field) {
	text, ok := f.Tag.Lookup("default")
	if !ok {
		return
	}
	v, err := parseTag(f.Type, text)
	if err != nil {
		panic(fmt.Sprintf("config: default of %s: %v", f.key, err))
	}
	f.value.Set(v)
}

// value decodes a scalar or an array of scalars into the field.
func (d *decoder) value(n *node, f field, path string) {
	if f.Type.Kind() != reflect.Slice {
		if v, ok := d.scalar(n, f, f.Type, path); ok {
			f.value.Set(v)
		}
		return
	}
	if n.kind != kindArray {
		d.failed[path] = true
		d.fault(n.line, plainKey(path), fmt.Sprintf("is %s, not an array", n.kind), fmt.Sprintf("write [%s]", quoteText(n)))
		return
	}
	list := reflect.MakeSlice(f.Type, 0, len(n.list))
	for i, item := range n.list {
		path := fmt.Sprintf("%s[%d]", path, i)
		d.origins[path] = origin{line: item.line}
		if v, ok := d.scalar(item, f, f.Type.Elem(), path); ok {
			list = reflect.Append(list, v)
		}
	}
	f.value.Set(list)
}

// scalar decodes one value of type t and holds it against the tags of f.
func (d *decoder) scalar(n *node, f field, t reflect.Type, path string) (reflect.Value, bool) {
	key := plainKey(path)
	if want := wantKind(t); !accepts(t, n.kind) {
		d.fault(n.line, key, fmt.Sprintf("is %s, not %s", n.kind, want), exampleOf(f, t))
		return reflect.Value{}, false
	}
	v, err := parse(t, n.text)
	if err != nil {
		var w wrong
		if !errors.As(err, &w) {
			w = wrong{"is not " + wantKind(t), exampleOf(f, t)}
		}
		d.fault(n.line, key, fmt.Sprintf("%q %s", n.text, w.problem), w.hint)
		return v, false
	}
	if p, ok := v.Interface().(Path); ok && !filepath.IsAbs(string(p)) {
		v = reflect.ValueOf(Path(filepath.Join(d.dir, string(p))))
	}
	if problem, hint := outside(f, v); problem != "" {
		d.fault(n.line, key, fmt.Sprintf("%s %s", quoteText(n), problem), hint)
		return v, false
	}
	return v, true
}

func quoteText(n *node) string {
	if n.kind == kindString {
		return strconv.Quote(n.text)
	}
	return n.text
}

// outside says how v breaks the enum, min and max tags.
func outside(f field, v reflect.Value) (problem, hint string) {
	if enum := f.Tag.Get("enum"); enum != "" {
		words := strings.Split(enum, "|")
		for _, w := range words {
			if v.String() == w {
				return "", ""
			}
		}
		return "is not a choice", "write " + oneOf(words)
	}
	low, high := f.Tag.Get("min"), f.Tag.Get("max")
	if low != "" && less(v, mustParse(v.Type(), low)) || high != "" && less(mustParse(v.Type(), high), v) {
		return "is out of range", fmt.Sprintf("write a value from %s to %s", low, high)
	}
	return "", ""
}

func oneOf(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	return strings.Join(quoted[:len(quoted)-1], ", ") + " or " + quoted[len(quoted)-1]
}

func less(a, b reflect.Value) bool {
	if a.CanFloat() {
		return a.Float() < b.Float()
	}
	return a.Int() < b.Int()
}

func mustParse(t reflect.Type, s string) reflect.Value {
	v, err := parseTag(t, s)
	if err != nil {
		panic(fmt.Sprintf("config: tag %q: %v", s, err))
	}
	return v
}

// problemMissing is the problem of what has to be there and is not.
const problemMissing = "is missing"

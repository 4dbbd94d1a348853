package config

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Show writes the config in force as TOML that loads again to the same, every
// value with its origin behind it. An error of w is the caller's to see.
func (c *Config) Show(w io.Writer) error {
	p := printer{w: bufio.NewWriter(w), c: c}
	p.table(reflect.ValueOf(c).Elem(), "")
	return p.w.Flush()
}

type printer struct {
	w *bufio.Writer
	c *Config
}

// table prints the values of a section, then the sections below it.
func (p *printer) table(v reflect.Value, path string) {
	fs := fields(v)
	for _, f := range fs {
		if !isTable(f.Type) && !isTables(f.Type) {
			p.value(f, join(path, f.key))
		}
	}
	for _, f := range fs {
		at := join(path, f.key)
		switch {
		case isTable(f.Type):
			fmt.Fprintf(p.w, "\n[%s]\n", plainKey(at))
			p.table(f.value, at)
		case isTables(f.Type):
			for i := range f.value.Len() {
				fmt.Fprintf(p.w, "\n[[%s]]\n", plainKey(at))
				p.table(f.value.Index(i), fmt.Sprintf("%s[%d]", at, i))
			}
		}
	}
}

func (p *printer) value(f field, path string) {
	o, given := p.c.origins[path]
	_, hasDefault := f.Tag.Lookup("default")
	if !given && !hasDefault {
		fmt.Fprintf(p.w, "# %s is not set\n", f.key)
		return
	}
	fmt.Fprintf(p.w, "%s = %s  # %s\n", f.key, format(f.value), p.origin(o))
}

func (p *printer) origin(o origin) string {
	switch {
	case o.line > 0:
		return fmt.Sprintf("%s:%d", filepath.Base(p.c.file), o.line)
	case o.from != "":
		return fmt.Sprintf("as %s: %s", plainKey(o.from), p.origin(p.c.origins[o.from]))
	}
	return "default"
}

// format writes a value the way the file would have it.
func format(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return quote(FormatDuration(x))
	case Path:
		if abs, err := filepath.Abs(string(x)); err == nil {
			x = Path(abs) // what is shown may be loaded from another folder
		}
		return quote(string(x))
	case Size:
		return quote(x.String())
	case netip.Prefix:
		return quote(x.String())
	case Code:
		return quote(x.Prefix().String())
	case float64:
		s := strconv.FormatFloat(x, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	switch v.Kind() {
	case reflect.String:
		return quote(v.String())
	case reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = format(v.Index(i))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return fmt.Sprint(v.Interface())
}

// quote makes a basic string of TOML, whose escapes are not quite Go's.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Package jsonx appends JSON without reflection, for the few values that are
// written for every message. What it writes is what encoding/json writes with
// SetEscapeHTML(false), octet for octet; each user has a test that says so.
package jsonx

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Appender is a value that knows its own JSON.
type Appender interface {
	AppendJSON(b []byte) []byte
}

// Object is a JSON object under way. The methods whose name ends in If leave
// out an empty value: omitempty.
type Object struct{ b []byte }

// Begin opens an object behind b.
func Begin(b []byte) Object { return Object{append(b, '{')} }

// End closes it and returns all.
func (o *Object) End() []byte { return append(o.b, '}') }

// comma: no member ends in "{", so that one in front of us is our own.
func (o *Object) comma() []byte {
	if o.b[len(o.b)-1] != '{' {
		o.b = append(o.b, ',')
	}
	return o.b
}

// key begins a member; its name needs no escapes.
func (o *Object) key(name string) {
	o.b = append(o.comma(), '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
}

// String adds a string.
func (o *Object) String(name, v string) {
	o.key(name)
	o.b = AppendString(o.b, v)
}

// StringIf adds a string that is not empty.
func (o *Object) StringIf(name, v string) {
	if v != "" {
		o.String(name, v)
	}
}

// Int adds a number.
func (o *Object) Int(name string, v int64) {
	o.key(name)
	o.b = strconv.AppendInt(o.b, v, 10)
}

// IntIf adds a number that is not 0.
func (o *Object) IntIf(name string, v int64) {
	if v != 0 {
		o.Int(name, v)
	}
}

// Bool adds a truth value.
func (o *Object) Bool(name string, v bool) {
	o.key(name)
	o.b = strconv.AppendBool(o.b, v)
}

// BoolIf adds what is true.
func (o *Object) BoolIf(name string, v bool) {
	if v {
		o.Bool(name, v)
	}
}

// Float adds a number; one that JSON does not know is null.
func (o *Object) Float(name string, v float64) {
	o.key(name)
	o.b = appendFloat(o.b, v)
}

// Time adds a time as RFC 3339 has it.
func (o *Object) Time(name string, t time.Time) {
	o.key(name)
	o.b = append(o.b, '"')
	o.b = AppendTime(o.b, t)
	o.b = append(o.b, '"')
}

// Value adds a value that knows its JSON.
func (o *Object) Value(name string, v Appender) {
	o.key(name)
	o.b = v.AppendJSON(o.b)
}

// Strings adds a list of strings; nil is null.
func (o *Object) Strings(name string, list []string) {
	List(o, name, list, func(s *string, b []byte) []byte { return AppendString(b, *s) })
}

// StringsIf adds a list that is not empty.
func (o *Object) StringsIf(name string, list []string) {
	if len(list) > 0 {
		o.Strings(name, list)
	}
}

// MapIf adds a map that is not empty, its keys in order.
func (o *Object) MapIf(name string, m map[string]string) {
	if len(m) == 0 {
		return
	}
	o.key(name)
	in := Begin(o.b)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		in.b = append(AppendString(in.comma(), k), ':')
		in.b = AppendString(in.b, m[k])
	}
	o.b = in.End()
}

// AppendAny appends a value by reflection: for what is rare. One that JSON cannot
// hold is null.
func AppendAny(b []byte, v any) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return append(b, "null"...)
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}

// List adds a list of values that each appends; nil is null.
func List[T any](o *Object, name string, list []T, each func(*T, []byte) []byte) {
	o.key(name)
	if list == nil {
		o.b = append(o.b, "null"...)
		return
	}
	o.b = append(o.b, '[')
	for k := range list {
		if k > 0 {
			o.b = append(o.b, ',')
		}
		o.b = each(&list[k], o.b)
	}
	o.b = append(o.b, ']')
}

// ListIf adds a list that is not empty.
func ListIf[T any](o *Object, name string, list []T, each func(*T, []byte) []byte) {
	if len(list) > 0 {
		List(o, name, list, each)
	}
}

// appendFloat: like ECMAScript, without an exponent where that is legible.
func appendFloat(b []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(b, "null"...)
	}
	if abs := math.Abs(v); abs == 0 || abs >= 1e-6 && abs < 1e21 {
		return strconv.AppendFloat(b, v, 'f', -1, 64)
	}
	b = strconv.AppendFloat(b, v, 'e', -1, 64)
	if n := len(b); b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' {
		b[n-2] = b[n-1] // e-09 is e-9
		b = b[:n-1]
	}
	return b
}

// AppendString appends s in quotes.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for k := plain(s); k < len(s); {
		c := s[k]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			k++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[k:])
		if c >= utf8.RuneSelf && (r != utf8.RuneError || size > 1) && r != '\u2028' && r != '\u2029' {
			k += size
			continue
		}
		b = append(b, s[from:k]...)
		b = appendEscaped(b, r)
		k += size
		from = k
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

// appendEscaped: U+2028 and U+2029 end lines in JavaScript.
// plain is how much of s, in steps of 8 octets, is ASCII without anything to
// escape: mostly all but the rest.
func plain(s string) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	k := 0
	for ; k+8 <= len(s); k += 8 {
		v := uint64(s[k]) | uint64(s[k+1])<<8 | uint64(s[k+2])<<16 | uint64(s[k+3])<<24 |
			uint64(s[k+4])<<32 | uint64(s[k+5])<<40 | uint64(s[k+6])<<48 | uint64(s[k+7])<<56
		quote, slash := v^'"'*ones, v^'\\'*ones
		// An octet below n makes the high bit of (octet - n) without its own.
		if (v|(v-' '*ones)|(quote-ones)|(slash-ones))&high != 0 {
			break
		}
	}
	return k
}

func appendEscaped(b []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	switch r {
	case '"', '\\':
		return append(b, '\\', byte(r))
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

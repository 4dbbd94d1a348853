package config

import (
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// wantKind is what a value of type t is in messages.
func wantKind(t reflect.Type) string {
	switch {
	case isText(t):
		return string(kindString)
	case t.Kind() == reflect.Bool:
		return string(kindBool)
	case t.Kind() == reflect.Int:
		return string(kindInteger)
	case t.Kind() == reflect.Float64:
		return string(kindFloat)
	}
	return string(kindString)
}

// accepts reports whether a value of type t can be written as k: an integer is
// a good number, and a good size.
func accepts(t reflect.Type, k kind) bool {
	switch {
	case t == reflect.TypeFor[Size]():
		return k == kindString || k == kindInteger
	case t.Kind() == reflect.Float64:
		return k == kindFloat || k == kindInteger
	}
	return string(k) == wantKind(t)
}

// parse reads the text of a value of type t.
func parse(t reflect.Type, s string) (reflect.Value, error) {
	switch {
	case t == reflect.TypeFor[Size]():
		return parseScalar(t, strings.ReplaceAll(s, "_", ""))
	case isText(t):
		return parseScalar(t, s)
	}
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.String:
		if strings.ContainsAny(s, "\r\n\x00") {
			return v, wrong{"holds a line break", "write it on one line"}
		}
		v.SetString(s)
	case reflect.Bool:
		v.SetBool(s == "true")
	case reflect.Int:
		n, err := strconv.ParseInt(s, 0, 64)
		if err != nil {
			return v, err
		}
		v.SetInt(n)
	case reflect.Float64:
		x, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return v, errors.New("not a finite number")
		}
		v.SetFloat(x)
	}
	return v, nil
}

// parseTag reads a default, min or max tag.
func parseTag(t reflect.Type, s string) (reflect.Value, error) { return parse(t, s) }

// exampleOf is the hint for a value of the wrong type.
func exampleOf(f field, t reflect.Type) string {
	if enum := f.Tag.Get("enum"); enum != "" {
		return "write " + oneOf(strings.Split(enum, "|"))
	}
	if def := f.Tag.Get("default"); def != "" {
		if wantKind(t) == string(kindString) {
			def = strconv.Quote(def)
		}
		return "write for example " + def
	}
	if isText(t) {
		if _, err := parseScalar(t, "?"); err != nil {
			var w wrong
			if errors.As(err, &w) {
				return w.hint
			}
		}
	}
	switch t.Kind() {
	case reflect.Bool:
		return "write true or false"
	case reflect.Float64:
		return "write for example 5.0"
	case reflect.Int:
		return "write for example 10"
	}
	return "write it in quotes"
}

package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// suggest says what an unknown key may have been meant to be: the same key in
// another table, else the nearest one of this table, else all there are. meant
// is the key of this table, if it is one.
func suggest(name, path string, fs []field) (meant, hint string) {
	names := make([]string, len(fs))
	for i, f := range fs {
		names[i] = f.key
	}
	near := nearest(name, names)
	if near == "" || !sameWord(name, near) {
		if elsewhere := keysNamed(name, plainKey(path)); len(elsewhere) > 0 {
			return "", "it belongs to " + strings.Join(elsewhere, " or ")
		}
	}
	if near != "" {
		return near, fmt.Sprintf("did you mean %q?", near)
	}
	return "", "known here: " + strings.Join(names, ", ")
}

// sameWord reports names that differ only in case and in "-" for "_".
func sameWord(a, b string) bool { return strings.EqualFold(strings.ReplaceAll(a, "-", "_"), b) }

// keysNamed lists the paths of the whole file that end in name: those below
// path when there are any, since they are the likelier ones.
func keysNamed(name, path string) []string {
	var all, below []string
	for _, p := range schemaKeys(reflect.TypeFor[Config](), "") {
		if p != name && !strings.HasSuffix(p, "."+name) {
			continue
		}
		all = append(all, p)
		if path != "" && strings.HasPrefix(p, path+".") {
			below = append(below, p)
		}
	}
	if len(below) > 0 {
		return below
	}
	return all
}

// schemaKeys lists every key of the file as a dotted path without indices,
// tables included.
func schemaKeys(t reflect.Type, path string) []string {
	var keys []string
	for _, f := range fields(reflect.New(t).Elem()) {
		p := join(path, f.key)
		keys = append(keys, p)
		switch {
		case isTable(f.Type):
			keys = append(keys, schemaKeys(f.Type, p)...)
		case isTables(f.Type):
			keys = append(keys, schemaKeys(f.Type.Elem(), p)...)
		}
	}
	return keys
}

// nearest is the name with the fewest edits to s, "" when none is near.
func nearest(s string, names []string) string {
	best, limit := "", len(s)/3+1
	for _, n := range names {
		if d := distance(strings.ToLower(s), n); d <= limit && (best == "" || d < distance(strings.ToLower(s), best)) {
			best = n
		}
	}
	return best
}

// distance is the number of edits from a to b, a swap of neighbours counting
// as one. Names are short, so the plain table is good enough; what is too long
// to be a misspelt key is far from everything.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			rows[i][j] = edits(rows, a, b, i, j)
		}
	}
	return rows[len(a)][len(b)]
}

func edits(rows [][]int, a, b string, i, j int) int {
	cost := 1
	if a[i-1] == b[j-1] {
		cost = 0
	}
	d := slices.Min([]int{rows[i-1][j] + 1, rows[i][j-1] + 1, rows[i-1][j-1] + cost})
	if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
		d = min(d, rows[i-2][j-2]+1)
	}
	return d
}

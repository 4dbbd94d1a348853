package clamav

import (
	"bytes"
	"crypto/sha256"
	"io"
	"strings"
	"testing"

	"mailweir/filter"
	"mailweir/internal/mailtest"
)

func TestCache(t *testing.T) {
	var c cache
	sum := sha256.Sum256([]byte("x"))
	c.put("", sum, Verdict{Clean: true})
	if _, ok := c.get("", sum); ok {
		t.Error("kept without knowing the signatures")
	}
	c.put("1", sum, Verdict{Clean: true})
	if v, ok := c.get("1", sum); !ok || !v.Clean {
		t.Error("not kept")
	}
	if _, ok := c.get("2", sum); ok {
		t.Error("kept for other signatures")
	}
	for i := range 3 * cacheEntries {
		c.put("1", sha256.Sum256([]byte(strings.Repeat("y", i%7)+string(rune(i)))), Verdict{Clean: true})
	}
	if n := len(c.young) + len(c.old); n > 2*cacheEntries {
		t.Errorf("%d entries", n)
	}
}

// list is a Contents of strings.
type list struct {
	items []string
	why   string
}

func (l *list) Next() (io.Reader, string, error) {
	if len(l.items) == 0 {
		return nil, "", nil
	}
	s := l.items[0]
	l.items = l.items[1:]
	return strings.NewReader(s), "content", nil
}

func (l *list) Incomplete() string { return l.why }

// TestContents: contents are scanned each by itself, what is known is not scanned
// again, and what was not looked at is not clean.
func TestContents(t *testing.T) {
	d := mailtest.StartStrictClamd(t)
	client := newClient(t, Options{Address: "unix:" + d.Socket})
	version := "ClamAV 1.4/1/x"
	client.version.Store(&version)
	eicar := string(mailtest.EICAR())
	for _, tt := range []struct {
		name  string
		list  list
		want  string
		count int
	}{
		{"none", list{}, "", 0},
		{"clean", list{items: []string{"a", "b"}}, "", 2},
		{"again", list{items: []string{"a", "b", "a"}}, "", 3},
		{"second", list{items: []string{"a", eicar, "b"}}, filter.SymVirus, 2},
		{"not at the beginning", list{items: []string{"a" + eicar}}, "", 1},
		{"incomplete", list{items: []string{"a"}, why: "too many"}, filter.SymOversize, 1},
		{"incomplete and infected", list{items: []string{eicar}, why: "too many"}, filter.SymVirus, 1},
		{"too many", list{items: strings.Split(strings.Repeat("a,", maxContents+1), ",")}, filter.SymOversize, maxContents},
	} {
		k := NewCheck(client, func(*filter.Transaction, func() io.Reader) Contents { return &tt.list })
		j := judge(t, k, harmless(100))
		v := j.Facts.Virus
		if names(j.Symbols) != tt.want || v.Contents != tt.count || v.Scanned != (tt.want != filter.SymOversize) {
			t.Errorf("%s: %s, %+v", tt.name, names(j.Symbols), v)
		}
		if tt.want == filter.SymVirus && v.Where != "content" {
			t.Errorf("%s: found in %q", tt.name, v.Where)
		}
	}
	d.Kill()
	if v, err := client.scanContent(t.Context(), bytes.NewReader([]byte("a"))); err != nil || !v.Clean {
		t.Errorf("a content that is known: %+v, %v", v, err)
	}
	k := NewCheck(client, func(*filter.Transaction, func() io.Reader) Contents { return &list{items: []string{"a"}} })
	if j := judge(t, k, harmless(100)); names(j.Symbols) != filter.SymScannerError {
		t.Errorf("with a dead scanner: %s", names(j.Symbols))
	}
}

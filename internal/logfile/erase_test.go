package logfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMentions(t *testing.T) {
	m := NewMentions("Bob@example.org", "", "ip-ABCDEFGHIJKLMNOP")
	for line, want := range map[string]bool{
		`{"to":"bob@example.org"}`:         true,
		`<BOB@EXAMPLE.ORG>, told.`:         true,
		`write to bob@example.org.`:        true,
		`"client":"ip-ABCDEFGHIJKLMNOP"`:   true,
		`jbob@example.org`:                 false,
		`bob@example.org.uk`:               false,
		`x.bob@example.org`:                false,
		`bob@example.orgs`:                 false,
		`jbob@example.org bob@example.org`: true,
		`alice@example.org`:                false,
		``:                                 false,
	} {
		if got := m.In([]byte(line)); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}

// TestErase: lines go where they are, others stay byte for byte, twice is once.
func TestErase(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.log")
	long := strings.Repeat("x", maxLine) + " bob@example.org y"
	before := "one alice@example.org\ntwo bob@example.org\n" + long + "\nbob@example.org at the end"
	if err := os.WriteFile(name, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	m := NewMentions("bob@example.org")
	if n, err := Erase(name, m); err != nil || n != 3 {
		t.Errorf("%d, %v", n, err)
	}
	b, err := os.ReadFile(name)
	if err != nil || len(b) != len(before) || strings.Contains(string(b), "bob") || !strings.HasPrefix(string(b), "one alice@example.org\n   ") {
		t.Errorf("%v: %d bytes, %.60q", err, len(b), b)
	}
	if n, err := Erase(name, m); err != nil || n != 0 {
		t.Errorf("again: %d, %v", n, err)
	}
	if n, err := Erase(name+".gone", m); err != nil || n != 0 {
		t.Errorf("no file: %d, %v", n, err)
	}
}

// TestMask: what is mentioned goes, and nothing else of its line.
func TestMask(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.log")
	before := `{"to":["Bob@example.org","jbob@example.org","bob@example.org"],"n":1}` + "\nalice@example.org\n"
	if err := os.WriteFile(name, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		if n, err := Mask(name, NewMentions("bob@example.org")); err != nil || n != want {
			t.Errorf("%d lines, %v; want %d", n, err, want)
		}
	}
	b, err := os.ReadFile(name)
	if want := `{"to":["***************","jbob@example.org","***************"],"n":1}` + "\nalice@example.org\n"; err != nil || string(b) != want {
		t.Errorf("%v: %s", err, b)
	}
}

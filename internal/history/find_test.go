package history

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"mailweir/mail"
)

func lines(t interface{ Fatal(...any) }, r io.Reader) []string {
	var got []string
	if err := eachLine(r, func(line []byte) { got = append(got, string(line)) }); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestEachLine: against strings.Split, at every boundary of the reads.
func TestEachLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.OneOf(
			rapid.IntRange(0, 10),
			rapid.SampledFrom([]int{readBytes - 1, readBytes, readBytes + 1, maxLine - 1, maxLine, maxLine + 1, maxLine + readBytes + 1}),
		), 0, 5).Draw(t, "sizes")
		var text strings.Builder
		var want []string
		for i, n := range sizes {
			line := strings.Repeat(string(rune('a'+i)), n)
			text.WriteString(line + "\n")
			// A line just over the limit may come when one read held it whole.
			if n <= maxLine {
				want = append(want, line)
			}
		}
		if rapid.Bool().Draw(t, "torn") {
			text.WriteString("torn")
			want = append(want, "torn")
		}
		var r io.Reader = strings.NewReader(text.String())
		if rapid.Bool().Draw(t, "half") {
			r = iotest.HalfReader(r)
		}
		got := slices.DeleteFunc(lines(t, r), func(s string) bool { return len(s) > maxLine })
		if !slices.Equal(got, want) {
			t.Fatalf("sizes %v: got %d lines, want %d", sizes, len(got), len(want))
		}
	})
}

func TestEachLineError(t *testing.T) {
	r := io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(io.ErrClosedPipe))
	if err := eachLine(r, func([]byte) {}); err != io.ErrClosedPipe {
		t.Error(err)
	}
}

// FuzzFind gives Find a hostile file: it must neither fail nor make up entries
// of another ID.
func FuzzFind(f *testing.F) {
	id := mail.NewID(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	line := linePrefix + id.String() + `","kind":"k","at":"2026-11-21T12:00:00Z","data":{}}`
	for _, seed := range []string{line, line + "\n", line[:40] + "\n" + line, "\n\n", "\x00", linePrefix + id.String() + `"}`,
		linePrefix + id.String() + `","id":"` + mail.NewID(time.Now()).String() + `"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "2026-11-21.jsonl"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, e := range find(t, dir, id) {
			if e.ID != id || !bytes.Contains(content, []byte(id.String())) {
				t.Fatalf("%+v", e)
			}
		}
	})
}

func TestEach(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "history")
	l := open(t, dir, nil)
	now := time.Now()
	for k := range 3 {
		l.Append(mail.NewID(now), "verdict", now.Add(time.Duration(k-1)*time.Hour), k)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var got []Entry
	collect := func(e Entry) error { got = append(got, e); return nil }
	if err := Each(dir, nil, now, collect); err != nil {
		t.Fatal(err)
	}
	if brief(got) != "verdict=1 verdict=2" {
		t.Errorf("%s", brief(got))
	}
	if err := Each(dir, nil, now.Add(-2*time.Hour), func(Entry) error { return io.ErrShortWrite }); err != io.ErrShortWrite {
		t.Errorf("the error of fn: %v", err)
	}
	if err := Each("/nonexistent/history", nil, now, collect); err != nil {
		t.Error(err)
	}
}

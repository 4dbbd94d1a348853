package mime

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailweir/mail"
)

var update = flag.Bool("update", false, "rewrite the .want files in testdata")

// recorder is a Sink that writes down what it was told.
type recorder struct {
	b     strings.Builder
	limit int // octets of a leaf that it wants; 0 for all
	got   int
}

func (r *recorder) Begin(html bool, charset string) {
	r.got = 0
	fmt.Fprintf(&r.b, "text html=%v charset=%q ", html, charset)
	r.b.WriteString("[")
}

func (r *recorder) Write(p []byte) bool {
	if r.limit > 0 {
		p = p[:min(len(p), r.limit-r.got)]
	}
	r.got += len(p)
	r.b.Write(p)
	return r.limit == 0 || r.got < r.limit
}

func (r *recorder) End() { r.b.WriteString("]\n") }

// readCase is a message file: LF becomes CRLF, "<EOF>" cuts the end.
func readCase(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data, _, _ = bytes.Cut(data, []byte("<EOF>"))
	return bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
}

// walk describes what the walker makes of a message that arrives in pieces.
func walk(data []byte, pieces ...int) string {
	n, _ := mail.HeaderLength(data)
	h := mail.ParseHeader(data[:n])
	r := new(recorder)
	w := NewWalker(&h, r, nil)
	body := data[n:]
	for i := 0; len(body) > 0; i++ {
		m := len(body)
		if len(pieces) > 0 {
			m = min(m, max(1, pieces[i%len(pieces)]))
		}
		w.Write(body[:m:m])
		body = body[m:]
	}
	w.Close()
	return describe(w) + r.b.String()
}

func describe(w *Walker) string {
	var b strings.Builder
	for _, p := range w.Parts {
		fmt.Fprintf(&b, "%s%s at %d size %d", strings.Repeat("  ", p.Depth), p.Type, p.Offset, p.Size)
		for _, s := range []struct{ name, value string }{
			{"encoding", p.Encoding}, {"charset", p.Charset}, {"disposition", p.Disposition}, {"name", p.Name}, {"magic", p.Magic},
		} {
			if s.value != "" {
				fmt.Fprintf(&b, " %s=%q", s.name, s.value)
			}
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "ambiguities %v\n", w.Odd.List())
	return b.String()
}

func TestWalk(t *testing.T) {
	files, _ := filepath.Glob("testdata/walk/*.eml")
	if len(files) < 30 {
		t.Fatalf("%d cases", len(files))
	}
	seen := make(map[string]bool)
	for _, name := range files {
		data := readCase(t, name)
		got := walk(data)
		want := strings.TrimSuffix(name, ".eml") + ".want"
		if *update {
			if err := os.WriteFile(want, []byte(strings.ReplaceAll(got, "\r\n", "\n")), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		expected, err := os.ReadFile(want)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ReplaceAll(got, "\r\n", "\n") != string(expected) {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, expected)
		}
		for _, a := range ambiguityNames {
			if strings.Contains(got, a) {
				seen[a] = true
			}
		}
		everyCut(t, name, data, got)
	}
	for _, a := range ambiguityNames {
		if !seen[a] && !strings.HasPrefix(a, "limit_") && a != "duplicate_disposition" {
			t.Errorf("no case shows %s", a)
		}
	}
}

// everyCut cuts the message at every place, and into single octets: what it
// is cut into must make no difference.
func everyCut(t *testing.T, name string, data []byte, want string) {
	t.Helper()
	for i := 1; i < len(data); i++ {
		if got := walk(data, i, len(data)); got != want {
			t.Fatalf("%s cut at %d:\n%s\nwant:\n%s", name, i, got, want)
		}
	}
	if got := walk(data, 1); got != want {
		t.Fatalf("%s octet by octet:\n%s\nwant:\n%s", name, got, want)
	}
}

func FuzzWalk(f *testing.F) {
	files, _ := filepath.Glob("testdata/walk/*.eml")
	for _, name := range files {
		f.Add(readCase(f, name), uint8(3), uint8(7))
	}
	f.Fuzz(func(t *testing.T, data []byte, a, b uint8) {
		whole := walk(data)
		if got := walk(data, int(a), int(b)); got != whole {
			t.Fatalf("in pieces of %d and %d:\n%s\nwhole:\n%s", a, b, got, whole)
		}
		if got := walk(data, 1); got != whole {
			t.Fatalf("octet by octet:\n%s\nwhole:\n%s", got, whole)
		}
	})
}

// TestPlaces checks that the offsets and sizes of parts find their octets.
func TestPlaces(t *testing.T) {
	data := readCase(t, "testdata/walk/nested.eml")
	n, _ := mail.HeaderLength(data)
	h := mail.ParseHeader(data[:n])
	w := NewWalker(&h, nil, nil)
	w.Write(data[n:])
	w.Close()
	var got []string
	for _, p := range w.Parts {
		if !strings.HasPrefix(p.Type, "multipart/") {
			got = append(got, string(data[n:][p.Offset:p.Offset+p.Size]))
		}
	}
	if strings.Join(got, "|") != "one|JVBERi0xLjQK" {
		t.Errorf("parts %q", got)
	}
}

func TestSinkThatHasEnough(t *testing.T) {
	h := mail.ParseHeader([]byte("Content-Transfer-Encoding: base64\r\n\r\n"))
	r := &recorder{limit: 4}
	w := NewWalker(&h, r, nil)
	w.Write([]byte("aGVsbG8gd29ybGQ=\r\n*"))
	w.Close()
	if !strings.Contains(r.b.String(), "[hell]") || !w.Odd.Has(OddBase64) {
		t.Errorf("text %s, odd %v", r.b.String(), w.Odd.List())
	}
}

package archive

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is found to testdata/want.txt")

// format tells the reader by a test file's name.
func format(name string) string {
	ext := strings.TrimPrefix(filepath.Ext(name), ".")
	switch ext {
	case "tgz":
		return "gzip"
	case "bz2":
		return "bzip2"
	case "zst":
		return "zstd"
	}
	return ext
}

// list walks an archive and writes down what is found.
func list(kind string, data []byte, l Limits) string {
	var out strings.Builder
	odd, err := Walk(kind, data, NewBudget(l), func(e *Entry, r io.Reader) error {
		fmt.Fprintf(&out, "  %q size %d", e.Name, e.Size)
		if e.Alias != "" {
			fmt.Fprintf(&out, " alias %q", e.Alias)
		}
		for _, flag := range []struct {
			on   bool
			word string
		}{{e.Dir, "dir"}, {e.Hidden, "hidden"}, {e.Encrypted, "encrypted"}} {
			if flag.on {
				out.WriteString(" " + flag.word)
			}
		}
		if e.Err != nil {
			fmt.Fprintf(&out, " not read: %s\n", word(e.Err))
			return nil
		}
		content, err := io.ReadAll(r)
		fmt.Fprintf(&out, " read %d", len(content))
		if len(content) > 0 && len(content) < 100 {
			fmt.Fprintf(&out, " %q", content[:min(len(content), 12)])
		}
		if err != nil {
			fmt.Fprintf(&out, " then: %s", word(err))
		}
		out.WriteString("\n")
		return nil
	})
	if odd != 0 {
		fmt.Fprintf(&out, "  odd: %s\n", odd)
	}
	if err != nil {
		fmt.Fprintf(&out, "  ends: %s\n", word(err))
	}
	return out.String()
}

// word is the class of an error: what the rest of the gateway looks at.
func word(err error) string {
	var limit *LimitError
	switch {
	case errors.As(err, &limit):
		return "limit " + limit.Limit
	case errors.Is(err, ErrEncrypted):
		return "encrypted"
	case errors.Is(err, ErrUnsupported):
		return "unsupported"
	case errors.Is(err, ErrDamaged):
		return "damaged"
	}
	return "not classified: " + err.Error()
}

// TestFiles reads archives that other programs made.
func TestFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, name := range files {
		if !Known(format(name)) {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s\n%s", filepath.Base(name), list(format(name), data, DefaultLimits()))
	}
	if *update {
		if err := os.WriteFile("testdata/want.txt", []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/want.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

// TestCutShort cuts every archive everywhere: what is found must never be more
// than in the whole, and a cut that loses content must not end as nothing.
func TestCutShort(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.*")
	for _, name := range files {
		kind := format(name)
		if !Known(kind) || name == "testdata/two-streams.xz" {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(data)-12; n += 1 + len(data)/80 {
			lost := false
			entries := 0
			_, err := Walk(kind, data[:n], NewBudget(DefaultLimits()), func(e *Entry, r io.Reader) error {
				entries++
				if e.Err != nil {
					lost = true
					return nil
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					lost = true
				}
				return nil
			})
			if err == nil && !lost {
				t.Errorf("%s cut to %d of %d octets reads as %d whole entries", name, n, len(data), entries)
				break
			}
		}
	}
}

func TestPanicIsDamage(t *testing.T) {
	readers["test"] = func([]byte, *Budget, Visitor) (Oddities, error) { panic("a parser's mistake") }
	defer delete(readers, "test")
	if _, err := Walk("test", []byte{0}, NewBudget(DefaultLimits()), nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
	if _, err := Walk("unheard of", nil, NewBudget(DefaultLimits()), nil); !errors.Is(err, ErrUnsupported) {
		t.Errorf("%v", err)
	}
}

// TestChanged changes octets of every archive; where all of it reads as whole,
// what was read must be what was in it.
func TestChanged(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.*")
	whole := [][]byte{[]byte("MZ this stands for a program\r\n"), []byte("Dear all,\r\n"), make([]byte, 20000)}
	for _, name := range files {
		kind := format(name)
		if !Known(kind) || kind == "cab" || kind == "lzma" || name == "testdata/x86.xz" { // cabinets' checksums are not looked at, and .lzma has none
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(data); i += 1 + len(data)/80 {
			changed := bytes.Clone(data)
			changed[i] ^= 0x55
			var wrong []byte
			fine := true
			_, err := Walk(kind, changed, NewBudget(DefaultLimits()), func(e *Entry, r io.Reader) error {
				if e.Err != nil {
					fine = false
					return nil
				}
				content, err := io.ReadAll(r)
				fine = fine && err == nil && !e.Hidden && e.Alias == ""
				if kind != "gzip" && len(content) > 0 && !matches(content, whole) {
					wrong = content
				}
				return nil
			})
			if err != nil && strings.Contains(err.Error(), "panicked") {
				t.Errorf("%s changed at %d: %v", name, i, err)
			}
			if err == nil && fine && wrong != nil {
				t.Errorf("%s changed at %d reads without a fault as %q", name, i, wrong[:min(len(wrong), 40)])
			}
		}
	}
}

func matches(content []byte, list [][]byte) bool {
	for _, l := range list {
		if bytes.Equal(content, l) {
			return true
		}
	}
	return bytes.Equal(content, append(bytes.Clone(list[0]), list[1]...)) // two streams
}

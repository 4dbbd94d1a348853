package archive

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailweir/internal/mailtest"
)

// FuzzWalk gives hostile octets to every reader: none may panic, none may
// outlive its limits, and whatever ends a walk has one of the known classes.
func FuzzWalk(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.*")
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil && Known(format(name)) {
			f.Add(format(name), data)
		}
	}
	f.Add("rar", mailtest.RAR("a.exe", []byte("MZ")))
	f.Add("tnef", mailtest.TNEF("a.exe", []byte("MZ")))
	for _, kind := range []string{"cpio", "ar", "lz4", "macbinary"} {
		f.Add(kind, mailtest.Packers[kind](f, "a.exe", []byte("MZ")))
	}
	f.Add("rtf", []byte(`{\rtf1{\object\objdata `+rtfPackage("a.exe", "MZ")+`{\*\a 12}\'41\bin2 ab}}`))
	f.Add("iso", mailtest.ISO("A.EXE", []byte("MZ")))
	limits := Limits{
		Depth: 6, Entries: 200, Unpacked: 4 << 20, Slow: 4 << 20, Ratio: 250, RatioFrom: 1 << 20,
		Dictionary: 1 << 20, Time: 5 * time.Second,
	}
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		if !Known(kind) || len(data) > 1<<20 {
			return
		}
		b := NewBudget(limits)
		begin := time.Now()
		entries, total := 0, int64(0)
		_, err := Walk(kind, data, b, func(e *Entry, r io.Reader) error {
			entries++
			if (e.Err == nil) != (r != nil) {
				t.Fatalf("%q: error %v, reader %v", e.Name, e.Err, r)
			}
			if r == nil {
				return nil
			}
			n, err := io.Copy(io.Discard, r)
			total += n
			if err != nil && strings.HasPrefix(word(err), "not classified") {
				t.Fatalf("%q ends with %v", e.Name, err)
			}
			return nil
		})
		// The library for 7z is known to panic, and Walk makes damage of it.
		if err != nil && (strings.HasPrefix(word(err), "not classified") || strings.Contains(err.Error(), "panicked") && kind != "7z") {
			t.Fatal(err)
		}
		var limit *LimitError
		if b.Exceeded() != nil && !errors.As(err, &limit) {
			t.Fatalf("%v was reached, and the walk ended with %v", b.Exceeded(), err)
		}
		if entries > limits.Entries || total > limits.Unpacked+(1<<20)+int64(len(data)) && kind != "tar" {
			t.Fatalf("%d entries, %d octets", entries, total)
		}
		if took := time.Since(begin); took > limits.Time+5*time.Second {
			t.Fatalf("took %s", took)
		}
	})
}

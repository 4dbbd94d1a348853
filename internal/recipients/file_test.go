package recipients

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"mailweir/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sample = `# the staff
alice@example.org
Bob.Builder@Example.ORG   # capitals do not matter
"odd name"@example.org
"quo\"te#d"@example.org
a#b@example.org
@example.net
@Bücher.example # a domain of its own
ünal@example.org

carol+lists@example.org
`

func write(t testing.TB, path, text string) {
	t.Helper()
	// As an editor does it: the new file takes the place of the old one.
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func load(t testing.TB, text string) (*File, string, *bytes.Buffer) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "recipients")
	write(t, path, text)
	var logged bytes.Buffer
	f, err := Load(path, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return f, path, &logged
}

func TestHas(t *testing.T) {
	f, _, _ := load(t, sample)
	if f.Len() != 9 {
		t.Errorf("%d entries", f.Len())
	}
	if !f.Names("alice+tag@example.org") || f.Names("anyone@example.net") {
		t.Error("a recipient is named when it is listed, not when its domain is")
	}
	for p, want := range map[mail.Path]bool{
		"alice@example.org":            true,
		"ALICE@EXAMPLE.org":            true,
		`"alice"@example.org`:          true,
		`"al\ice"@example.org`:         true,
		"alice+tag@example.org":        true,
		"alice+a+b@example.org":        true,
		"bob.builder@example.org":      true,
		`"odd name"@example.org`:       true,
		`"odd name+x"@example.org`:     true,
		`"quo\"te#d"@example.org`:      true,
		"a#b@example.org":              true,
		"carol+lists@example.org":      true,
		"carol+lists+x@example.org":    false, // only up to the first +
		"carol@example.org":            false,
		"anyone@example.net":           true,
		"anyone@xn--bcher-kva.EXAMPLE": true,
		"anyone@bücher.example":        true,
		"ÜNAL@example.org":             true,
		"+alice@example.org":           false,
		"alice@example.com":            false,
		"alice@sub.example.net":        false,
		"mallory@example.org":          false,
		"postmaster":                   true,
		"PostMaster@example.org":       true,
		"postmaster@example.org":       true,
		"":                             false,
	} {
		if f.Has(p) != want {
			t.Errorf("Has(%s) = %v", p, !want)
		}
		if got := f.Verify(t.Context(), p); (got == Known) != want || got == Unavailable {
			t.Errorf("Verify(%s) = %s", p, got)
		}
	}
}

func TestLoadReportsAllErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recipients")
	write(t, path, "alice@example.org\nbob\n@\n\n# fine\ncarol@example.org, dave@example.org\nx@@example.org\n@no domain\npostmaster\n")
	_, err := Load(path, slog.Default())
	if err == nil {
		t.Fatal("loaded")
	}
	for _, line := range []int{2, 3, 6, 7, 8, 9} {
		if !strings.Contains(err.Error(), fmt.Sprintf("%s:%d: ", path, line)) {
			t.Errorf("line %d is not in:\n%v", line, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 6 {
		t.Errorf("%d errors:\n%v", n, err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none"), slog.Default()); err == nil {
		t.Error("a missing file was loaded")
	}
}

// A changed file counts within a second; a wrong or missing one never, and is
// reported once.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, path, logged := load(t, "alice@example.org\n")
		write(t, path, "bob@example.org\n")
		if !f.Has("alice@example.org") {
			t.Error("looked at the file again at once")
		}
		time.Sleep(checkEach)
		if f.Has("alice@example.org") || !f.Has("bob@example.org") {
			t.Error("the new file is not in use after a second")
		}
		for _, fault := range []func(){
			func() { write(t, path, "bob@example.org\nwhat?\n") },
			func() { os.Remove(path) },
		} {
			logged.Reset()
			fault()
			for range 5 {
				time.Sleep(checkEach)
				if !f.Has("bob@example.org") {
					t.Error("the old list is gone")
				}
			}
			if n := strings.Count(logged.String(), "level=ERROR"); n != 1 {
				t.Errorf("%d errors logged:\n%s", n, logged)
			}
		}
		write(t, path, "carol@example.org\n")
		time.Sleep(checkEach)
		if !f.Has("carol@example.org") || f.Has("bob@example.org") {
			t.Error("the mended file is not in use")
		}
		write(t, path, "wrong\n")
		if err := f.Reload(); err == nil || !f.Has("carol@example.org") {
			t.Errorf("Reload of a wrong file: %v", err)
		}
	})
}

func FuzzFile(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("\"a@b\"@c.example\n@x\n#\n \"#\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parse("f", data)
		if (l == nil) == (err == nil) {
			t.Fatal(l, err)
		}
		if err != nil {
			return
		}
		for line := range strings.Lines(string(data)) {
			entry := strip(line)
			if entry != "" && entry[0] != '@' && !l.has(mail.Path(entry)) {
				t.Fatalf("%q is in the file but not in the list", entry)
			}
		}
	})
}

func BenchmarkHas(b *testing.B) {
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&text, "user%d@example.org\n", i)
	}
	f, _, _ := load(b, text.String())
	b.ReportAllocs()
	for b.Loop() {
		if !f.Has("user77777+tag@example.org") {
			b.Fatal("not found")
		}
	}
}

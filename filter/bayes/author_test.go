package bayes

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"mailweir/filter"
	"mailweir/internal/fsx"
)

// by is a message of an author, with a file.
func by(addr, domain string, n int) *filter.Facts {
	f := text(1, n)
	f.Header.From = []filter.Address{{Name: "Somebody", Addr: addr, Domain: domain}}
	f.Body.Files = []filter.FilePrint{{Digest: uint64(n)}}
	return f
}

// TestForgetBy: an author's lessons are found, whatever the case, and after they
// are forgotten nothing of them is in any file, also of those that were forgotten
// before; other authors' stay.
func TestForgetBy(t *testing.T) {
	disk := fsx.NewMem()
	s := open(t, disk, 1000)
	for n := range 40 {
		s.Learn(by("eve@example.org", "example.org", n), n%2 == 0, day)
	}
	s.Learn(by("Anna@Example.org", "example.org", 100), true, day)
	s.Learn(by("anna@example.org", "example.org", 101), false, day)
	s.Learn(by("anna@example.org", "example.org", 102), false, day)
	s.Learn(by("anna@example.org.example", "example.org.example", 103), false, day)
	commit(t, s)
	s = open(t, disk, 1000)
	s.Forget(by("anna@example.org", "example.org", 102))
	commit(t, s)
	s = open(t, disk, 1000)
	list := s.By("anna@EXAMPLE.org")
	if len(list) != 2 || list[0].Class != "spam" || list[1].Class != "ham" || list[0].Day != "2025-11-20" || list[0].Files != 1 || len(list[0].Digest) != 16 {
		t.Errorf("%+v", list)
	}
	if list := s.By("nobody@example.org"); len(list) != 0 {
		t.Errorf("of nobody: %+v", list)
	}
	feature := binary.LittleEndian.AppendUint32(nil, feature(kindFromAddr, hashString("anna@example.org"), s.key))
	content := func() []byte {
		b, err := fsx.Content(disk, "data/learned/global/"+logName)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if n := bytes.Count(content(), feature); n != 3 { // one was forgotten, and is still there
		t.Fatalf("the address is %d times in the log", n)
	}
	if n := s.ForgetBy("anna@example.org"); n != 2 {
		t.Errorf("%d forgotten", n)
	}
	commit(t, s)
	if bytes.Contains(content(), feature) {
		t.Error("the address is still in the log")
	}
	s = open(t, disk, 1000)
	if n := s.ForgetBy("anna@example.org"); n != 0 || s.changed {
		t.Errorf("again: %d, changed %v", n, s.changed)
	}
	if spam, ham := s.Count(); spam != 21-1 || ham != 21 {
		t.Errorf("%d spam and %d ham are left", spam, ham)
	}
	if m, err := LoadModel(disk, "data/learned/global"); err != nil || m.spam != 20 || m.ham != 21 {
		t.Errorf("the model: %v", err)
	}
	if slices.ContainsFunc(s.files, func(f learnedFile) bool { return f.lesson == digest(by("anna@example.org", "example.org", 101), s.key) }) {
		t.Error("fingerprints are left")
	}
	s.Close()
}

// TestScopes: those that have a log, and no other folder.
func TestScopes(t *testing.T) {
	disk := fsx.NewMem()
	if dirs, err := Scopes(disk, "data/learned"); err != nil || len(dirs) != 0 {
		t.Errorf("nothing learned: %q, %v", dirs, err)
	}
	for _, domain := range []string{"", "example.org"} {
		s, err := Open(t.Context(), disk, Dir("data/learned", domain), 10)
		if err != nil {
			t.Fatal(err)
		}
		s.Learn(text(1, 1), true, day)
		commit(t, s)
	}
	if err := disk.MkdirAll(Dir("data/learned", "empty.example"), 0o700); err != nil {
		t.Fatal(err)
	}
	dirs, err := Scopes(disk, "data/learned")
	if err != nil || !slices.Equal(dirs, []string{"data/learned/global", "data/learned/domains/example.org"}) {
		t.Errorf("%q, %v", dirs, err)
	}
	if got := scopeOf(dirs[0]) + "," + scopeOf(dirs[1]); got != ",example.org" {
		t.Errorf("scopes %q", got)
	}
}

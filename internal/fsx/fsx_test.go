package fsx

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
)

func write(t *testing.T, fsys FS, name, text string, off int64) File {
	t.Helper()
	f, err := fsys.Open(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(text), off); err != nil {
		t.Fatal(err)
	}
	return f
}

func read(fsys FS, name string) (string, error) {
	f, err := fsys.Open(name, os.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	size, _ := f.Size()
	b := make([]byte, size)
	f.ReadAt(b, 0)
	return string(b), nil
}

// outcomes are the contents that crashes leave of a file; "-" for none.
func outcomes(m *Mem, name string) []string {
	var all []string
	for seed := range uint64(200) {
		text, err := read(m.CrashImage(rand.New(rand.NewPCG(seed, 1))), name)
		if err != nil {
			text = "-"
		}
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	slices.Sort(all)
	return all
}

func TestMemForgets(t *testing.T) {
	m := NewMem()
	m.MkdirAll("/d", 0o700)
	f := write(t, m, "/d/a", "one", 0)
	if got := outcomes(m, "/d/a"); !slices.Equal(got, []string{"", "-", "one"}) {
		t.Errorf("nothing synced: %q", got)
	}
	f.Datasync()
	if got := outcomes(m, "/d/a"); !slices.Equal(got, []string{"-", "one"}) {
		t.Errorf("contents synced, the name not: %q", got)
	}
	m.SyncDir("/d")
	if got := outcomes(m, "/d/a"); !slices.Equal(got, []string{"one"}) {
		t.Errorf("all synced: %q", got)
	}
	f.WriteAt([]byte("TWO"), 0)
	if got := outcomes(m, "/d/a"); !slices.Equal(got, []string{"TWO", "one"}) {
		t.Errorf("overwritten: %q", got)
	}
	m.Rename("/d/a", "/d/b")
	f.Datasync()
	if got := outcomes(m, "/d/b"); !slices.Equal(got, []string{"-", "TWO"}) {
		t.Errorf("renamed: %q", got)
	}
}

func TestMemTears(t *testing.T) {
	m := NewMem()
	f := write(t, m, "/a", string(make([]byte, 2*sector)), 0)
	f.Datasync()
	m.SyncDir("/")
	for i := range 2 {
		f.WriteAt([]byte{1}, int64(i*sector))
	}
	if got := len(outcomes(m, "/a")); got != 4 {
		t.Errorf("%d outcomes of two writes, want every subset", got)
	}
}

func TestCrashKillsTheOldOne(t *testing.T) {
	m := NewMem()
	f := write(t, m, "/a", "x", 0)
	m.Crash(rand.New(rand.NewPCG(1, 1)))
	if _, err := f.WriteAt([]byte("y"), 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("write after the crash: %v", err)
	}
}

func TestFaulty(t *testing.T) {
	m := NewMem()
	fail := 0
	f := &Faulty{FS: m, Decide: func(n int, op Op) error {
		switch {
		case n != fail:
			return nil
		case op.Kind == "write":
			return ErrShort
		}
		return syscall.EIO
	}}
	file := write(t, f, "/a", "abcd", 0) // calls 1 and 2
	fail = 3
	if n, err := file.WriteAt([]byte("wxyz"), 0); n != 2 || !errors.Is(err, ErrShort) {
		t.Errorf("short write: %d, %v", n, err)
	}
	if text, _ := read(m, "/a"); text != "wxcd" {
		t.Errorf("after it: %q", text)
	}
	fail = 4
	if err := file.Datasync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	// The kernel forgets the pages of a failed sync, and says it once.
	if text, _ := read(m, "/a"); text != "" {
		t.Errorf("after the failed sync: %q", text)
	}
	if err := file.Datasync(); err != nil || f.SyncsAfterFailure() != 1 {
		t.Errorf("second sync: %v, %d seen", err, f.SyncsAfterFailure())
	}
}

func TestSpaceRunsOut(t *testing.T) {
	m := NewMem()
	m.SetFree(Space{Bytes: 5})
	f, _ := m.Open("/a", os.O_RDWR|os.O_CREATE, 0o600)
	if n, err := f.WriteAt([]byte("12345678"), 0); n != 5 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := f.WriteAt([]byte("abc"), 0); err != nil {
		t.Errorf("overwriting needs no space: %v", err)
	}
}

func TestOS(t *testing.T) {
	dir := t.TempDir()
	var o OS
	f := write(t, o, dir+"/a", "text", 0)
	if err := errors.Join(f.Datasync(), o.SyncDir(dir), o.Rename(dir+"/a", dir+"/b")); err != nil {
		t.Fatal(err)
	}
	f.DropCache()
	if text, err := read(o, dir+"/b"); text != "text" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	l, err := o.Lock(dir + "/LOCK")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Lock(dir + "/LOCK"); !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	l.Close()
	if s, err := o.Free(dir); err != nil || s.Bytes <= 0 {
		t.Errorf("%+v, %v", s, err)
	}
	list, err := o.ReadDir(dir)
	if err != nil || len(list) != 2 || list[1].Name != "b" || list[1].Size != 4 {
		t.Errorf("%+v, %v", list, err)
	}
}

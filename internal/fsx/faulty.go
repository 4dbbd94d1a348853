package fsx

import (
	"io"
	"io/fs"
	"sync"
	"syscall"
)

// Faulty passes calls on to another file system and lets some of them fail.
// Every call that changes something, or syncs, has a number, from 1 on.
type Faulty struct {
	FS
	// Decide is asked before call number n; an error fails the call. ErrShort
	// makes a write take half of its bytes before it fails.
	Decide func(n int, op Op) (err error)

	mu    sync.Mutex
	calls int
	again int // uses of a descriptor after its sync failed
}

// Op is a call that Faulty counts.
type Op struct {
	Kind string // open, mkdir, rename, remove, syncdir, write, datasync, truncate
	Name string
	Len  int
}

// ErrShort, as the error of a write, lets half of it happen.
var ErrShort error = shortWrite{}

type shortWrite struct{}

func (shortWrite) Error() string { return "fsx: short write" }
func (shortWrite) Unwrap() error { return io.ErrShortWrite }

// Calls is the number of calls so far.
func (f *Faulty) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// SyncsAfterFailure counts syncs of, and writes to, a descriptor on which a
// sync had failed before: there must be none.
func (f *Faulty) SyncsAfterFailure() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.again
}

func (f *Faulty) call(op Op) error {
	f.mu.Lock()
	f.calls++
	n := f.calls
	decide := f.Decide
	f.mu.Unlock()
	if decide == nil {
		return nil
	}
	if err := decide(n, op); err != nil {
		if errno, ok := err.(syscall.Errno); ok {
			return &fs.PathError{Op: op.Kind, Path: op.Name, Err: errno}
		}
		return err
	}
	return nil
}

// Open implements FS; only opening to create or truncate counts.
func (f *Faulty) Open(name string, flag int, perm fs.FileMode) (File, error) {
	if flag&(syscall.O_CREAT|syscall.O_TRUNC) != 0 {
		if err := f.call(Op{"open", name, 0}); err != nil {
			return nil, err
		}
	}
	file, err := f.FS.Open(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, f: f, name: name}, nil
}

// MkdirAll implements FS.
func (f *Faulty) MkdirAll(name string, perm fs.FileMode) error {
	if err := f.call(Op{"mkdir", name, 0}); err != nil {
		return err
	}
	return f.FS.MkdirAll(name, perm)
}

// Rename implements FS.
func (f *Faulty) Rename(oldName, newName string) error {
	if err := f.call(Op{"rename", newName, 0}); err != nil {
		return err
	}
	return f.FS.Rename(oldName, newName)
}

// Remove implements FS.
func (f *Faulty) Remove(name string) error {
	if err := f.call(Op{"remove", name, 0}); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

// SyncDir implements FS.
func (f *Faulty) SyncDir(name string) error {
	if err := f.call(Op{"syncdir", name, 0}); err != nil {
		return err
	}
	return f.FS.SyncDir(name)
}

type faultyFile struct {
	File
	f      *Faulty
	name   string
	failed bool // guarded by f.mu
}

func (f *faultyFile) after() {
	f.f.mu.Lock()
	if f.failed {
		f.f.again++
	}
	f.f.mu.Unlock()
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	f.after()
	if err := f.f.call(Op{"write", f.name, len(p)}); err != nil {
		n := 0
		if err == ErrShort {
			n, _ = f.File.WriteAt(p[:len(p)/2], off)
		}
		return n, err
	}
	return f.File.WriteAt(p, off)
}

// Datasync fails as Linux does: the dirty pages are gone, and the error is
// reported once.
func (f *faultyFile) Datasync() error {
	f.after()
	if err := f.f.call(Op{"datasync", f.name, 0}); err != nil {
		f.f.mu.Lock()
		f.failed = true
		f.f.mu.Unlock()
		if m, ok := f.File.(*memFile); ok {
			m.m.mu.Lock()
			m.m.lose(m.n)
			m.m.mu.Unlock()
		}
		return err
	}
	return f.File.Datasync()
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.f.call(Op{"truncate", f.name, 0}); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

package queue

import (
	"bytes"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"mailweir/internal/fsx"
)

// alignedFS notes each write of a segment that could not go past the page
// cache.
type alignedFS struct {
	fsx.FS
	mu     sync.Mutex
	writes int
	odd    []int // lengths
}

type alignedFile struct {
	fsx.File
	fs *alignedFS
}

func (a *alignedFS) Open(name string, flag int, perm fs.FileMode) (fsx.File, error) {
	f, err := a.FS.Open(name, flag, perm)
	if err == nil && strings.HasSuffix(name, ".log") {
		return &alignedFile{f, a}, nil
	}
	return f, err
}

func (f *alignedFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	f.fs.writes++
	if (uintptr(unsafe.Pointer(&p[0]))|uintptr(len(p))|uintptr(off))%blockSize != 0 {
		f.fs.odd = append(f.fs.odd, len(p))
	}
	f.fs.mu.Unlock()
	return f.File.WriteAt(p, off)
}

// TestSegmentWritesAligned: whatever is written to a segment, headers, zeros,
// batches of any size, and the mark at the end, is whole blocks in memory
// that begins at a page, also in a segment that is written again.
func TestSegmentWritesAligned(t *testing.T) {
	a := &alignedFS{FS: fsx.NewMem()}
	for range 2 { // the second start recycles what it finds
		q := mustOpen(t, a, "/spool", Options{SegmentSize: 1 << 20, SpillAt: 1 << 18, MinFreeBytes: 1, MinFreeInodes: 1})
		for _, size := range []int{1, 100, 4000, 5000, 70_000, 200_000, 1, 250_000, 250_000, 250_000} {
			mustPut(t, q, bytes.Repeat([]byte("x"), size), "a@example.org")
		}
		next := newNext()
		run(t, q, next, func() bool { return next.relayed() == 10 })
		mustClose(t, q)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.writes < 30 || len(a.odd) > 0 {
		t.Errorf("%d writes, of these not aligned: %v", a.writes, a.odd)
	}
}

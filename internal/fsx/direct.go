package fsx

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Direct is a flag of Open: what is written in whole blocks goes to the disk
// past the page cache, where the file system can do that. That saves the copy
// into the cache and the search for what is dirty in it. It says nothing about
// durability: Datasync is needed as ever. With O_RDONLY it is reads that go past
// the cache.
const Direct = unix.O_DIRECT

// directBlock is what offset, length and memory of such a write are multiples
// of, and of such a read: no disk asks for more that a file system with blocks of
// 4 KiB is put on.
const directBlock = 4096

// directFile writes and syncs on one descriptor, and reads on another one,
// which has the page cache; one that is only read, reads on both. The kernel
// keeps the two in step (open(2)).
type directFile struct {
	osFile
	direct File
	reads  bool
}

// ReadAt implements io.ReaderAt. The end of the file may lie within a block.
func (f *directFile) ReadAt(p []byte, off int64) (int, error) {
	if !f.reads || !aligned(p, off) {
		return f.osFile.ReadAt(p, off)
	}
	n, err := f.direct.ReadAt(p, off)
	if errors.Is(err, unix.EINVAL) {
		return f.osFile.ReadAt(p, off)
	}
	return n, err
}

// WriteAt implements File. A file system that takes O_DIRECT at the open and
// then does not like such a write says so before it has written anything.
func (f *directFile) WriteAt(p []byte, off int64) (int, error) {
	if !aligned(p, off) {
		return f.osFile.WriteAt(p, off)
	}
	n, err := f.direct.WriteAt(p, off)
	if n == 0 && errors.Is(err, unix.EINVAL) {
		return f.osFile.WriteAt(p, off)
	}
	return n, err
}

func aligned(p []byte, off int64) bool {
	return len(p) > 0 && (uintptr(unsafe.Pointer(&p[0]))|uintptr(len(p))|uintptr(off))%directBlock == 0
}

// Datasync implements File: a sync is of the file, whichever descriptor it was
// written on.
func (f *directFile) Datasync() error { return f.direct.Datasync() }

// Close implements File.
func (f *directFile) Close() error { return errors.Join(f.direct.Close(), f.osFile.Close()) }

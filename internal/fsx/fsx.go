// Package fsx is the seam between the queue and the disk: a small file-system
// interface, the operating system's implementation of it, and two that only
// tests use. Mem forgets at a crash what was never synced, file contents and
// directory entries alike, and may tear and reorder what was; Faulty lets the
// N-th call fail. What the queue promises about power cuts is proved on them.
package fsx

import (
	"io"
	"io/fs"
	"time"
)

// FS is what the queue needs of a file system. Names are slash-separated
// paths; nothing is implied about durability beyond the comments here.
type FS interface {
	// Open opens a file by the flags of package os, and Direct.
	Open(name string, flag int, perm fs.FileMode) (File, error)
	// MkdirAll makes a directory and its parents. The entries are durable
	// only after SyncDir of each parent.
	MkdirAll(name string, perm fs.FileMode) error
	// ReadDir lists a directory in the order of names.
	ReadDir(name string) ([]Info, error)
	// Rename replaces newName atomically; durable after SyncDir.
	Rename(oldName, newName string) error
	// Remove unlinks a file; durable after SyncDir.
	Remove(name string) error
	// SyncDir makes the entries of a directory durable (fsync of it).
	SyncDir(name string) error
	// Lock takes an exclusive lock that ends with the process, or reports
	// ErrLocked at once. Closing the result gives it back.
	Lock(name string) (io.Closer, error)
	// Free is what an unprivileged writer may still use where name lives.
	Free(name string) (Space, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	// WriteAt follows io.WriterAt: fewer bytes than asked for is an error.
	io.WriterAt
	io.Closer
	// Datasync makes the contents durable, and the size where it changed
	// (fdatasync). After an error the state on the disk is unknown, and
	// calling it again proves nothing.
	Datasync() error
	// Size is the length of the file.
	Size() (int64, error)
	// Truncate sets the length; what is new reads as zeros.
	Truncate(size int64) error
	// DropCache asks for later reads to come from the disk. Best effort.
	DropCache()
}

// Info is one directory entry.
type Info struct {
	Name    string
	Size    int64
	ModTime time.Time
	Dir     bool
}

// Space is the room left on a file system.
type Space struct {
	Bytes  int64
	Inodes int64 // -1 when the file system does not count them

	// The size of the file system; 0 when it is not known.
	TotalBytes  int64
	TotalInodes int64
}

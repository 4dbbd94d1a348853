package fsx

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// ErrLocked is returned by Lock when another process holds the lock.
var ErrLocked = errors.New("fsx: locked by another process")

// OS is the operating system's file system.
type OS struct{}

// Open implements FS.
func (OS) Open(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag&^Direct, perm)
	if err != nil {
		return nil, err
	}
	if flag&Direct != 0 {
		reads := flag&(os.O_WRONLY|os.O_RDWR) == 0
		mode := os.O_WRONLY
		if reads {
			mode = os.O_RDONLY
		}
		if d, err := os.OpenFile(name, mode|Direct, 0); err == nil {
			return &directFile{osFile: osFile{f}, direct: osFile{d}, reads: reads}, nil
		}
	}
	return osFile{f}, nil
}

// MkdirAll implements FS.
func (OS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }

// ReadDir implements FS. An entry that vanishes between the listing and the
// look at it is left out.
func (OS) ReadDir(name string) ([]Info, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	infos := make([]Info, 0, len(entries))
	for _, e := range entries {
		fi, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, Info{e.Name(), fi.Size(), fi.ModTime(), e.IsDir()})
	}
	return infos, nil
}

// Rename implements FS.
func (OS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir implements FS.
func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// Lock implements FS with flock(2): the lock ends with the process, however it
// ends, and no stale file is left to clean up.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, &fs.PathError{Op: "flock", Path: name, Err: err}
	}
	return f, nil
}

// Free implements FS. A file system that reports no inodes at all (btrfs) has
// no limit of them.
func (OS) Free(name string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(name, &st); err != nil {
		return Space{}, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	s := Space{
		Bytes: int64(st.Bavail) * st.Bsize, TotalBytes: int64(st.Blocks) * st.Bsize,
		Inodes: int64(st.Ffree), TotalInodes: int64(st.Files),
	}
	if st.Files == 0 {
		s.Inodes = -1
	}
	return s, nil
}

type osFile struct{ *os.File }

// Datasync implements File. EINTR is the one error that is no verdict about
// the data.
func (f osFile) Datasync() error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
	}
}

func (f osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// DropCache lets clean pages go, so that a read after a failed sync sees the
// disk and not the page that never got there.
func (f osFile) DropCache() {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

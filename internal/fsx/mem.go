package fsx

import (
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mem is a file system in memory that keeps apart what a program sees and what
// a disk would have after a power cut: file contents are safe after Datasync,
// directory entries after SyncDir of their directory, and not before.
//
// Crash makes the file system that the machine boots into. Of what was not
// synced it keeps a random part: writes in any order and torn at sectors,
// directory entries one by one.
type Mem struct {
	mu    sync.Mutex
	dirs  map[string]*memDir
	locks map[string]bool
	space Space
	dead  bool
}

type memDir struct {
	now     map[string]*memNode
	durable map[string]*memNode
	dirty   map[string]bool
	synced  bool // its own entry in the parent
}

// memNode is a file: now is durable with the writes.
type memNode struct {
	now     pages
	durable pages
	writes  []memWrite
	mtime   time.Time
}

type memWrite struct {
	off, end int64
	list     []*page // from that of off on; nil: the length was set to off
}

const sector = 512

// NewMem makes an empty file system with plenty of space.
func NewMem() *Mem {
	m := &Mem{dirs: map[string]*memDir{}, locks: map[string]bool{}, space: Space{
		Bytes: 1 << 50, Inodes: 1 << 40, TotalBytes: 1 << 51, TotalInodes: 1 << 41,
	}}
	m.dirs["/"] = &memDir{now: map[string]*memNode{}, durable: map[string]*memNode{}, dirty: map[string]bool{}, synced: true}
	m.dirs["."] = m.dirs["/"]
	return m
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// SetFree sets what Free reports, and the number of bytes that writes beyond
// the end of files may still take before they fail with ENOSPC.
func (m *Mem) SetFree(s Space) {
	m.mu.Lock()
	m.space = s
	m.mu.Unlock()
}

func (m *Mem) dirOf(op, name string) (*memDir, string, error) {
	name = path.Clean(name)
	if m.dead {
		return nil, "", pathError(op, name, syscall.EIO)
	}
	d := m.dirs[path.Dir(name)]
	if d == nil {
		return nil, "", pathError(op, name, fs.ErrNotExist)
	}
	return d, path.Base(name), nil
}

// Open implements FS.
func (m *Mem) Open(name string, flag int, _ fs.FileMode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.dirOf("open", name)
	if err != nil {
		return nil, err
	}
	n := d.now[base]
	switch {
	case n != nil && flag&os.O_EXCL != 0 && flag&os.O_CREATE != 0:
		return nil, pathError("open", name, fs.ErrExist)
	case n == nil && flag&os.O_CREATE == 0:
		return nil, pathError("open", name, fs.ErrNotExist)
	case n == nil:
		n = &memNode{mtime: time.Now()}
		d.set(base, n)
	case flag&os.O_TRUNC != 0:
		n.truncate(0)
	}
	return &memFile{m: m, n: n, name: name}, nil
}

func (d *memDir) set(base string, n *memNode) {
	if n == nil {
		delete(d.now, base)
	} else {
		d.now[base] = n
	}
	d.dirty[base] = true
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(name string, _ fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return pathError("mkdir", name, syscall.EIO)
	}
	for p := path.Clean(name); m.dirs[p] == nil; p = path.Dir(p) {
		m.dirs[p] = &memDir{now: map[string]*memNode{}, durable: map[string]*memNode{}, dirty: map[string]bool{}}
	}
	return nil
}

// ReadDir implements FS.
func (m *Mem) ReadDir(name string) ([]Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	d := m.dirs[name]
	if m.dead {
		return nil, pathError("readdir", name, syscall.EIO)
	}
	if d == nil {
		return nil, pathError("readdir", name, fs.ErrNotExist)
	}
	var list []Info
	for base, n := range d.now {
		list = append(list, Info{Name: base, Size: n.now.size, ModTime: n.mtime})
	}
	for p := range m.dirs {
		if path.Dir(p) == name && p != name {
			list = append(list, Info{Name: path.Base(p), Dir: true})
		}
	}
	slices.SortFunc(list, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// Rename implements FS.
func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, a, err := m.dirOf("rename", oldName)
	if err != nil {
		return err
	}
	to, b, err := m.dirOf("rename", newName)
	if err != nil {
		return err
	}
	n := from.now[a]
	if n == nil {
		return pathError("rename", oldName, fs.ErrNotExist)
	}
	from.set(a, nil)
	to.set(b, n)
	return nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.dirOf("remove", name)
	if err != nil {
		return err
	}
	n := d.now[base]
	if n == nil {
		return pathError("remove", name, fs.ErrNotExist)
	}
	d.set(base, nil)
	return nil
}

// SyncDir implements FS. It makes the subdirectories durable too.
func (m *Mem) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	d := m.dirs[name]
	if m.dead {
		return pathError("syncdir", name, syscall.EIO)
	}
	if d == nil {
		return pathError("syncdir", name, fs.ErrNotExist)
	}
	for base := range d.dirty {
		if n := d.now[base]; n != nil {
			d.durable[base] = n
		} else {
			delete(d.durable, base)
		}
	}
	clear(d.dirty)
	for p, sub := range m.dirs {
		if path.Dir(p) == name {
			sub.synced = true
		}
	}
	return nil
}

// Lock implements FS.
func (m *Mem) Lock(name string) (io.Closer, error) {
	f, err := m.Open(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[name] {
		return nil, ErrLocked
	}
	m.locks[name] = true
	return &memLock{f, m, name}, nil
}

type memLock struct {
	File
	m    *Mem
	name string
}

func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	delete(l.m.locks, l.name)
	return nil
}

// Free implements FS.
func (m *Mem) Free(string) (Space, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.space, nil
}

type memFile struct {
	m    *Mem
	n    *memNode
	name string
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.m.dead {
		return 0, pathError("read", f.name, syscall.EIO)
	}
	n := f.n.now.readAt(p, off)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.m.dead {
		return 0, pathError("write", f.name, syscall.EIO)
	}
	n := len(p)
	if grow := off + int64(n) - f.n.now.size; grow > 0 {
		if grow > f.m.space.Bytes {
			n = max(0, n-int(grow-f.m.space.Bytes))
			grow = f.m.space.Bytes
		}
		f.m.space.Bytes -= grow
	}
	f.n.write(p[:n], off)
	if n < len(p) {
		return n, pathError("write", f.name, syscall.ENOSPC)
	}
	return n, nil
}

func (n *memNode) write(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	n.mtime = time.Now()
	n.now.write(p, off)
	end := off + int64(len(p))
	n.writes = append(n.writes, memWrite{off, end, slices.Clone(n.now.list[off/pageSize : pageCount(end)])})
}

func (n *memNode) truncate(size int64) {
	n.writes = append(n.writes, memWrite{off: size})
	n.now.resize(size)
}

func (f *memFile) Datasync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.m.dead {
		return pathError("fdatasync", f.name, syscall.EIO)
	}
	f.n.sync()
	return nil
}

func (n *memNode) sync() {
	n.durable = n.now.share()
	n.writes = nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.n.now.size, nil
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.m.dead {
		return pathError("truncate", f.name, syscall.EIO)
	}
	f.n.truncate(size)
	return nil
}

func (f *memFile) Close() error { return nil }
func (f *memFile) DropCache()   {}

// lose is a sync that fails as Linux does it: the pages are dropped, and reads
// see what the disk has.
func (m *Mem) lose(n *memNode) {
	n.writes = nil
	n.now = n.durable.share()
}

// Flip inverts bits of one durable byte: rot.
func (m *Mem) Flip(name string, off int64, mask byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.dirOf("flip", name)
	if err != nil || d.now[base] == nil {
		return false
	}
	n := d.now[base]
	if off >= n.now.size {
		return false
	}
	b := []byte{0}
	n.now.readAt(b, off)
	b[0] ^= mask
	n.now.write(b, off)
	n.sync()
	return true
}

// Clone copies the file system as it is, with nothing left unsynced.
func (m *Mem) Clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.image(func(d *memDir) map[string]*memNode { return d.now }, func(n *memNode) pages { return n.now.share() })
}

// Crash is the file system after a power cut. The old one is dead from then
// on: all calls fail.
func (m *Mem) Crash(r *rand.Rand) *Mem {
	image := m.CrashImage(r)
	m.mu.Lock()
	m.dead = true
	m.mu.Unlock()
	return image
}

// CrashImage is one of the disks that a power cut now could leave behind.
func (m *Mem) CrashImage(r *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.image(func(d *memDir) map[string]*memNode { return d.survivors(r) },
		func(n *memNode) pages { return n.survivor(r) })
}

func (m *Mem) image(entries func(*memDir) map[string]*memNode, content func(*memNode) pages) *Mem {
	c := NewMem()
	c.space = m.space
	seen := map[*memNode]*memNode{}
	for _, p := range sortedKeys(m.dirs) {
		nd := c.dirs[p]
		if nd == nil {
			nd = &memDir{now: map[string]*memNode{}, durable: map[string]*memNode{}, dirty: map[string]bool{}, synced: true}
			c.dirs[p] = nd
		}
		list := entries(m.dirs[p])
		for _, base := range sortedKeys(list) {
			n := list[base]
			if seen[n] == nil {
				b := content(n)
				seen[n] = &memNode{now: b.share(), durable: b.share(), mtime: n.mtime}
			}
			nd.now[base], nd.durable[base] = seen[n], seen[n]
		}
	}
	return c
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// survivors keeps each unsynced change of the directory or not. A node whose
// old name was lost with its new one is gone, as on a disk without a journal.
func (d *memDir) survivors(r *rand.Rand) map[string]*memNode {
	list := map[string]*memNode{}
	for base, n := range d.durable {
		list[base] = n
	}
	for _, base := range sortedKeys(d.dirty) {
		if r.IntN(2) == 0 {
			continue
		}
		if n := d.now[base]; n != nil {
			list[base] = n
		} else {
			delete(list, base)
		}
	}
	return list
}

// survivor applies a random part of the unsynced writes, sector by sector.
func (n *memNode) survivor(r *rand.Rand) pages {
	b := n.durable.share()
	mode := r.IntN(4) // 0: none, 1: all, else: a part
	for _, w := range n.writes {
		switch {
		case mode == 0 || mode > 1 && r.IntN(3) == 0:
		case w.list == nil:
			b.resize(w.off)
		case mode == 3:
			w.tear(&b, r)
		default:
			b.take(w.list, w.off/pageSize, w.off, w.end)
		}
	}
	return b
}

// tear applies some sectors of a write.
func (w *memWrite) tear(b *pages, r *rand.Rand) {
	from := w.off // of the sectors that come next
	for at := w.off; at < w.end; {
		next := min(at/sector*sector+sector, w.end)
		if r.IntN(4) == 0 {
			if from < at {
				b.take(w.list, w.off/pageSize, from, at)
			}
			from = next
		}
		at = next
	}
	if from < w.end {
		b.take(w.list, w.off/pageSize, from, w.end)
	}
}

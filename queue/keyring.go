package queue

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"mailweir/internal/fsx"
)

// keyring is the keys of a spool.
type keyring struct {
	fs  fsx.FS
	dir string // spool/keys

	mu      sync.RWMutex
	masters []Key // the first is in use; none: nothing is sealed
	epochs  map[uint32]*epochKey
	current *epochKey  // seals what is new
	last    uint32     // highest number so far, in keys/ or in the log
	turn    sync.Mutex // who changes files in keys/
	lost    map[uint32]bool
}

func (r *keyring) on() bool { return len(r.masters) > 0 }

func (r *keyring) get(number uint32) *epochKey {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.epochs[number]
}

func (r *keyring) now() *epochKey {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.current
}

func (r *keyring) name(number uint32) string { return fmt.Sprintf("%s/%08x.key", r.dir, number) }

const (
	keySuffix  = ".key"
	newSuffix  = ".new"  // a key that is being sealed with another master key
	halfSuffix = ".tmp"  // the same, while it is written
	lostSuffix = ".lost" // an admin gave up what that epoch sealed
)

// read reads all keys and touches nothing. Without a master key there must be
// none.
func (r *keyring) read() error {
	r.epochs, r.lost = map[uint32]*epochKey{}, map[uint32]bool{}
	infos, err := r.fs.ReadDir(r.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, info := range infos {
		base, suffix := info.Name[:min(8, len(info.Name))], info.Name[min(8, len(info.Name)):]
		n, err := strconv.ParseUint(base, 16, 32)
		if err != nil || n == 0 {
			continue
		}
		r.last = max(r.last, uint32(n))
		switch suffix {
		case lostSuffix:
			r.lost[uint32(n)] = true
		case keySuffix, newSuffix:
			if err := r.readKey(uint32(n), info.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// readKey reads one file. Of a key that was being sealed anew when the process
// ended either file may be whole.
func (r *keyring) readKey(number uint32, name string) error {
	b, err := readWhole(r.fs, r.dir+"/"+name, keyFileLen)
	if err != nil {
		return err
	}
	if len(b) == 0 || bytes.Equal(b, make([]byte, len(b))) {
		return nil // being made, or destroyed, when the process ended
	}
	if !r.on() {
		return fmt.Errorf("%w: %s/%s: the spool is encrypted, and no key is configured (queue.encryption_key)", ErrKey, r.dir, name)
	}
	k, err := decodeEpochKey(b, r.masters)
	switch {
	case errors.Is(err, errOtherMaster):
		return fmt.Errorf("%w: %s/%s is sealed with the master key %s, which is not in the key file", ErrKey, r.dir, name, hex.EncodeToString(b[16:24]))
	case err != nil || k.number != number:
		return nil // what it sealed is missed when the log is read
	}
	r.epochs[number] = k
	return nil
}

func readWhole(fsys fsx.FS, name string, most int) ([]byte, error) {
	f, err := fsys.Open(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, most+1)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return b[:n], nil
}

// store writes a file, in place where there is one, and makes it durable under
// its name.
func (r *keyring) store(q *Queue, name string, b []byte) error {
	f, err := r.fs.Open(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.Datasync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = q.syncDir(r.dir)
	}
	return err
}

// begin makes a new epoch the current one.
func (r *keyring) begin(q *Queue) error {
	r.mu.Lock()
	k := &epochKey{number: r.last + 1, created: q.nowMilli()}
	master := r.masters[0]
	r.last++
	rand.Read(k.key[:])
	k.aead, k.master = newAEAD(k.key[:]), master.id()
	r.epochs[k.number] = k // from here on a file may lie there
	r.mu.Unlock()
	if err := r.store(q, r.name(k.number), k.encode(master)); err != nil {
		if derr := r.destroy(q, k); derr != nil {
			q.o.Logger.Error("queue: cannot remove a key that was not used, tried again later", "epoch", k.number, "err", derr)
		}
		return fmt.Errorf("queue: new key: %w", err)
	}
	r.use(k)
	return nil
}

// destroy makes a key unreadable: zeroed in place, synced, unlinked. The file
// system may have copied it elsewhere all the same; then it is still sealed
// with the master key. Where that fails the key stays in the ring: what is left
// of it is sealed anew with the others, and destroyed the next time.
func (r *keyring) destroy(q *Queue, k *epochKey) error {
	stem := strings.TrimSuffix(r.name(k.number), keySuffix)
	for _, suffix := range []string{keySuffix, newSuffix, halfSuffix} {
		if err := r.shred(stem + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := q.syncDir(r.dir); err != nil {
		return err
	}
	r.mu.Lock()
	delete(r.epochs, k.number)
	r.mu.Unlock()
	clear(k.key[:])
	return nil
}

// shred takes no space: it works on a full disk, too.
func (r *keyring) shred(name string) error {
	f, err := r.fs.Open(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err == nil {
		_, err = f.WriteAt(make([]byte, min(size, keyFileLen)), 0)
	}
	if err == nil {
		err = f.Datasync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = r.fs.Remove(name)
	}
	return err
}

package queue

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"mailweir/internal/fsx"
)

// Three kinds of keys, each 32 octets, AES-256-GCM. A message has a data key of
// its own; it lies in the message's copies, sealed with the key of an epoch. An
// epoch is an hour; its key lies in spool/keys, sealed with the master key, which
// comes from outside of the spool. What an epoch sealed is unreadable for ever
// once its key is destroyed, and that is done as soon as no message in the queue
// needs it (epochs.go).
//
//	spool/keys/%08x.key
//	 0  magic   u64  "MMWQKEY1"    24  created i64  Unix ms
//	 8  version u32  1             32  nonce  [12]
//	12  epoch   u32                44  key    [32], sealed, and tag [16]
//	16  master ID [8]              92  checksum u32  of 0..91
//
// The first 32 octets are the additional data of the seal. The ID of a master
// key is the start of SHA-256("mailweir master key" and the key).

// Key is a master key. It never shows itself.
type Key [32]byte

// String keeps the key out of logs.
func (Key) String() string { return "***" }

// GoString keeps the key out of %#v.
func (Key) GoString() string { return "***" }

// MarshalText keeps the key out of JSON.
func (Key) MarshalText() ([]byte, error) { return []byte("***"), nil }

func (k Key) id() [8]byte {
	sum := sha256.Sum256(append([]byte("mailweir master key"), k[:]...))
	return [8]byte(sum[:8])
}

// keyPrefix starts a line of a key file with a key.
const keyPrefix = "mailweir-key-1 "

// NewKeyLine makes a master key, as a line for a key file.
func NewKeyLine() string {
	var k Key
	rand.Read(k[:]) // never fails
	return keyPrefix + base64.StdEncoding.EncodeToString(k[:]) + "\n"
}

// ParseKeys reads a key file: one key a line, the one in use first, those that
// are still to be read with after it. Lines that are empty or start with # do
// not count. Errors never show what stands there.
func ParseKeys(text []byte) ([]Key, error) {
	var keys []Key
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		code, ok := bytes.CutPrefix(line, []byte(keyPrefix))
		raw, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(code)))
		if !ok || err != nil || len(raw) != len(Key{}) {
			return nil, fmt.Errorf("line %d is no key: want %q and 44 characters of base64, as 'gateway queue key new' writes it", number, strings.TrimSpace(keyPrefix))
		}
		keys = append(keys, Key(raw))
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no key in it")
	}
	return keys, nil
}

const (
	keyMagic   = 0x3159454b51574d4d // "MMWQKEY1"
	keyFileLen = 96
	nonceSize  = 12
	tagSize    = 16
	dataKeyLen = 32
)

// epochKey is the key of one epoch.
type epochKey struct {
	number  uint32
	created int64 // Unix milliseconds
	key     [32]byte
	aead    cipher.AEAD
	master  [8]byte // ID of the master key that it is sealed with

	// Guarded by Queue.mu.
	live  int  // messages whose copy, the current one or one on its way, is sealed with it
	spent bool // it sealed something that is of no more use, and shall be unreadable
}

func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("queue: " + err.Error()) // the length is ours
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("queue: " + err.Error())
	}
	return aead
}

func (k *epochKey) encode(master Key) []byte {
	b := make([]byte, 44, keyFileLen)
	le.PutUint64(b[0:], keyMagic)
	le.PutUint32(b[8:], 1)
	le.PutUint32(b[12:], k.number)
	id := master.id()
	copy(b[16:], id[:])
	le.PutUint64(b[24:], uint64(k.created))
	rand.Read(b[32:44])
	b = newAEAD(master[:]).Seal(b, b[32:44], k.key[:], b[:32])
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// errOtherMaster: the key that an epoch's key is sealed with is not at hand.
var errOtherMaster = errors.New("sealed with another master key")

// decodeEpochKey reads the file of an epoch's key.
func decodeEpochKey(b []byte, masters []Key) (*epochKey, error) {
	if len(b) != keyFileLen || le.Uint64(b) != keyMagic || le.Uint32(b[8:]) != 1 ||
		le.Uint32(b[92:]) != crc32.Checksum(b[:92], castagnoli) {
		return nil, ErrDamaged
	}
	k := &epochKey{number: le.Uint32(b[12:]), master: [8]byte(b[16:24]), created: int64(le.Uint64(b[24:]))}
	for _, m := range masters {
		if m.id() != k.master {
			continue
		}
		if _, err := newAEAD(m[:]).Open(k.key[:0], b[32:44], b[44:92], b[:32]); err != nil {
			return nil, ErrDamaged
		}
		k.aead = newAEAD(k.key[:])
		return k, nil
	}
	return nil, errOtherMaster
}

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
		return fmt.Errorf("%w: %s/%s: the spool is encrypted, and no key is configured ([queue.encryption])", ErrKey, r.dir, name)
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

// reseal seals every epoch's key with the first master key, whichever it was
// sealed with: in a second file first, then in place, so that one of the two is
// whole at each moment and the old seal is gone at the end.
func (r *keyring) reseal(q *Queue, masters []Key) error {
	r.mu.Lock()
	r.masters = masters
	var list []*epochKey
	for _, k := range r.epochs {
		if k.master != masters[0].id() {
			list = append(list, k)
		}
	}
	r.mu.Unlock()
	for _, k := range list {
		// Until all is done files sealed with either may lie there, whatever the
		// next call is asked to seal with.
		r.sealedBy(k, [8]byte{})
		name, b := r.name(k.number), k.encode(masters[0])
		half := strings.TrimSuffix(name, keySuffix) + halfSuffix
		fresh := strings.TrimSuffix(name, keySuffix) + newSuffix
		err := r.store(q, half, b)
		if err == nil {
			err = r.fs.Rename(half, fresh) // which may be there: an earlier try failed
		}
		if err == nil {
			err = q.syncDir(r.dir)
		}
		if err == nil {
			err = r.promote(q, fresh, name, b)
		}
		if err != nil {
			return fmt.Errorf("queue: sealing %s with the new master key: %w", name, err)
		}
		r.sealedBy(k, masters[0].id())
	}
	return nil
}

func (r *keyring) sealedBy(k *epochKey, master [8]byte) {
	r.mu.Lock()
	k.master = master
	r.mu.Unlock()
}

// promote gives a key that was sealed anew, and lies durably in fresh, its own
// name.
func (r *keyring) promote(q *Queue, fresh, name string, b []byte) error {
	err := r.store(q, name, b)
	if err == nil {
		err = r.shred(fresh) // once the key is destroyed no copy of it may lie about
	}
	if err == nil {
		err = q.syncDir(r.dir) // it must not come back, sealed with what is an old key then
	}
	return err
}

// tidy ends what a crash has left behind in keys/.
func (r *keyring) tidy(q *Queue) error {
	infos, err := r.fs.ReadDir(r.dir)
	if err != nil {
		return err
	}
	for _, info := range infos {
		if err := r.tidyFile(q, info.Name); err != nil {
			return err
		}
	}
	return q.syncDir(r.dir)
}

func (r *keyring) tidyFile(q *Queue, base string) error {
	name := r.dir + "/" + base
	if strings.HasSuffix(base, halfSuffix) {
		return r.shred(name)
	}
	stem, isNew := strings.CutSuffix(base, newSuffix)
	number, err := strconv.ParseUint(strings.TrimSuffix(stem, keySuffix), 16, 32)
	if err != nil {
		return nil
	}
	b, err := readWhole(r.fs, name, keyFileLen)
	if err != nil {
		return err
	}
	k, err := decodeEpochKey(b, r.masters)
	switch whole := err == nil && k.number == uint32(number); {
	case whole && isNew:
		return r.promote(q, name, r.name(k.number), b)
	case !whole && (isNew && r.get(uint32(number)) != nil || len(b) == 0 || bytes.Equal(b, make([]byte, len(b)))):
		return r.fs.Remove(name)
	}
	return nil
}

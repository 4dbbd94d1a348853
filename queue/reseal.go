package queue

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

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

package queue

import (
	"errors"
	"syscall"
	"time"

	"mailweir/internal/fsx"
)

// The keys of epochs come and go. A key that no message in the queue needs is
// destroyed at once, but for the current one: all that was relayed, deleted or
// erased under it is unreadable then, wherever a copy of the disk may lie. A
// message that stays keeps the key of its epoch alive; so the messages of an
// epoch are relocated under the current key before the oldest thing that it
// sealed, and that is over, is a day old.

const (
	epochLength = time.Hour
	epochKept   = 22 * time.Hour // from its end until its survivors are relocated
)

// openKeys makes the spool ready to seal: after the log was read, and before
// the first record is written.
func (q *Queue) openKeys() error {
	if err := q.upgrade(); err != nil {
		return err
	}
	if !q.keys.on() {
		return nil
	}
	q.doubtKeyless()
	if err := q.fs.MkdirAll(q.keys.dir, 0o700); err != nil {
		return err
	}
	if err := q.keys.tidy(q); err != nil {
		return err
	}
	var newest *epochKey
	for _, k := range q.keys.list() {
		newest, k.spent = k, true
	}
	if newest != nil && q.nowMilli()-newest.created < epochLength.Milliseconds() {
		q.keys.use(newest)
	} else if err := q.keys.begin(q); errors.Is(err, syscall.ENOSPC) && newest != nil {
		q.keys.use(newest) // the queue works on a full disk, too
	} else if err != nil {
		return err
	}
	return q.keys.reseal(q, q.keys.masters)
}

func (r *keyring) use(k *epochKey) {
	r.mu.Lock()
	r.current = k
	r.mu.Unlock()
}

// turnKeys is the janitor's part: a new epoch when the current one is old and
// was used, and an end for those whose time is over.
func (q *Queue) turnKeys(now time.Time, pace func() bool) {
	if !q.keys.on() {
		return
	}
	q.keys.turn.Lock()
	defer q.keys.turn.Unlock()
	current := q.keys.now()
	q.mu.Lock()
	used := current.live > 0 || current.spent
	q.mu.Unlock()
	if used && now.UnixMilli()-current.created >= epochLength.Milliseconds() {
		if err := q.keys.begin(q); err != nil {
			q.o.Logger.Error("queue: no new key, the one in use stays", "err", err)
			return
		}
	}
	for _, k := range q.keys.list() {
		over := now.UnixMilli()-k.created >= (epochLength + epochKept).Milliseconds()
		if k != q.keys.now() && over && !q.moveOn(k, pace) {
			return
		}
	}
	q.destroyKeys(q.keys.now())
}

// moveOn relocates what is left of an epoch under the current key, when some of
// what the old one sealed shall be unreadable. It reports whether to go on.
func (q *Queue) moveOn(k *epochKey, pace func() bool) bool {
	q.mu.Lock()
	if !k.spent || k.live == 0 {
		q.mu.Unlock()
		return true
	}
	var list []*entry
	q.walk(func(e *entry) bool {
		if e.key == k.number {
			list = append(list, e)
		}
		return true
	})
	q.mu.Unlock()
	size := 0
	for _, e := range list {
		q.mu.Lock()
		if !e.gone && e.key == k.number {
			size += q.relocate(e)
		}
		q.mu.Unlock()
		if size >= compactPiece {
			size = 0
			if !pace() {
				return false
			}
		}
	}
	return pace()
}

// destroyKeys destroys the keys that no message needs, but for one to keep.
func (q *Queue) destroyKeys(keep *epochKey) {
	for _, k := range q.keys.list() {
		q.mu.Lock()
		needed := k == keep || k.live > 0
		q.mu.Unlock()
		if needed {
			continue
		}
		if err := q.keys.destroy(q, k); err != nil {
			q.o.Logger.Error("queue: cannot destroy a key, what it sealed stays readable with the master key", "epoch", k.number, "err", err)
			continue
		}
		q.o.Metrics.keysDestroyed.Inc()
	}
}

// Rekey takes new master keys, the first of them in use: the keys of all epochs
// are sealed with it, and a new epoch begins. When it returns nil, older master
// keys are no longer needed. Intake and delivery go on meanwhile.
func (q *Queue) Rekey(keys []Key) error {
	if len(keys) == 0 || !q.keys.on() {
		return errNoKeys
	}
	q.keys.turn.Lock()
	defer q.keys.turn.Unlock()
	select {
	case <-q.stop:
		return ErrClosed // another process may have the spool
	default:
	}
	if err := q.keys.reseal(q, keys); err != nil {
		return err
	}
	return q.keys.begin(q)
}

// Rekey does the same to a spool that no gateway has open.
func Rekey(fsys fsx.FS, dir string, keys []Key) error {
	if len(keys) == 0 {
		return errNoKeys
	}
	o := Options{Keys: keys}
	o.setDefaults()
	q := newQueue(fsys, dir, o, true)
	fresh, err := checkFormat(fsys, dir)
	if fresh || err != nil {
		return err
	}
	if q.lock, err = fsys.Lock(q.dir + "/LOCK"); err != nil {
		if errors.Is(err, fsx.ErrLocked) {
			return ErrInUse
		}
		return err
	}
	defer q.lock.Close()
	if err := q.keys.read(); err != nil || len(q.keys.epochs) == 0 {
		return err
	}
	if err := q.keys.tidy(q); err != nil {
		return err
	}
	return q.keys.reseal(q, keys)
}

var errNoKeys = errors.New("queue: encryption begins and ends with a start of the gateway")

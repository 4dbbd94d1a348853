package bayes

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"mailweir/filter"
	"mailweir/internal/fsx"
)

// Files of a store's folder.
const (
	logName   = "lessons"
	modelName = "model"
	lockName  = "lock"
)

// maxLessons is the most that a store can be told to keep of either class.
const maxLessons = 100000

// ErrDamaged means that the log of lessons cannot be read. What was learned
// lies in it alone: only an erasure, or a backup, helps. The model stays in
// force meanwhile.
var ErrDamaged = errors.New("bayes: the log of lessons is damaged")

// ErrOldVersion means that an older gateway learned, which looked at other
// features of a message: what it kept says nothing of them, so that it takes an
// erasure, and the same mail again.
var ErrOldVersion = errors.New("bayes: learned by an older version of the gateway: `gateway learn --erase`, and learn the same mail again")

// Store is the lessons of one scope, open for learning: one process at a time.
// The gateway needs none to judge.
type Store struct {
	fs      fsx.FS
	dir     string
	keep    int // lessons of each class
	lock    io.Closer
	key, id uint64
	size    int64 // of the log
	lessons map[uint64]*lesson
	order   []*lesson // as they were learned; may hold what is in force no more
	dead    int       // records that are in force no more
	pending []byte    // records that Commit writes
	files   []learnedFile
	changed bool
	anew    bool // the log is to be written anew
}

// Open opens the store in dir, which is made if need be, and keeps it locked
// until Close. It waits for another that learns, as long as ctx allows. Of each
// class the latest keep lessons are kept.
func Open(ctx context.Context, f fsx.FS, dir string, keep int) (*Store, error) {
	if err := makeDir(f, dir); err != nil {
		return nil, err
	}
	lock, err := waitLock(ctx, f, path.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	s := &Store{fs: f, dir: dir, keep: min(keep, maxLessons), lock: lock, lessons: make(map[uint64]*lesson)}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// makeDir makes dir so that it is there after a crash: with the folders above
// it that may be new, up to data_dir.
func makeDir(f fsx.FS, dir string) error {
	if err := f.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for range 3 {
		dir = path.Dir(dir)
		if err := f.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func waitLock(ctx context.Context, f fsx.FS, name string) (io.Closer, error) {
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for {
		lock, err := f.Lock(name)
		if !errors.Is(err, fsx.ErrLocked) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("another process learns: %w", context.Cause(ctx))
		case <-retry.C:
		}
	}
}

// Close gives the store back. What was not committed is not learned.
func (s *Store) Close() error { return s.lock.Close() }

func (s *Store) load() error {
	data, err := fsx.Content(s.fs, path.Join(s.dir, logName))
	if errors.Is(err, fs.ErrNotExist) {
		s.key, s.id = random(), random()
		return nil
	} else if err != nil {
		return err
	}
	if s.key, s.id, err = readLogHeader(data); err != nil {
		return err
	}
	at := logHead
	for {
		l, forget, n := readRecord(data[at:])
		if n == 0 {
			break
		}
		s.apply(l, forget)
		at += n
	}
	s.size = int64(at)
	if _, s.files, err = loadFiles(s.fs, s.dir); err != nil {
		s.files, s.changed = nil, true // what the lessons say of texts is worth more
	}
	return s.compareModel()
}

// compareModel tells a record that was never acknowledged from damage, and
// notices a model that a crash left behind the log.
func (s *Store) compareModel() error {
	m, err := LoadModel(s.fs, s.dir)
	s.changed = err != nil || m.logID != s.id || m.logSize != s.size
	if err == nil && m.logID == s.id && s.size < m.logSize {
		return fmt.Errorf("%w: no whole record at octet %d of %s", ErrDamaged, s.size, path.Join(s.dir, logName))
	}
	return nil
}

func (s *Store) apply(l *lesson, forget bool) {
	if _, there := s.lessons[l.digest]; there {
		s.dead++
	}
	if forget {
		s.dead++
		delete(s.lessons, l.digest)
		return
	}
	s.lessons[l.digest] = l
	s.order = append(s.order, l)
}

// Result is what became of a message that was to be learned or forgotten.
type Result int

// Results of Learn and Forget.
const (
	Learned   Result = iota // it is new
	Relearned               // it was learned the other way round before
	Known                   // it was learned already, and counts once
	Forgotten
	Unknown // there was nothing to forget
)

// Learn takes a message in, by its facts. Commit makes it last.
func (s *Store) Learn(f *filter.Facts, spam bool, now time.Time) Result {
	e := extractors.Get().(*extractor)
	defer extractors.Put(e)
	l := &lesson{spam: spam, day: uint32(now.Unix() / 86400), digest: digest(f, s.key)}
	old := s.lessons[l.digest]
	s.learnFiles(l.digest, f, spam)
	if old != nil && old.spam == spam {
		return Known
	}
	l.features = e.features(f, s.key)
	l.all = slices.Clone(l.all)
	l.sketch, l.sketched = sketchOf(f, s.key)
	s.record(l, false)
	if old != nil {
		return Relearned
	}
	return Learned
}

// Forget undoes Learn.
func (s *Store) Forget(f *filter.Facts) Result {
	l := &lesson{digest: digest(f, s.key)}
	if s.lessons[l.digest] == nil {
		return Unknown
	}
	s.record(l, true)
	s.forgetFiles(l.digest)
	return Forgotten
}

func (s *Store) record(l *lesson, forget bool) {
	s.apply(l, forget)
	s.pending = appendRecord(s.pending, l, forget)
	s.changed = true
}

// digest tells a message from others by what its author wrote: the same mail
// to another recipient, or after another trace, is the same.
func digest(f *filter.Facts, key uint64) uint64 {
	h := hashString(f.Header.Subject)
	for i := range f.Header.From {
		h = pair(h, hashString(f.Header.From[i].Addr))
	}
	for _, w := range f.Body.Words {
		h = pair(h, w)
	}
	for i := range f.Body.URLs {
		h = pair(h, hashString(f.Body.URLs[i].Host))
	}
	for i := range f.Body.Parts {
		h = pair(h, hashString(f.Body.Parts[i].Type))
	}
	return finish(h, key)
}

// Count is how many lessons are in force.
func (s *Store) Count() (spam, ham int) {
	for _, l := range s.lessons {
		if l.spam {
			spam++
		} else {
			ham++
		}
	}
	return spam, ham
}

// Commit makes what was learned last, and trains a new model with it, which
// the gateway picks up. Nothing is done when nothing has changed.
func (s *Store) Commit() error {
	if !s.changed {
		return nil
	}
	live := s.age()
	var err error
	if s.size == 0 || s.anew || s.dead > len(live) {
		err = s.rewrite(live)
	} else {
		err = s.append()
	}
	if err != nil {
		return err
	}
	if err := s.commitFiles(); err != nil { // before the model, which the gateway watches
		return err
	}
	m := train(s.key, live)
	m.logID, m.logSize = s.id, s.size
	s.pending, s.changed, s.anew = nil, false, false
	return replace(s.fs, s.dir, modelName, m.encode())
}

// age drops the oldest lessons of a class that has too many, and returns those
// in force, in the order in which they were learned.
func (s *Store) age() []*lesson {
	spam, ham := s.Count()
	surplus := [2]int{max(0, ham-s.keep), max(0, spam-s.keep)}
	var live []*lesson
	for _, l := range s.order {
		if s.lessons[l.digest] != l {
			continue
		}
		if surplus[class(l.spam)] > 0 {
			surplus[class(l.spam)]--
			delete(s.lessons, l.digest)
			s.dead++
			s.pending = appendRecord(s.pending, l, true)
			continue
		}
		live = append(live, l)
	}
	s.order = live
	return live
}

func (s *Store) append() error {
	f, err := s.fs.Open(path.Join(s.dir, logName), os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = f.Truncate(s.size) // what is torn goes
	if err == nil {
		_, err = f.WriteAt(s.pending, s.size)
	}
	if err == nil {
		err = f.Datasync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	s.size += int64(len(s.pending))
	return nil
}

// rewrite makes a new log of what is in force.
func (s *Store) rewrite(live []*lesson) error {
	s.id = random()
	b := logHeader(s.key, s.id)
	for _, l := range live {
		b = appendRecord(b, l, false)
	}
	if err := replace(s.fs, s.dir, logName, b); err != nil {
		return err
	}
	s.size, s.dead = int64(len(b)), 0
	return nil
}

// Erase removes everything that was learned, the key included: nothing in a
// backup of the model can be told any more which words it was made from.
func (s *Store) Erase() error {
	for _, name := range []string{modelName, filesName, logName} {
		if err := s.fs.Remove(path.Join(s.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	s.lessons, s.order, s.dead, s.size = make(map[uint64]*lesson), nil, 0, 0
	s.pending, s.changed, s.anew, s.key, s.id = nil, false, false, random(), random()
	s.files = nil
	return s.fs.SyncDir(s.dir)
}

// EraseDamaged is Erase for a store that Open refuses.
func EraseDamaged(ctx context.Context, f fsx.FS, dir string) error {
	lock, err := waitLock(ctx, f, path.Join(dir, lockName))
	if err != nil {
		return err
	}
	s := &Store{fs: f, dir: dir, lock: lock}
	return errors.Join(s.Erase(), s.Close())
}

// replace writes a file so that either the old or the new one is there after a
// crash, whole.
func replace(f fsx.FS, dir, name string, data []byte) error {
	temporary := path.Join(dir, name+".new")
	file, err := f.Open(temporary, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(data, 0)
	if err == nil {
		err = file.Datasync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := f.Rename(temporary, path.Join(dir, name)); err != nil {
		return err
	}
	return f.SyncDir(dir)
}

// LoadModel reads the model of a store. The error is fs.ErrNotExist when
// nothing was learned.
func LoadModel(f fsx.FS, dir string) (*Model, error) {
	name := path.Join(dir, modelName)
	b, err := fsx.Content(f, name)
	if err != nil {
		return nil, err
	}
	m, err := decodeModel(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

func random() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

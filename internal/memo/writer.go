package memo

import (
	"context"
	"errors"
	"os"
	"path"
	"time"
)

const (
	// writeEvery is what a crash loses at most.
	writeEvery = time.Second
	// sweepEvery is how often what has expired is dropped from memory.
	sweepEvery = 10 * time.Minute
	// slack is how many records that are in force no more a file may have at
	// least before it is written anew.
	slack = 4096
)

// Write writes what has changed, for who does not Run.
func (t *Table) Write() error { return t.write() }

// Run writes what changes until ctx ends, and then the rest.
func (t *Table) Run(ctx context.Context) {
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case <-tick.C:
		}
		t.sweep()
		err := t.write()
		if err != nil && !t.failing {
			t.o.Log.Error("a table cannot be written; it is kept in memory", "file", t.path, "error", err)
		}
		t.failing = err != nil
	}
}

// sweep drops what has expired.
func (t *Table) sweep() {
	now := time.Now()
	if now.Sub(t.swept) < sweepEvery {
		return
	}
	t.swept = now
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, e := range t.entries {
		if t.expired(e, seconds(now)) {
			delete(t.entries, k)
		}
	}
}

// write appends what has changed, or writes the file anew. After a failure the
// next one does: what is on the disk is unknown then.
func (t *Table) write() error {
	t.mu.Lock()
	n, changed := len(t.entries), len(t.dirty)
	records := int((t.size-headSize)/recSize) + changed
	var b []byte
	anew := t.size == 0 || records > 2*n+slack
	switch {
	case changed == 0:
	case anew:
		b = appendHead(make([]byte, 0, headSize+n*recSize), t.key)
		for k, e := range t.entries {
			b = appendRecord(b, k, e)
		}
	default:
		b = make([]byte, 0, changed*recSize)
		for k := range t.dirty {
			b = appendRecord(b, k, t.entries[k]) // the zero Entry forgets
		}
	}
	clear(t.dirty)
	t.mu.Unlock()
	t.o.Metrics.entries(t.o.Name, n)
	if changed == 0 {
		return nil
	}
	var err error
	if anew {
		err = t.replace(b)
	} else {
		err = t.append(b)
	}
	t.o.Metrics.written(t.o.Name, changed, err)
	if err != nil {
		t.size = 0
		t.mu.Lock()
		for k := range t.entries { // something has to be dirty for the next try
			t.dirty[k] = struct{}{}
			break
		}
		t.mu.Unlock()
		return err
	}
	return nil
}

func (t *Table) append(b []byte) error {
	file, err := t.fs.Open(t.path, os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(b, t.size) // over what is torn, if anything is
	if err == nil {
		err = file.Datasync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		t.size += int64(len(b))
	}
	return err
}

// replace writes a new file so that after a crash either one is there, whole.
func (t *Table) replace(b []byte) error {
	dir := path.Dir(t.path)
	if err := t.fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temporary := t.path + ".new"
	file, err := t.fs.Open(temporary, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = file.WriteAt(b, 0); err == nil {
		err = file.Datasync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = t.fs.Rename(temporary, t.path)
	}
	if err == nil {
		err = t.syncDirs(dir)
	}
	if err == nil {
		t.size = int64(len(b))
	}
	return err
}

// syncDirs makes the file's name last, and that of its folder.
func (t *Table) syncDirs(dir string) error {
	return errors.Join(t.fs.SyncDir(dir), t.fs.SyncDir(path.Dir(dir)))
}

package queue

import (
	"errors"
	"io/fs"
	"sync"
	"testing"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// acts are all that an admin can limit to what a filter selects.
var acts = map[string]func(*Queue, mail.ID, Filter) error{
	"hold":    func(q *Queue, id mail.ID, f Filter) error { return q.Hold(id, f) },
	"release": func(q *Queue, id mail.ID, f Filter) error { return q.Release(id, f) },
	"reroute": func(q *Queue, id mail.ID, f Filter) error { return q.Reroute(id, "192.0.2.9:25", f) },
	"bounce":  func(q *Queue, id mail.ID, f Filter) error { return q.Bounce(id, f) },
	"delete":  func(q *Queue, id mail.ID, f Filter) error { return q.Delete(id, f) },
}

// TestOnly: an act does nothing to what its filter does not select.
func TestOnly(t *testing.T) {
	for verb, act := range acts {
		for _, f := range []Filter{
			{State: Held}, {Domain: "other.example"}, {Reverse: NullReverse}, {Recipient: "b@example.net"},
			{State: Queued, Recipient: "b@example.net"}, {OlderThan: 1 << 40},
		} {
			q := mustOpen(t, fsx.NewMem(), "/spool", Options{MinFreeBytes: 1, Metrics: modelMetrics})
			id := mustPut(t, q, []byte("a\r\n"), "a@example.net")
			before, _ := q.Get(id)
			if err := act(q, id, f); !errors.Is(err, ErrChanged) {
				t.Errorf("%s of %+v: %v", verb, f, err)
			}
			if after, there := q.Get(id); !there || after.State != before.State || q.Stats().Ledger.InQueue != 1 {
				t.Errorf("%s of %+v: %+v is left", verb, f, after)
			}
			if len(q.Reroutes()) > 0 {
				t.Errorf("%s of %+v: rerouted", verb, f)
			}
			if err := act(q, id, Filter{State: Queued, Recipient: "A@example.net", Domain: "Example.net"}); err != nil && !errors.Is(err, ErrNoReturn) {
				t.Errorf("%s of what is meant: %v", verb, err)
			}
			mustClose(t, q)
		}
	}
}

// TestOnlyWhatIsStillHeld: of one who deletes what is held and one who releases
// it, one is too late.
func TestOnlyWhatIsStillHeld(t *testing.T) {
	q := mustOpen(t, fsx.NewMem(), "/spool", Options{MinFreeBytes: 1, Metrics: modelMetrics})
	defer q.Close()
	for range 500 {
		id := mustPut(t, q, []byte("a\r\n"), "a@example.net")
		if err := q.Hold(id); err != nil {
			t.Fatal(err)
		}
		var deleted, released error
		var both sync.WaitGroup
		both.Go(func() { deleted = q.Delete(id, Filter{State: Held}) })
		both.Go(func() { released = q.Release(id) })
		both.Wait()
		switch {
		case deleted == nil && errors.Is(released, ErrNotFound), released == nil && errors.Is(deleted, ErrChanged):
		default:
			t.Fatalf("delete: %v, release: %v", deleted, released)
		}
	}
}

// readHook calls f before the first read after it was set.
type readHook struct {
	fsx.FS
	f func()
}

type hookedFile struct {
	fsx.File
	h *readHook
}

func (h *readHook) Open(name string, flag int, perm fs.FileMode) (fsx.File, error) {
	f, err := h.FS.Open(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &hookedFile{f, h}, nil
}

func (f *hookedFile) ReadAt(b []byte, off int64) (int, error) {
	if hook := f.h.f; hook != nil {
		f.h.f = nil
		hook()
	}
	return f.File.ReadAt(b, off)
}

// TestOnlyLooksAgain: what happens to a message while it is read from the disk
// counts, too.
func TestOnlyLooksAgain(t *testing.T) {
	for verb, act := range acts {
		if verb == "hold" || verb == "release" {
			continue // to what the other has done they do nothing
		}
		mem := fsx.NewMem()
		o := Options{MinFreeBytes: 1, Metrics: modelMetrics}
		q := mustOpen(t, mem, "/spool", o)
		id := mustPut(t, q, []byte("a\r\n"), "a@example.net")
		if err := q.Hold(id); err != nil {
			t.Fatal(err)
		}
		mustClose(t, q)
		h := &readHook{FS: mem}
		if q, err := open(h, "/spool", o, true); err != nil {
			t.Fatal(err)
		} else {
			var released error
			h.f = func() { released = q.Release(id) }
			err := act(q, id, Filter{State: Held, Recipient: "a@example.net"})
			if released != nil || h.f != nil || !errors.Is(err, ErrChanged) {
				t.Errorf("%s: %v, the release meanwhile: %v", verb, err, released)
			}
			if it, there := q.Get(id); !there || it.State == Held || len(q.Reroutes()) > 0 {
				t.Errorf("%s: %+v is left", verb, it)
			}
			mustClose(t, q)
		}
	}
}

package queue

import (
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"

	"mailweir/internal/fsx"
)

// TestPace: who makes the next segment waits while a batch is made durable, and
// when he is behind the writer, or the writer waits for him, he does not.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		p.init()
		p.wait(1) // nothing is under way
		p.begin()
		goes := make(chan struct{})
		turn := func(made float64, want bool, by func()) {
			t.Helper()
			go func() { p.wait(made); goes <- struct{}{} }()
			synctest.Wait()
			by()
			synctest.Wait()
			select {
			case <-goes:
				if !want {
					t.Error("it did not wait")
				}
			default:
				if want {
					t.Error("it waits")
				}
				n := p.pause()
				<-goes
				p.resume(n)
			}
		}
		n, nothing := 0, func() {}
		turn(0.1, false, nothing)
		turn(0.1, true, func() { p.end(0.1) })
		p.begin()
		turn(0.1, true, nothing)                           // as far as the writer
		turn(0.2, false, nothing)                          // ahead
		turn(0.2, true, func() { p.begin(); p.end(0.16) }) // not any more: the goal is three quarters
		turn(0.3, false, func() { p.begin(); p.end(0.2) }) // another commit, inside
		turn(0.3, true, func() { n = p.pause() })          // the writer waits
		turn(0.9, true, nothing)
		p.resume(n) // it got its segment
		turn(0.9, false, nothing)
		turn(0.9, true, func() { p.end(0) })
	})
}

// pacedFS counts the syncs of segments by whether the maker would have waited.
type pacedFS struct {
	fsx.FS
	q          *Queue
	held, free int
}

type pacedFile struct {
	fsx.File
	fs *pacedFS
}

func (p *pacedFS) Open(name string, flag int, perm fs.FileMode) (fsx.File, error) {
	f, err := p.FS.Open(name, flag, perm)
	if err == nil && strings.HasSuffix(name, ".log") {
		f = &pacedFile{f, p}
	}
	return f, err
}

func (f *pacedFile) Datasync() error {
	if q := f.fs.q; q != nil {
		q.log.pace.mu.Lock()
		if q.log.pace.urgent > 0 {
			f.fs.held++
		} else {
			f.fs.free++
		}
		q.log.pace.mu.Unlock()
	}
	return f.File.Datasync()
}

// TestCommitsArePaced: the maker is held while a batch is written and synced,
// is told how full the segment is, and goes on afterwards.
func TestCommitsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pacedFS{FS: fsx.NewMem()}
		q, err := Open(p, "/spool", Options{SegmentSize: 64 << 10, MinFreeBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the next segment is made
		p.q = q
		mustPut(t, q, []byte("x\r\n"), "a@d.example")
		synctest.Wait()
		if p.held != 1 || p.free != 0 {
			t.Errorf("%d syncs held the maker, %d did not", p.held, p.free)
		}
		if q.log.pace.urgent != 0 || q.log.pace.full <= 0 {
			t.Errorf("after the commit: %d under way, %v full", q.log.pace.urgent, q.log.pace.full)
		}
		mustClose(t, q)
	})
}

package queue

import (
	"math/rand/v2"
	"testing"

	"mailweir/internal/fsx"
)

// TestRekeyAfterAFault: the disk fails, at each call in turn, while a key is
// destroyed, a new one is made, or the master key is changed. Once a later
// change has succeeded, to whichever key, no disk that a power cut leaves needs
// another one.
func TestRekeyAfterAFault(t *testing.T) {
	for name, failing := range map[string]func(q *Queue){
		"destroy": func(q *Queue) { q.destroyKeys(q.keys.now()) },
		"begin":   func(q *Queue) { q.keys.begin(q) },
		"rekey":   func(q *Queue) { q.Rekey([]Key{{7}, testKeys[0]}) },
	} {
		t.Run(name, func(t *testing.T) {
			for fresh, keys := range map[string][]Key{"another": {{8}, {7}, testKeys[0]}, "back": {testKeys[0], {7}}} {
				at := 1
				for ; rekeyAfterFault(t, at, failing, keys); at++ {
				}
				t.Logf("%s: %d calls", fresh, at-1)
				if at < 4 {
					t.Errorf("only %d calls failed", at-1)
				}
			}
		})
	}
}

// rekeyAfterFault lets call number at of failing fail; false: it makes fewer.
func rekeyAfterFault(t *testing.T, at int, failing func(*Queue), keys []Key) bool {
	mem := fsx.NewMem()
	disk := &fsx.Faulty{FS: mem}
	q := openSealed(t, disk, testKeys)
	if err := q.keys.begin(q); err != nil { // the one before is of no use now
		t.Fatal(err)
	}
	id := mustPut(t, q, []byte("one\r\n"), "a@d.example")
	before, hit := disk.Calls(), false
	disk.Decide = func(n int, op fsx.Op) error {
		hit = hit || n == before+at
		if n == before+at {
			return errDisk
		}
		return nil
	}
	failing(q)
	disk.Decide = nil
	if err := q.Rekey(keys); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(uint64(at), 1))
	images := []*fsx.Mem{mem.CrashImage(r), mem.CrashImage(r), mem.CrashImage(r), mem.CrashImage(r)}
	q.Close()
	for _, image := range append(images, mem) {
		q := openSealed(t, image, keys[:1])
		wantContent(t, q, id, []byte("one\r\n"))
		q.Close()
	}
	return hit
}

// TestRekeyClosed: a spool that is given back is another process's.
func TestRekeyClosed(t *testing.T) {
	mem := fsx.NewMem()
	q := openSealed(t, mem, testKeys)
	q.Close()
	if err := q.Rekey([]Key{{7}}); err != ErrClosed {
		t.Errorf("got %v", err)
	}
}

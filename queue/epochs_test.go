package queue

import (
	"os"
	"testing"

	"mailweir/internal/fsx"
)

// TestEpochNumberOnce: a key that is made after a restart does not get the
// number of one that was destroyed while the log still has what it sealed. That
// would count as damage.
func TestEpochNumberOnce(t *testing.T) {
	mem := fsx.NewMem()
	q := openSealed(t, mem, testKeys)
	id := mustPut(t, q, []byte("one\r\n"), "a@d.example")
	number := q.keys.now().number
	if err := q.Delete(id); err != nil {
		t.Fatal(err)
	}
	q.Close() // its key goes
	q = openSealed(t, mem, testKeys)
	defer q.Close()
	if n := q.keys.now().number; n <= number {
		t.Errorf("epoch %d again, after %d", n, number)
	}
	q.Close()
	for _, s := range recoveredSegments(t, mem) {
		if s.damaged {
			t.Errorf("segment %d counts as damaged", s.number)
		}
	}
}

// recoveredSegments are those that a start finds.
func recoveredSegments(t *testing.T, mem *fsx.Mem) []*segment {
	t.Helper()
	o := Options{Keys: testKeys}
	o.setDefaults()
	q := newQueue(mem, "/spool", o, true)
	if err := q.keys.read(); err != nil {
		t.Fatal(err)
	}
	if _, err := q.readLog(os.O_RDONLY); err != nil {
		t.Fatal(err)
	}
	return q.sorted()
}

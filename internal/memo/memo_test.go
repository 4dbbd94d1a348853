package memo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/internal/fsx"
)

const file = "/data/memo/table"

func open(t testing.TB, f fsx.FS, most int) *Table {
	t.Helper()
	table, err := Open(f, file, Options{Most: most, Keep: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func newDisk(t testing.TB) *fsx.Mem {
	t.Helper()
	f := fsx.NewMem()
	for _, dir := range []string{"/data"} {
		if err := errors.Join(f.MkdirAll(dir, 0o700), f.SyncDir("/")); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func set(t *Table, name string, a uint32) {
	t.Update(t.Key("n", name), func(e Entry, _ bool, _ uint32) Entry { e.A = a; return e })
}

// want checks A of a name, -1 for nothing.
func want(t *testing.T, table *Table, name string, a int) {
	t.Helper()
	e, known := table.Get(table.Key("n", name))
	if known != (a >= 0) || known && e.A != uint32(a) {
		t.Errorf("%s: %+v, %v; want %d", name, e, known, a)
	}
}

// TestSurvives: what a second has passed over is there after a crash, whatever
// else the disk lost; and a name is nowhere in the file.
func TestSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newDisk(t)
		table := open(t, disk, 100)
		ctx, cancel := context.WithCancel(t.Context())
		go table.Run(ctx)
		set(table, "secret.example", 1)
		time.Sleep(writeEvery + time.Millisecond)
		set(table, "secret.example", 2)
		set(table, "other.example", 3)
		time.Sleep(writeEvery)
		set(table, "late.example", 4)
		crashed := disk.Clone().Crash(rand.New(rand.NewPCG(1, 2)))
		cancel()
		synctest.Wait()
		again := open(t, crashed, 100)
		want(t, again, "secret.example", 2)
		want(t, again, "other.example", 3)
		want(t, again, "late.example", -1)
		b, err := fsx.Content(disk, file)
		if err != nil || bytes.Contains(b, []byte("secret")) {
			t.Errorf("%v, %q", err, b)
		}
		want(t, open(t, disk, 100), "late.example", 4) // an orderly stop writes all
	})
}

func TestExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := open(t, newDisk(t), 100)
		set(table, "a", 1)
		time.Sleep(time.Hour)
		want(t, table, "a", 1)
		time.Sleep(time.Second)
		want(t, table, "a", -1)
		table.sweep()
		if len(table.entries) != 0 {
			t.Errorf("%d entries after the sweep", len(table.entries))
		}
	})
}

// TestBounded: what is old gives way, and what is new mostly stays.
func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := open(t, newDisk(t), 1000)
		for n := range 2000 {
			time.Sleep(time.Second)
			set(table, fmt.Sprint(n), 1)
		}
		if len(table.entries) != 1000 || len(table.dirty) > 1000 {
			t.Fatalf("%d entries, %d dirty", len(table.entries), len(table.dirty))
		}
		kept := 0
		for n := 1500; n < 2000; n++ {
			if _, ok := table.Get(table.Key("n", fmt.Sprint(n))); ok {
				kept++
			}
		}
		if kept < 470 {
			t.Errorf("only %d of the 500 newest are there", kept)
		}
	})
}

// TestForget: a name that was forgotten stays so after a start.
func TestForget(t *testing.T) {
	disk := newDisk(t)
	table := open(t, disk, 10)
	set(table, "a", 1)
	set(table, "b", 2)
	if err := table.write(); err != nil {
		t.Fatal(err)
	}
	if !table.Forget(table.Key("n", "a")) || table.Forget(table.Key("n", "c")) {
		t.Error("Forget does not say what was there")
	}
	if err := table.write(); err != nil {
		t.Fatal(err)
	}
	again := open(t, disk, 10)
	want(t, again, "a", -1)
	want(t, again, "b", 2)
}

// TestCompacts: the file stays in proportion to what it holds.
func TestCompacts(t *testing.T) {
	disk := newDisk(t)
	table := open(t, disk, 100)
	for n := range uint32(2 * slack) {
		set(table, "a", n)
		if err := table.write(); err != nil {
			t.Fatal(err)
		}
	}
	b, err := fsx.Content(disk, file)
	if err != nil || len(b) > headSize+(slack+10)*recSize {
		t.Errorf("%d octets for one entry: %v", len(b), err)
	}
	want(t, open(t, disk, 100), "a", 2*slack-1)
}

// TestDamaged: a torn end and a flipped octet cost their records alone; a file
// that is no table is moved aside.
func TestDamaged(t *testing.T) {
	disk := newDisk(t)
	table := open(t, disk, 100)
	set(table, "a", 1)
	if err := table.write(); err != nil {
		t.Fatal(err)
	}
	set(table, "b", 2)
	if err := table.write(); err != nil {
		t.Fatal(err)
	}
	f, err := disk.Open(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("torn"), table.size)
	disk.Flip(file, headSize+9, 1)
	again := open(t, disk, 100)
	want(t, again, "a", -1)
	want(t, again, "b", 2)
	set(again, "c", 3)
	if err := again.write(); err != nil {
		t.Fatal(err)
	}
	want(t, open(t, disk, 100), "c", 3)
	disk.Flip(file, 3, 1)
	want(t, open(t, disk, 100), "c", -1)
	if _, err := fsx.Content(disk, file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the damaged file is still there: %v", err)
	}
	if _, err := fsx.Content(disk, file+".damaged"); err != nil {
		t.Error(err)
	}
}

// TestFailures: whichever call fails, the next write brings everything.
func TestFailures(t *testing.T) {
	for n := 1; ; n++ {
		disk := newDisk(t)
		faulty := &fsx.Faulty{FS: disk, Decide: func(call int, _ fsx.Op) error {
			if call == n {
				return errors.New("no")
			}
			return nil
		}}
		table, err := Open(faulty, file, Options{Most: 10, Keep: time.Hour})
		if err != nil {
			continue // the first call of all
		}
		set(table, "a", 1)
		failed := table.write() != nil
		set(table, "b", 2)
		failed = table.write() != nil || failed
		if !failed {
			if n < 5 {
				t.Fatalf("only %d calls", n)
			}
			return
		}
		if err := table.write(); err != nil {
			t.Fatalf("call %d: %v", n, err)
		}
		again := open(t, disk, 10)
		want(t, again, "a", 1)
		want(t, again, "b", 2)
	}
}

func FuzzLoad(f *testing.F) {
	key := newKey()
	f.Add(appendRecord(appendHead(nil, key), 7, Entry{1, 2, 3}))
	f.Add([]byte("MWMEMO01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := newDisk(t)
		disk.MkdirAll("/data/memo", 0o700)
		w, err := disk.Open(file, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		w.WriteAt(b, 0)
		table := open(t, disk, 2)
		set(table, "a", 1)
		if err := table.write(); err != nil {
			t.Fatal(err)
		}
		want(t, open(t, disk, 2), "a", 1)
	})
}

func BenchmarkGet(b *testing.B) {
	table := open(b, newDisk(b), 1<<20)
	for n := range 200_000 {
		set(table, fmt.Sprint(n), 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		table.Get(table.Key("n", "192.0.2.0/24 sender.example"))
	}
}

package compound

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func sample(t testing.TB) []byte {
	data, err := os.ReadFile("testdata/two.ole")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func find(f *File, name string) *Entry {
	for i := range f.Entries {
		if f.Entries[i].Name == name {
			return &f.Entries[i]
		}
	}
	return nil
}

// TestOpen reads what another program wrote: a stream in small sectors, and one
// in large ones.
func TestOpen(t *testing.T) {
	f, err := Open(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	var large strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&large, "%05d", i)
	}
	for name, want := range map[string]string{"small.txt": "small stream", "large.bin": large.String()} {
		e := find(f, name)
		if e == nil || e.Kind != Stream || e.Parent != 0 {
			t.Fatalf("%s: %+v", name, e)
		}
		got, err := f.Read(e, 1<<20)
		if err != nil || string(got) != want {
			t.Errorf("%s: %v, %d octets", name, err, len(got))
		}
		if got, err := f.Read(e, 5); err != nil || string(got) != want[:5] {
			t.Errorf("%s: %v, %q", name, err, got)
		}
	}
	if n := len(f.Children(0)); n != 2 {
		t.Errorf("%d children of the root", n)
	}
}

func TestDamaged(t *testing.T) {
	data := sample(t)
	for name, change := range map[string]func(b []byte) []byte{
		"empty":             func([]byte) []byte { return nil },
		"another magic":     func(b []byte) []byte { b[0] = 0; return b },
		"sectors too large": func(b []byte) []byte { b[30] = 40; return b },
		"no directory":      func(b []byte) []byte { copy(b[48:], "\xff\xff\xff\xff"); return b },
		"header only":       func(b []byte) []byte { return b[:512] },
	} {
		if _, err := Open(change(bytes.Clone(data))); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f, err := Open(data[:len(data)-3000])
	if err == nil { // the directory may lie in what is left
		short := false
		for i := range f.Entries {
			if f.Entries[i].Kind == Stream {
				_, err := f.Read(&f.Entries[i], 1<<20)
				short = short || errors.Is(err, ErrDamaged)
			}
		}
		if !short {
			t.Error("what is cut off is not missed")
		}
	}
}

// TestCircle: chains and trees that run in circles end.
func TestCircle(t *testing.T) {
	data := sample(t)
	f, err := Open(data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range f.fat {
		f.fat[i] = 0
	}
	for i := range f.Entries {
		e := &f.Entries[i]
		e.left, e.right, e.child, e.Size = 1, 2, 0, 1<<30
	}
	f.tree()
	total, failed := 0, 0
	for range 1000 {
		b, err := f.Read(&f.Entries[1], 1<<30)
		total += len(b)
		if err != nil {
			failed++
		}
	}
	if total > 4*len(data) || failed == 0 {
		t.Errorf("%d octets of %d, %d failures", total, len(data), failed)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(sample(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		begin := time.Now()
		c, err := Open(data)
		if err != nil {
			return
		}
		total := int64(0)
		for i := range c.Entries {
			b, _ := c.Read(&c.Entries[i], 1<<30)
			total += int64(len(b))
			c.Children(i % 7)
		}
		if total > 2*int64(len(data))+1<<20 {
			t.Fatalf("%d octets out of %d", total, len(data))
		}
		if time.Since(begin) > 5*time.Second {
			t.Fatalf("took %s", time.Since(begin))
		}
	})
}

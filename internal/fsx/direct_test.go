package fsx

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// refusing is a file system that O_DIRECT means nothing to.
type refusing struct{ File }

func (refusing) WriteAt([]byte, int64) (int, error) { return 0, unix.EINVAL }
func (refusing) ReadAt([]byte, int64) (int, error)  { return 0, unix.EINVAL }

// blocks is n blocks of c in memory that a direct write takes.
func blocks(n int, c byte) []byte {
	b := make([]byte, (n+1)*directBlock)
	skip := (directBlock - int(uintptr(unsafe.Pointer(&b[0]))%directBlock)) % directBlock
	b = b[skip : skip+n*directBlock]
	copy(b, bytes.Repeat([]byte{c}, len(b)))
	return b
}

// TestDirect: what is written past the page cache and what is written into it
// are one file, also where a page was read before.
func TestDirect(t *testing.T) {
	for _, refuses := range []bool{false, true} {
		name := filepath.Join(t.TempDir(), "a")
		f, err := OS{}.Open(name, os.O_RDWR|os.O_CREATE|Direct, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		d, ok := f.(*directFile)
		if !ok {
			t.Skip("the file system of the temporary directory has no O_DIRECT")
		}
		if refuses { // a write that is aligned for us, and not for the disk
			d.direct = refusing{d.direct}
		}
		want := make([]byte, 8*directBlock)
		put := func(p []byte, off int64) {
			if n, err := f.WriteAt(p, off); n != len(p) || err != nil {
				t.Fatalf("%d octets at %d: %d, %v", len(p), off, n, err)
			}
			copy(want[off:], p)
			got := make([]byte, len(want))
			n, _ := f.ReadAt(got, 0)
			if !bytes.Equal(got[:n], want[:n]) {
				t.Errorf("after %d octets at %d the file is not what was written", len(p), off)
			}
		}
		put(blocks(8, 'a'), 0)
		put(blocks(1, 'b'), directBlock)
		put([]byte("odd length"), directBlock)                         // through the cache
		put(blocks(2, 'c'), directBlock)                               // over a dirty page
		put(append([]byte("x"), blocks(1, 'd')...)[1:], 4*directBlock) // odd memory, or not
		if err := f.Datasync(); err != nil {
			t.Error(err)
		}
	}
}

func TestAligned(t *testing.T) {
	b := blocks(2, 0)
	for _, c := range []struct {
		p    []byte
		off  int64
		want bool
	}{{b, 0, true}, {b, directBlock, true}, {b, 512, false}, {b[:100], 0, false}, {b[1 : 1+directBlock], 0, false}, {nil, 0, false}} {
		if got := aligned(c.p, c.off); got != c.want {
			t.Errorf("%d octets at %d: %t", len(c.p), c.off, got)
		}
	}
}

// TestDirectRead: what is read past the page cache is what the file holds, its
// end within a block, bytes that are only in the cache, and odd places included.
func TestDirectRead(t *testing.T) {
	for _, refuses := range []bool{false, true} {
		name := filepath.Join(t.TempDir(), "a")
		want := append(bytes.Repeat([]byte("0123456789abcdef"), 3*directBlock/16), "and a bit"...)
		w, err := OS{}.Open(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if _, err := w.WriteAt(want, 0); err != nil { // dirty pages
			t.Fatal(err)
		}
		f, err := OS{}.Open(name, os.O_RDONLY|Direct, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		d, ok := f.(*directFile)
		if !ok {
			t.Skip("the file system of the temporary directory has no O_DIRECT")
		}
		if refuses {
			d.direct = refusing{d.direct}
		}
		for _, c := range []struct {
			p   []byte
			off int64
		}{{blocks(3, 0), 0}, {blocks(1, 0), directBlock}, {blocks(8, 0), 0}, {blocks(1, 0), 3 * directBlock}, {make([]byte, 100), 7}, {blocks(1, 0), 8 * directBlock}} {
			n, err := f.ReadAt(c.p, c.off)
			rest := want[min(c.off, int64(len(want))):]
			if wantN := min(len(c.p), len(rest)); n != wantN || !bytes.Equal(c.p[:n], rest[:n]) || (err == io.EOF) != (n < len(c.p)) {
				t.Errorf("%d octets at %d: %d, %v", len(c.p), c.off, n, err)
			}
		}
	}
}

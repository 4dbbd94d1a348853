package fsx

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// pair is a file, and what it must read as.
type pair struct {
	p    pages
	want []byte
}

func (x *pair) check(t *testing.T, seed uint64, what string) {
	t.Helper()
	got := make([]byte, len(x.want)+1)
	if n := x.p.readAt(got, 0); x.p.size != int64(len(x.want)) || n != len(x.want) || !bytes.Equal(got[:n], x.want) {
		t.Fatalf("seed %d: %s: %d octets, %d read, want %d", seed, what, x.p.size, n, len(x.want))
	}
}

// TestPages: a copy is not changed by what is done to the original, nor the
// other way round, and each reads as a plain slice of bytes would.
func TestPages(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		files := []*pair{{}}
		for range 60 {
			x := files[r.IntN(len(files))]
			off := r.IntN(3 * pageSize)
			switch n := r.IntN(10); {
			case n < 5:
				b := make([]byte, 1+r.IntN(2*pageSize))
				if r.IntN(3) > 0 {
					for i := range b {
						b[i] = byte(r.Uint32())
					}
				}
				if r.IntN(2) == 0 {
					off -= off % pageSize
				}
				x.p.write(b, int64(off))
				x.want = slices.Grow(x.want, off+len(b))
				x.want = append(x.want, make([]byte, max(off+len(b)-len(x.want), 0))...)
				copy(x.want[off:], b)
			case n < 7:
				x.p.resize(int64(off))
				x.want = append(slices.Clone(x.want[:min(off, len(x.want))]), make([]byte, max(off-len(x.want), 0))...)
			case n < 9:
				files = append(files, &pair{x.p.share(), slices.Clone(x.want)})
			default:
				from := files[r.IntN(len(files))]
				end := len(from.want)
				if off = min(off, end); off == end {
					continue
				}
				first := off / pageSize
				x.p.take(from.p.list[first:], int64(first), int64(off), int64(end))
				x.want = append(x.want, make([]byte, max(end-len(x.want), 0))...)
				copy(x.want[off:end], from.want[off:])
			}
			for _, x := range files {
				x.check(t, seed, "some file")
			}
		}
	}
}

package archive

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// TestApple: the forks of AppleSingle, and entries that lie outside of the file.
func TestApple(t *testing.T) {
	make := func(from, size uint32) []byte {
		b := append([]byte("\x00\x05\x16\x00\x00\x02\x00\x00"), strings.Repeat("\x00", 16)...)
		b = append(b, 0, 2)
		for _, n := range []uint32{3, 50, 5, 1, from, size} {
			b = binary.BigEndian.AppendUint32(b, n)
		}
		return append(b, "a.datcontent"...)
	}
	if got := list("applesingle", make(55, 7), DefaultLimits()); !strings.Contains(got, `"a.dat"`) || !strings.Contains(got, "read") {
		t.Error(got)
	}
	if got := list("applesingle", make(55, 1<<31), DefaultLimits()); !strings.Contains(got, `"a.dat"`) {
		t.Error("longer than the file: ", got)
	}
	for _, data := range [][]byte{make(1<<31, 7), make(55, 7)[:30], make(55, 7)[:20]} {
		if _, err := Walk("applesingle", data, NewBudget(DefaultLimits()), nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d octets: %v", len(data), err)
		}
	}
}

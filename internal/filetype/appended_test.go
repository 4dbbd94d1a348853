package filetype

import (
	"strings"
	"testing"
)

func TestAppended(t *testing.T) {
	const zip = "PK\x03\x04 entry PK\x05\x06 end"
	for _, c := range []struct {
		name, data string
		kind       Type
		at         int
	}{
		{"nothing", "text", Unknown, 4},
		{"zip", "text" + zip, Zip, 0},
		{"zip whose end is far away", zip + strings.Repeat("x", zipTail), Unknown, SearchSize},
		{"end alone", "textPK\x05\x06", Unknown, 8},
		{"rar", "text" + "Rar!\x1a\x07", RAR, 4},
		{"rar before 7z", "MZ" + "Rar!\x1a\x07" + "7z\xbc\xaf\x27\x1c", RAR, 2},
		{"7z before rar", "MZ" + "7z\xbc\xaf\x27\x1c" + "Rar!\x1a\x07", SevenZip, 2},
		{"rar beyond where it is looked for", strings.Repeat("x", SearchSize) + "Rar!\x1a\x07", Unknown, SearchSize},
	} {
		kind, at := Appended([]byte(c.data))
		if kind != c.kind || kind != Unknown && at != c.at {
			t.Errorf("%s: %q at %d, want %q at %d", c.name, kind, at, c.kind, c.at)
		}
		if kind != Unknown && !MayAppend([]byte(c.data), 0) {
			t.Errorf("%s: not looked for", c.name)
		}
	}
	if MayAppend([]byte("Rar!\x1a\x07"), SearchSize) {
		t.Error("rar is looked for everywhere")
	}
}

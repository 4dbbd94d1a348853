package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailweir/internal/filetype"
	"mailweir/internal/mailtest"
)

// TestUnixTools reads what cpio, ar and lz4 write.
func TestUnixTools(t *testing.T) {
	for _, c := range []struct{ kind, command string }{
		{"cpio", "ls | cpio -o -H newc"}, {"cpio", "ls | cpio -o -H crc"}, {"cpio", "ls | cpio -o -H odc"}, {"cpio", "ls | cpio -o -H bin"},
		{"cpio", "ls | cpio -o -H bin --swap"},
		{"ar", "ar qc ../x.a *; cat ../x.a"},
		{"lz4", "cat * | lz4"}, {"lz4", "cat * | lz4 -l"}, {"lz4", "cat * | lz4 -BD -9"},
	} {
		if _, err := exec.LookPath(c.kind); err != nil {
			mailtest.SkipHarness(t, c.kind+" is not installed")
		}
		dir := filepath.Join(t.TempDir(), "files")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"a.txt": "hello", "a-name-that-is-longer-than-sixteen.txt": "world!", "empty": ""} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("sh", "-c", c.command)
		cmd.Dir = dir
		data, err := cmd.Output()
		if err != nil {
			if strings.Contains(c.command, "--swap") {
				continue // not every cpio can
			}
			t.Fatal(c.command, err)
		}
		if kind := filetype.Detect(data); string(kind) != c.kind {
			t.Errorf("%s: taken for %q", c.command, kind)
		}
		got := list(c.kind, data, DefaultLimits())
		want := []string{`"a.txt" size 5 read 5 "hello"`, `"a-name-that-is-longer-than-sixteen.txt" size 6 read 6 "world!"`, `"empty" size 0 read 0`}
		if c.kind == "lz4" {
			want = []string{`read 11 "world!hello"`}
		}
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no %s in\n%s", c.command, w, got)
			}
		}
	}
}

// TestCpioBinary: both orders of octets, and a second archive behind the first.
func TestCpioBinary(t *testing.T) {
	file := func(o binary.ByteOrder, name, data string) []byte {
		var b bytes.Buffer
		head := []uint16{0o70707, 0, 1, 0o100644, 0, 0, 1, 0, 0, 0, uint16(len(name) + 1), 0, uint16(len(data))}
		_ = binary.Write(&b, o, head)
		b.WriteString(name + "\x00" + strings.Repeat("\x00", (len(name)+1)&1) + data + strings.Repeat("\x00", len(data)&1))
		return b.Bytes()
	}
	for _, o := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		one := append(file(o, "one.x", "first"), file(o, "TRAILER!!!", "")...)
		two := append(append(one, make([]byte, 300)...), file(o, "two", "second")...)
		if got := list("cpio", append(two, file(o, "TRAILER!!!", "")...), DefaultLimits()); !strings.Contains(got, "first") || !strings.Contains(got, "second") {
			t.Error(o, got)
		}
	}
}

// TestMacBinary: its forks, by checksum, by mark and in the oldest form; and what
// only looks like it.
func TestMacBinary(t *testing.T) {
	file := mailtest.Packers["macbinary"](t, "a.dat", []byte("content"))
	if kind := filetype.Detect(file); kind != filetype.MacBin {
		t.Errorf("taken for %q", kind)
	}
	if got := list("macbinary", file, DefaultLimits()); !strings.Contains(got, `"a.dat" size 7 read 7 "content"`) {
		t.Error(got)
	}
	old := bytes.Clone(file)
	clear(old[99:128])
	marked := bytes.Clone(file)
	copy(marked[102:], "mBIN")
	other := bytes.Clone(file)
	other[110]++
	for _, c := range []struct {
		data []byte
		want filetype.Type
	}{{old, filetype.MacBin}, {marked, filetype.MacBin}, {other, filetype.Unknown}, {file[:127], filetype.Unknown}, {make([]byte, 256), filetype.Unknown}} {
		if got := filetype.Detect(c.data); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if _, err := Walk("macbinary", file[:100], NewBudget(DefaultLimits()), nil); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

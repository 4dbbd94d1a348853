package archive

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"mailweir/internal/mailtest"
)

func TestRAR(t *testing.T) {
	content := []byte("MZ this stands for a program\r\n")
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"stored", mailtest.RAR("setup.exe", content), "\"setup.exe\" size 30 read 30"},
		{"cut", mailtest.RAR("setup.exe", content)[:70], "damaged"},
		{"checksum wrong", bytes.Replace(mailtest.RAR("setup.exe", content), []byte("stands"), []byte("stinks"), 1), "damaged"},
		{"encrypted", mailtest.EncryptedRAR("setup.exe", content), "encrypted"},
		{"signature only", []byte("Rar!\x1a\x07\x01\x00"), "damaged"},
		{"another version", []byte("Rar!\x1a\x07\x09\x00more"), "unsupported"},
	} {
		if got := list("rar", c.data, DefaultLimits()); !strings.Contains(got, c.want) || strings.Contains(got, "not classified") {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

func TestTNEF(t *testing.T) {
	data := mailtest.TNEF("invoice 2026.exe", []byte("MZ evil"))
	if got := list("tnef", data, DefaultLimits()); got != "  \"invoice 2026.exe\" size 7 read 7 \"MZ evil\"\n" {
		t.Error(got)
	}
	if got := list("tnef", data[:len(data)-3], DefaultLimits()); !strings.Contains(got, "damaged") || !strings.Contains(got, "read 7") {
		t.Error(got)
	}
}

func TestISO(t *testing.T) {
	image := mailtest.ISO("SETUP.EXE", []byte("MZ evil"))
	const root, file = 20 * isoSector, 20*isoSector + 2*34 // a record of one octet of name has 34
	with := func(edit func([]byte)) []byte {
		d := bytes.Clone(image)
		edit(d)
		return d
	}
	joliet := with(func(d []byte) {
		copy(d[17*isoSector:], d[16*isoSector:17*isoSector])
		d[17*isoSector] = 2
	})
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"one file", image, "  \"SETUP.EXE\" size 7 read 7 \"MZ evil\"\n"},
		{"two trees", joliet, "\"SETUP.EXE\" size 7 read 7 \"MZ evil\"\n  \"\u5345"},
		{"a loop", with(func(d []byte) { d[file+25] = 2; copy(d[file+2:], d[root+2:root+18]) }), "  \"SETUP.EXE\" size 2048 dir read 0\n"},
		{"cut", image[:21*isoSector+3], "read 3 \"MZ \" then: damaged"},
		{"cut in the directory", image[:root+40], "damaged"},
		{"a record too short", with(func(d []byte) { d[file] = 20 }), "damaged"},
		{"a name too long", with(func(d []byte) { d[file+32] = 200 }), "damaged"},
		{"interleaved", with(func(d []byte) { d[file+26] = 1 }), "not read: unsupported"},
		{"no descriptor", image[:15*isoSector], "damaged"},
	} {
		if got := list("iso", c.data, DefaultLimits()); !strings.Contains(got, c.want) || strings.Contains(got, "not classified") {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func zeros(t *testing.T, n int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if _, err := io.CopyN(w, zeroReader{}, n); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// walked reads all of an archive without keeping it.
func walked(kind string, data []byte, l Limits) (int64, error) {
	var n int64
	_, err := Walk(kind, data, NewBudget(l), func(e *Entry, r io.Reader) error {
		if r == nil {
			return e.Err
		}
		got, err := io.Copy(io.Discard, r)
		n += got
		return err
	})
	return n, err
}

// TestLimits: each ends the walk with its own name, near its value.
func TestLimits(t *testing.T) {
	bomb := zeros(t, 300<<20)
	l := DefaultLimits()
	if n, err := walked("gzip", bomb, l); word(err) != "limit ratio" || n > l.Ratio*int64(len(bomb))+1<<20 {
		t.Errorf("ratio: %d octets, %v", n, err)
	}
	l.Ratio = 1 << 40
	if n, err := walked("gzip", bomb, l); word(err) != "limit unpacked" || n > l.Unpacked+1<<20 {
		t.Errorf("unpacked: %d octets, %v", n, err)
	}
	slow, err := os.ReadFile("testdata/sha256.xz")
	if err != nil {
		t.Fatal(err)
	}
	many := bytes.Repeat(slow, 10)
	l.Slow = 100_000
	if n, err := walked("xz", many, l); word(err) != "limit unpacked" || n > 200_000 {
		t.Errorf("slow: %d octets, %v", n, err)
	}
	l.Time = -time.Second
	if _, err := walked("gzip", bomb, l); word(err) != "limit time" {
		t.Errorf("time: %v", err)
	}
}

// TestDictionary: what asks for a gigabyte gets none. The heap is looked at
// while the archive is open.
func TestDictionary(t *testing.T) {
	for _, name := range []string{"dictionary-1536m.xz", "dictionary-1g.7z", "one.lzma"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		switch name {
		case "one.lzma":
			copy(data[1:], "\xff\xff\xff\x7f")
		case "dictionary-1g.7z": // 7-Zip made it smaller, since the file is
			i := bytes.Index(data, []byte("\x21\x21\x01"))
			if i < 0 {
				t.Fatal("no LZMA2 coder in " + name)
			}
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = walked(format(name), data, DefaultLimits())
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 80<<20 {
			t.Errorf("%s took %d MiB (%v)", name, grown>>20, err)
		}
		if name != "dictionary-1g.7z" && word(err) != "limit dictionary" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSevenGuard: counts in a header are not believed. Each of these made the
// library allocate gigabytes.
func TestSevenGuard(t *testing.T) {
	header := func(b ...byte) []byte {
		data := append([]byte("7z\xbc\xaf\x27\x1c\x00\x04"), make([]byte, 24)...)
		data[20] = byte(len(b))
		return append(data, b...)
	}
	huge := []byte{0xf0, 0xff, 0xff, 0xff, 0x7f} // a number of five octets
	for name, data := range map[string][]byte{
		"checksums of packed streams": header(append(append([]byte{idHeader, idStreams, idPack, 0}, huge...), idCRC, 1)...),
		"folders":                     header(append([]byte{idHeader, idStreams, idUnpack, idFolder}, huge...)...),
		"properties":                  header(append([]byte{idHeader, idStreams, idUnpack, idFolder, 1, 0, 1, 0x21, 0x21}, huge...)...),
		"streams of a coder":          header(append([]byte{idHeader, idStreams, idUnpack, idFolder, 1, 0, 1, 0x11, 0x21}, huge...)...),
		"files":                       header(append([]byte{idHeader, idStreams, idEnd, idFiles}, huge...)...),
		"no streams":                  header(idHeader, idFiles, 1, idEnd, idEnd),
		"nothing":                     header(),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := walked("7z", data, DefaultLimits())
		runtime.ReadMemStats(&after)
		if err == nil || strings.Contains(err.Error(), "panicked") || after.TotalAlloc-before.TotalAlloc > 1<<20 {
			t.Errorf("%s: %v, %d octets", name, err, after.TotalAlloc-before.TotalAlloc)
		}
	}
}

// TestTarRests: rests of archives, and archives behind others, are visited, too.
func TestTarRests(t *testing.T) {
	block := func(s string) []byte { return append([]byte(s), make([]byte, 512-len(s))...) }
	one := mailtest.Packers["tar"](t, "one", []byte("first"))
	two := mailtest.Packers["tar"](t, "two", []byte("second"))
	link := append([]byte(nil), one[:1024]...)
	link[156] = '1' // a hard link, to which some unpackers give its octets
	setTarSum(link)
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"one", "one=first", one},
		{"two archives", "one=first two=second", append(append([]byte(nil), one...), two...)},
		{"two behind a block of zeros", "one=first two=second", append(append(append([]byte(nil), one[:1024]...), make([]byte, 512)...), two...)},
		{"a block between that is no header", "one=first =lost two=second", append(append(append([]byte(nil), one[:1024]...), block("lost")...), two...)},
		{"octets of a link", "one= =first two=second", append(append([]byte(nil), link...), two...)},
	} {
		var got []string
		_, _ = Walk("tar", c.data, NewBudget(DefaultLimits()), func(e *Entry, r io.Reader) error {
			content, err := io.ReadAll(r)
			got = append(got, e.Name+"="+strings.TrimRight(string(content), "\x00"))
			return err
		})
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %q, want %q", c.name, s, c.want)
		}
	}
	many := bytes.Repeat(append(append([]byte(nil), one[:1024]...), block("x")...), 2*maxTarStarts)
	var limit *LimitError
	if _, err := Walk("tar", many, NewBudget(DefaultLimits()), func(*Entry, io.Reader) error { return nil }); !errors.As(err, &limit) {
		t.Errorf("many archives behind each other: %v", err)
	}
}

func setTarSum(header []byte) {
	copy(header[148:156], "        ")
	sum := 0
	for _, c := range header[:512] {
		sum += int(c)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
}

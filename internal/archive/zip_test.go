package archive

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"
)

// zipPart is a file of a zip that is made header by header.
type zipPart struct {
	name, local    string // local: "" for the same
	content        []byte
	packed         []byte // where it is known already
	method         uint16
	localMethod    int // -1 for the same
	flags          uint16
	noLocal, alone bool // only in the directory; only by its local header
	at             int  // offset of another's local header, where noLocal
}

func part(name, content string) zipPart {
	return zipPart{name: name, content: []byte(content), localMethod: -1}
}

// makeZip writes the parts, and one directory and one end record.
func makeZip(prefix string, parts ...zipPart) []byte {
	out := []byte(prefix)
	var dir []byte
	count := 0
	for _, p := range parts {
		at := len(out)
		data := p.content
		switch {
		case p.packed != nil:
			data = p.packed
		case p.method == 8:
			data = deflated(p.content)
		}
		crc := crc32.ChecksumIEEE(p.content)
		if p.noLocal {
			at = p.at
		} else {
			name, method := p.local, uint16(p.localMethod)
			if name == "" {
				name = p.name
			}
			if p.localMethod < 0 {
				method = p.method
			}
			out = append(out, sigLocal...)
			out = binary.LittleEndian.AppendUint16(out, 20)
			out = binary.LittleEndian.AppendUint16(out, p.flags)
			out = binary.LittleEndian.AppendUint16(out, method)
			out = append(out, 0, 0, 0, 0)
			out = appendSizes(out, crc, len(data), len(p.content))
			out = binary.LittleEndian.AppendUint16(out, uint16(len(name)))
			out = append(out, 0, 0)
			out = append(append(out, name...), data...)
		}
		if p.alone {
			continue
		}
		count++
		dir = append(dir, sigCentral...)
		dir = append(dir, 20, 0, 20, 0)
		dir = binary.LittleEndian.AppendUint16(dir, p.flags)
		dir = binary.LittleEndian.AppendUint16(dir, p.method)
		dir = append(dir, 0, 0, 0, 0)
		dir = appendSizes(dir, crc, len(data), len(p.content))
		dir = binary.LittleEndian.AppendUint16(dir, uint16(len(p.name)))
		dir = append(dir, make([]byte, 12)...)
		dir = binary.LittleEndian.AppendUint32(dir, uint32(at-len(prefix)))
		dir = append(dir, p.name...)
	}
	return append(append(out, dir...), endRecord(count, len(dir), len(out)-len(prefix), 0)...)
}

func appendSizes(b []byte, crc uint32, packed, size int) []byte {
	b = binary.LittleEndian.AppendUint32(b, crc)
	b = binary.LittleEndian.AppendUint32(b, uint32(packed))
	return binary.LittleEndian.AppendUint32(b, uint32(size))
}

func endRecord(count, size, offset, comment int) []byte {
	b := append([]byte(sigEnd), 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(count))
	b = binary.LittleEndian.AppendUint16(b, uint16(count))
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	b = binary.LittleEndian.AppendUint32(b, uint32(offset))
	return binary.LittleEndian.AppendUint16(b, uint16(comment))
}

func deflated(p []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 9)
	_, _ = w.Write(p)
	_ = w.Close()
	return b.Bytes()
}

// makeLateZip has the sizes of its file behind it.
func makeLateZip(t *testing.T) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("late.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte("Dear all,\r\n"))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestZipReadings: what only some unpackers see is visited, and said.
func TestZipReadings(t *testing.T) {
	doc, evil := part("invoice.txt", "Dear all,\r\n"), part("evil.exe", "MZ evil")
	hidden := evil
	hidden.alone = true
	renamed := doc
	renamed.local = "evil.exe"
	stored := part("a.txt", string(deflated([]byte("MZ evil"))))
	stored.localMethod = 8
	locked := doc
	locked.flags = flagEncrypted
	lost := part("lost.txt", "x")
	lost.noLocal, lost.at = true, 5

	one, two := makeZip("", doc), makeZip("", evil)
	inComment := bytes.Clone(one)
	binary.LittleEndian.PutUint16(inComment[len(inComment)-2:], uint16(len(two)))
	nested := makeZip("", part("inner.zip", string(two)))

	late := makeLateZip(t)
	empty := bytes.Clone(late)
	clear(empty[bytes.LastIndex(empty, []byte(sigCentral))+20:][:8])

	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"plain", "\"invoice.txt\" read", one},
		{"sizes behind the content", "\"late.txt\" read", late},
		{"sizes behind the content, none in the directory", "\"late.txt\" alias \"late.txt\" hidden read|odd: headers_disagree", empty},
		{"two files", "\"invoice.txt\" read|\"evil.exe\" read", makeZip("", doc, evil)},
		{"hidden from the directory", "\"invoice.txt\" read|\"evil.exe\" hidden read|odd: hidden_entries", makeZip("", doc, hidden)},
		{"another name in the local header", "\"invoice.txt\" alias \"evil.exe\" read|odd: headers_disagree", makeZip("", renamed)},
		{"another method in the local header", "\"a.txt\" read|\"a.txt\" alias \"a.txt\" hidden read|odd: headers_disagree", makeZip("", stored)},
		{"octets before", "\"invoice.txt\" read|odd: prefix", makeZip("MZ stub", doc)},
		{"one after another", "\"evil.exe\" read|\"invoice.txt\" read|odd: several_directories", append(bytes.Clone(one), two...)},
		{"an archive in the comment", "\"evil.exe\"|\"invoice.txt\" read|odd: several_directories", append(inComment, two...)},
		{"an archive in the archive", "\"inner.zip\" read", nested},
		{"octets after", "\"invoice.txt\" read|odd: trailing", append(bytes.Clone(one), "more"...)},
		{"encrypted", "\"invoice.txt\" encrypted not read: encrypted", makeZip("", locked)},
		{"no local header", "\"invoice.txt\" read|\"lost.txt\" not read: damaged|ends: damaged", makeZip("", doc, lost)},
		{"directory cut off", "\"invoice.txt\" hidden read|odd: hidden_entries|ends: damaged", one[:len(one)-40]},
		{"empty", "", endRecord(0, 0, 0, 0)},
		{"empty directory, full file", "\"evil.exe\" hidden read|odd: hidden_entries", append(two[:len(two)-22-46-8:len(two)-22-46-8], endRecord(0, 0, 0, 0)...)},
		{"not a zip", "ends: damaged", []byte("PK\x03\x04 and that is all of it")},
	} {
		got := list("zip", c.data, DefaultLimits())
		for _, want := range strings.Split(c.want, "|") {
			if !containsWords(got, want) {
				t.Errorf("%s: no %q in\n%s", c.name, want, got)
			}
		}
		if !strings.Contains(c.want, "odd") && strings.Contains(got, "odd") || !strings.Contains(c.want, "ends") && strings.Contains(got, "ends") {
			t.Errorf("%s: more than %q:\n%s", c.name, c.want, got)
		}
	}
}

// containsWords looks for a line that has the words in their order.
func containsWords(text, words string) bool {
	for line := range strings.Lines(text) {
		rest, ok := line, true
		for _, w := range strings.Fields(words) {
			i := strings.Index(rest, w)
			if i < 0 {
				ok = false
				break
			}
			rest = rest[i+len(w):]
		}
		if ok {
			return true
		}
	}
	return words == ""
}

// TestZip64 reads what the standard library writes for many entries.
func TestZip64(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for range 70000 {
		if _, err := w.Create("x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l := DefaultLimits()
	if got := list("zip", b.Bytes(), l); !strings.Contains(got, "limit entries") {
		t.Errorf("70,000 entries: %.300s", got)
	}
	l.Entries = 100000
	got := list("zip", b.Bytes(), l)
	if n := strings.Count(got, "\n"); n != 70000 || strings.Contains(got, "ends") {
		t.Errorf("%d lines: %.300s", n, got)
	}
}

// TestZipOverlap is the bomb that needs no nesting: many entries of the
// directory share one deflated kernel.
func TestZipOverlap(t *testing.T) {
	kernel := part("0", strings.Repeat("\x00", 5<<20))
	kernel.method, kernel.packed = 8, deflated(kernel.content)
	parts := []zipPart{kernel}
	for range 500 {
		again := kernel
		again.noLocal, again.at = true, 0
		again.name = "n" + string(rune('a'+len(parts)%26)) + strings.Repeat("x", len(parts)/26)
		parts = append(parts, again)
	}
	got := list("zip", makeZip("", parts...), DefaultLimits())
	if !strings.Contains(got, "ends: limit unpacked") {
		t.Errorf("%.2000s", got)
	}
	got = list("zip", makeZip("", parts[:3]...), DefaultLimits())
	if !strings.Contains(got, "odd: headers_disagree overlap") {
		t.Errorf("%s", got)
	}
}

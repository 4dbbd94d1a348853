package filetype

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDetect(t *testing.T) {
	pad := func(at int, s string) string { return strings.Repeat("\x00", at) + s }
	boot := "\xeb\x3c\x90" + strings.Repeat("\x01", 507) + "\x55\xaa"
	for _, c := range []struct {
		name, head string
		want       Type
	}{
		{"nothing", "", Unknown},
		{"one octet", "M", Unknown},
		{"program", "MZ\x90\x00\x03\x00\x00\x00", PE},
		{"program, letters swapped", "ZM\x90\x00", PE},
		{"text that begins with MZ", "MZ is what programs begin with, and this text too.", Unknown},
		{"elf", "\x7fELF\x02\x01\x01", ELF},
		{"mach-o", "\xcf\xfa\xed\xfe\x07", MachO},
		{"fat mach-o", "\xca\xfe\xba\xbe\x00\x00\x00\x02", MachO},
		{"java", "\xca\xfe\xba\xbe\x00\x00\x00\x34", Class},
		{"shell", "#!/bin/sh\n", Script},
		{"encoded script", "#@~^XAAAAA==", Encoded},
		{"shortcut", "L\x00\x00\x00\x01\x14\x02\x00\x00", Lnk},
		{"internet shortcut", "[InternetShortcut]\r\nURL=file://x", URL},
		{"registry", "\xff\xfeW\x00i\x00n\x00d\x00o\x00w\x00s\x00 \x00R\x00e\x00g\x00i\x00s\x00t\x00r\x00y\x00 \x00E\x00d\x00i\x00t\x00o\x00r\x00", Registry},
		{"application of HTML", "<html><head><HTA:APPLICATION ID=x>", HTA},
		{"script host", "<?xml version=\"1.0\"?><job id=a><script language=VBScript>", WSF},
		{"xml", "<?xml version=\"1.0\"?><invoice/>", XML},
		{"html", "\xef\xbb\xbf <!-- x -->\n<!DOCTYPE html><p>", HTML},
		{"html by a tag", "<script>x", HTML},
		{"svg", "<?xml version='1.0'?><!-- a --><svg xmlns=''>", SVG},
		{"html with a picture", "<html><svg ", HTML},
		{"less than", "<3 you", Unknown},
		{"zip", "PK\x03\x04\x14\x00", Zip},
		{"empty zip", "PK\x05\x06", Zip},
		{"rar", "Rar!\x1a\x07\x01\x00", RAR},
		{"7z", "7z\xbc\xaf\x27\x1c\x00\x04", SevenZip},
		{"gzip", "\x1f\x8b\x08", Gzip},
		{"xz", "\xfd7zXZ\x00", XZ},
		{"lzma", "\x5d\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00", LZMA},
		{"iso", pad(0x8001, "CD001"), ISO},
		{"udf", pad(0x8001, "BEA01"), UDF},
		{"disk", boot, Disk},
		{"pdf", "%PDF-1.4", PDF},
		{"pdf after noise", strings.Repeat("x", 900) + "%PDF-1.4", PDF},
		{"pdf too late", strings.Repeat("x", 1020) + "%PDF-1.4", Unknown},
		{"ole", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OLE},
		{"rtf", `{\rtf1`, RTF},
		{"rtf as Word takes it", `{\rt{x`, RTF},
		{"tnef", "\x78\x9f\x3e\x22", TNEF},
		{"onenote", "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", OneNote},
		{"jpeg", "\xff\xd8\xff\xe0", JPEG},
		{"text", "Dear all,\r\n", Unknown},
	} {
		if got := Detect([]byte(c.head)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestDetectOldTar: archives without "ustar" are told by their checksum.
func TestDetectOldTar(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "a", Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	head := b.Bytes()
	copy(head[257:265], make([]byte, 8))
	sum := 8 * int(' ')
	for i, c := range head[:512] {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	copy(head[148:], []byte("000000\x00 "))
	for i := 5; i >= 0; i-- {
		head[148+i] = byte('0' + sum&7)
		sum >>= 3
	}
	if got := Detect(head); got != Tar {
		t.Errorf("%q, want tar", got)
	}
}

// TestDetectPrograms holds the table against what this machine has.
func TestDetectPrograms(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Clean(self))
	if err != nil {
		t.Fatal(err)
	}
	if got := Detect(data[:HeadSize]).Group(); got != Executable {
		t.Errorf("the test's own program is of group %d", got)
	}
}

func TestExtension(t *testing.T) {
	for name, want := range map[string]string{
		"a.exe": "exe", "A.EXE": "exe", "a.exe. . ": "exe", "a.pdf.exe": "exe", "a": "", ".exe": "exe",
		"dir.exe/file.txt": "txt", `C:\x\a.js`: "js", "a.exe\x00.txt": "exe", "a.exe:zone": "exe",
		"a.e\u200bxe": "exe", "a.exe\u202e": "exe", "a. exe": "exe", "a.settingcontent-ms": "settingcontent-ms",
		"see chapter 3. This sentence has a dot in it": "",
	} {
		if got := Extension(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestNameTricks(t *testing.T) {
	for _, c := range []struct {
		name string
		want Tricks
	}{
		{"report.pdf", 0},
		{"report.2024.pdf", 0},
		{"backup.tar.gz", 0},
		{"setup.exe", 0},
		{"invoice.pdf.exe", DoubleExtension},
		{"invoice.PDF .JS", DoubleExtension},
		{"invoice.pdf" + strings.Repeat(" ", 60) + ".exe", DoubleExtension | Padding},
		{"invoice" + strings.Repeat("_", 30) + ".exe", Padding},
		{"invoice\u202efdp.exe", BidiOverride},
		{"invoice\u202efdp.txt", BidiOverride},
		{"\u202bדוח\u202c.pdf", 0},
		{"\u2067דוח\u2069.exe", BidiOverride},
		{"חשבונית\u200f.pdf", 0}, // a mark that Hebrew needs
		{"دفتر\u200cچه.pdf", 0},  // a joiner that Persian needs
		{"a.e\u200bxe", ZeroWidth},
		{"a\u00ad.exe", ZeroWidth},
		{"a.exe\x00.txt", ControlInName},
	} {
		if got := NameTricks(c.name); got != c.want {
			t.Errorf("%q: %b, want %b", c.name, got, c.want)
		}
	}
}

func TestTraverses(t *testing.T) {
	for name, want := range map[string]bool{
		"a/b": false, "a..b": false, "../a": true, `a\..\b`: true, "/etc/passwd": true, `C:\a`: true, "a/../b": true,
	} {
		if got := Traverses(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func FuzzDetect(f *testing.F) {
	f.Add([]byte("<?xml ?><!-- --><svg"), "a.pdf.exe")
	f.Add([]byte("MZ"), "x\u202e")
	f.Fuzz(func(t *testing.T, head []byte, name string) {
		kind := Detect(head)
		if _, known := groups[kind]; kind != Unknown && !known {
			t.Fatalf("%q has no group", kind)
		}
		NameTricks(name)
		if ext := Extension(name); strings.ContainsAny(ext, "./\\\x00") {
			t.Fatalf("extension %q", ext)
		}
	})
}

func BenchmarkDetect(b *testing.B) {
	head := []byte(strings.Repeat("Dear all, ", 110))
	b.SetBytes(int64(len(head)))
	for b.Loop() {
		Detect(head)
	}
}

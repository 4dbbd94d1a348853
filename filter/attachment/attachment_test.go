package attachment

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/klauspost/compress/zlib"

	"mailweir/filter"
	"mailweir/internal/archive"
	"mailweir/internal/mailtest"
)

// entry is a file of an archive that a test makes.
type entry struct{ name, content string }

func zipped(entries ...entry) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		f, err := w.Create(e.name)
		if err != nil {
			panic(err)
		}
		if _, err := f.Write([]byte(e.content)); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

func gzipped(name, content string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Name = name
	_, _ = w.Write([]byte(content))
	_ = w.Close()
	return b.String()
}

func tarred(entries ...entry) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		_ = w.WriteHeader(&tar.Header{Name: e.name, Mode: 0o600, Size: int64(len(e.content))})
		_, _ = w.Write([]byte(e.content))
	}
	_ = w.Close()
	return b.String()
}

func deflated(s string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String()
}

// deep wraps content in n archives.
func deep(n int, name, content string) string {
	for range n {
		content, name = zipped(entry{name, content}), "a.zip"
	}
	return content
}

func utf16LE(s string) string {
	var b []byte
	for _, r := range s {
		b = binary.LittleEndian.AppendUint16(b, uint16(r))
	}
	return string(b)
}

// native is the stream of a packaged file ([MS-OLEDS], packager).
func native(name, content string) string {
	var b bytes.Buffer
	b.WriteString("\x02\x00" + name + "\x00C:\\tmp\\" + name + "\x00\x00\x00\x03\x00")
	_ = binary.Write(&b, binary.LittleEndian, uint32(4))
	b.WriteString("C:\\x")
	_ = binary.Write(&b, binary.LittleEndian, uint32(len(content)))
	b.WriteString(content)
	return string(binary.LittleEndian.AppendUint32(nil, uint32(b.Len()))) + b.String()
}

func rtfObject(class, data string) string {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, []uint32{0x501, 2, uint32(len(class) + 1)})
	b.WriteString(class + "\x00")
	_ = binary.Write(&b, binary.LittleEndian, []uint32{0, 0, uint32(len(data))})
	b.WriteString(data)
	return fmt.Sprintf(`{\rtf1 text {\object\objemb{\*\objdata %x}}}`, b.String())
}

const (
	program   = "MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00\xb8\x00\x00\x00\x00\x00\x00\x00@\x00\x00\x00"
	types     = `<Types><Override PartName="/word/vbaProject.bin" ContentType="application/vnd.ms-office.vbaProject"/></Types>`
	plainType = `<Types><Default Extension="xml" ContentType="application/xml"/></Types>`
)

func docx(more ...entry) string {
	return zipped(append([]entry{{"[Content_Types].xml", plainType}, {"word/document.xml", "<w:document>text</w:document>"}}, more...)...)
}

func rel(kind, target, mode string) entry {
	return entry{"word/_rels/settings.xml.rels", `<Relationships><Relationship Id="r1" Type="http://schemas/officeDocument/2006/relationships/` +
		kind + `" Target="` + target + `" TargetMode="` + mode + `"/></Relationships>`}
}

// cases: a name, a declared type and octets, and the symbols that they give.
var cases = []struct {
	what, name, declared, data, want string
}{
	{"picture", "a.png", "image/png", "\x89PNG\r\n\x1a\n" + strings.Repeat("x", 3000), ""},
	{"text", "a.txt", "text/plain", "Dear all,\r\n", ""},
	{"nothing in it", "a.txt", "text/plain", "", ""},
	{"program", "a.exe", "application/octet-stream", program, "EXECUTABLE"},
	{"program by its octets", "a.dat", "application/octet-stream", program, "EXECUTABLE"},
	{"program by its name", "a.js", "text/plain", "alert(1)", "EXECUTABLE"},
	{"program as a picture", "a.jpg", "image/jpeg", program, "EXECUTABLE TYPE_MISMATCH"},
	{"program as a PDF", "a.pdf", "application/pdf", program, "EXECUTABLE TYPE_MISMATCH"},
	{"shell script", "a.sh", "text/plain", "#!/bin/sh\n", "SHELL_SCRIPT"},
	{"two extensions", "a.pdf.exe", "application/octet-stream", program, "DOUBLE_EXTENSION EXECUTABLE"},
	{"right to left", "a\u202efdp.exe", "application/octet-stream", program, "BIDI_NAME EXECUTABLE"},
	{"spaces", "a.pdf" + strings.Repeat(" ", 80) + ".scr", "application/pdf", "x", "DOUBLE_EXTENSION EXECUTABLE HIDDEN_NAME"},
	{"disk image by its name", "a.img", "application/octet-stream", "x", "DISK_IMAGE"},
	{"disk image by its octets", "a.bin", "application/octet-stream", strings.Repeat("\x00", 0x8001) + "CD001" + strings.Repeat("\x00", 100), "DISK_IMAGE UNREADABLE"},
	{"in a disk image", "a.bin", "application/octet-stream", string(mailtest.ISO("readme.txt", []byte(program))), "DISK_IMAGE EXECUTABLE TYPE_MISMATCH"},
	{"message named after a domain", "mail.example.com", "message/rfc822", "From: a@example.org\r\n\r\ntext\r\n", ""},

	{"zip", "a.zip", "application/zip", zipped(entry{"a.txt", "Dear all"}), ""},
	{"zip with a program", "a.zip", "application/zip", zipped(entry{"a.txt", "Dear all"}, entry{"b/c.dat", program}), "EXECUTABLE"},
	{"zip that is called a text", "a.txt", "text/plain", zipped(entry{"a.txt", "Dear all"}), "TYPE_MISMATCH"},
	{"zip with other octets before", "a.zip", "application/zip", "noise" + zipped(entry{"c.vbs", "x"}), "EXECUTABLE"},
	{"zip that leaves its folder", "a.zip", "application/zip", zipped(entry{"../../a.txt", "x"}), "ARCHIVE_PATH"},
	{"zip cut short", "a.zip", "application/zip", zipped(entry{"a.txt", strings.Repeat("Dear all", 99)})[:60], "UNREADABLE ZIP_AMBIGUOUS"},
	{"tar.gz with a program", "a.tar.gz", "application/gzip", gzipped("", tarred(entry{"x/y", program})), "EXECUTABLE"},
	{"gzip that names a program", "a.gz", "application/gzip", gzipped("a.wsf", "x"), "EXECUTABLE"},
	{"gzip, named from outside", "setup.scr.gz", "application/gzip", gzipped("", "x"), "EXECUTABLE"},
	{"six deep", "a.zip", "application/zip", deep(6, "a.exe", program), "EXECUTABLE"},
	{"seven deep", "a.zip", "application/zip", deep(7, "a.exe", program), "BOMB"},
	{"gzip of nothing much", "a.gz", "application/gzip", gzipped("a.txt", strings.Repeat("\x00", 60<<20)), "BOMB"},
	{"arj", "a.arj", "application/octet-stream", "\x60\xea" + strings.Repeat("x", 60), "UNREADABLE"},
	{"message in a zip", "a.zip", "application/zip", zipped(entry{"a.eml", "MIME-Version: 1.0\r\nContent-Type: application/x; name=a.exe\r\n\r\nMZ\r\n"}), "EXECUTABLE"},

	{"docx", "a.docx", "application/octet-stream", docx(), ""},
	{"docx with macros", "a.docx", "application/octet-stream", docx(entry{"word/vbaProject.bin", "x"}), "MACRO"},
	{"docx with macros under another name", "a.docx", "application/octet-stream", zipped(entry{"[Content_Types].xml", types}, entry{"word/x.bin", "x"}), "MACRO"},
	{"xlsx with Excel 4 macros", "a.xlsx", "application/octet-stream", docx(entry{"xl/macrosheets/sheet1.xml", "x"}), "MACRO"},
	{"macros by the name", "a.docm", "application/octet-stream", docx(), "MACRO"},
	{"template on a web server", "a.docx", "application/octet-stream", docx(rel("attachedTemplate", "http://x.example/t.dotm", "External")), "REMOTE_TEMPLATE"},
	{"template on a disk", "a.docx", "application/octet-stream", docx(rel("attachedTemplate", `file:///C:\t.dotx`, "External")), ""},
	{"hyperlink", "a.docx", "application/octet-stream", docx(rel("hyperlink", "http://x.example/", "External")), ""},
	{"DDE", "a.docx", "application/octet-stream", zipped(entry{"word/document.xml", `<w:instrText xml:space="preserve"> DDEAUTO c:\\x "y"</w:instrText>`}), "DDE"},
	{"OpenDocument", "a.odt", "application/octet-stream", zipped(entry{"content.xml", "<x/>"}, entry{"Basic/script-lc.xml", "<x/>"}), ""},
	{"OpenDocument with macros", "a.odt", "application/octet-stream", zipped(entry{"content.xml", "<x/>"}, entry{"Basic/Standard/Module1.xml", "<x/>"}), "MACRO"},
	{"OpenDocument with a password", "a.odt", "application/octet-stream", zipped(entry{"META-INF/manifest.xml", "<manifest:encryption-data/>"}), "ENCRYPTED"},
	{"macros in one XML file", "a.xml", "text/xml", `<?xml version="1.0"?><w:wordDocument w:macrosPresent="yes">`, "MACRO"},

	{"doc", "a.doc", "application/msword", ole(oleFile{"WordDocument", "\xec\xa5\xc1\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}), ""},
	{"doc with macros", "a.doc", "application/msword", ole(oleFile{"WordDocument", "x"}, oleFile{"_VBA_PROJECT", "x"}), "MACRO"},
	{"doc with a password", "a.doc", "application/msword", ole(oleFile{"WordDocument", "\xec\xa5\xc1\x00\x00\x00\x00\x00\x00\x00\x00\x01"}), "ENCRYPTED"},
	{"docx with a password", "a.docx", "application/octet-stream", ole(oleFile{"EncryptedPackage", "x"}), "ENCRYPTED"},
	{"xls with a password", "a.xls", "application/vnd.ms-excel", ole(oleFile{"Workbook", "\x09\x08\x02\x00\x00\x06\x2f\x00\x02\x00\x00\x00"}), "ENCRYPTED"},
	{"xls with Excel 4 macros", "a.xls", "application/vnd.ms-excel", ole(oleFile{"Workbook", "\x85\x00\x08\x00\x00\x00\x00\x00\x01\x01\x01a"}), "MACRO"},
	{"xls", "a.xls", "application/vnd.ms-excel", ole(oleFile{"Workbook", "\x85\x00\x08\x00\x00\x00\x00\x00\x00\x00\x01a"}), ""},
	{"doc with a packaged program", "a.doc", "application/msword", ole(oleFile{"\x01Ole10Native", native("a.exe", program)}), "EXECUTABLE OLE_OBJECT"},
	{"doc with a packaged text", "a.doc", "application/msword", ole(oleFile{"\x01Ole10Native", native("a.txt", "Dear all")}), "OLE_OBJECT"},
	{"Outlook message with a program", "a.msg", "application/octet-stream",
		ole(oleFile{"__substg1.0_37010102", program}, oleFile{"__substg1.0_3707001F", utf16LE("a.exe")}), "EXECUTABLE"},
	{"damaged compound file", "a.doc", "application/msword", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + strings.Repeat("\x00", 600), "UNREADABLE"},

	{"rtf", "a.rtf", "text/rtf", `{\rtf1 text}`, ""},
	{"rtf with a packaged program", "a.doc", "application/msword", rtfObject("Package", native("a.exe", program)[4:]), "EXECUTABLE OLE_OBJECT"},
	{"rtf with a packaged program, a hidden group in its digits", "a.rtf", "text/rtf", strings.Replace(rtfObject("Package", native("a.exe", program)[4:]), "0105", "01{ \\*\\x 123{4}5}05", 1), "EXECUTABLE OLE_OBJECT"},
	{"rtf with a packaged program, a word in its digits", "a.rtf", "text/rtf", strings.Replace(rtfObject("Package", native("a.exe", program)[4:]), "0105", "01\\x12 05", 1), "EXECUTABLE OLE_OBJECT"},
	{"rtf that updates itself", "a.rtf", "text/rtf", `{\rtf1 {\object\objupdate}}`, "OLE_OBJECT"},
	{"rtf with a template elsewhere", "a.rtf", "text/rtf", `{\rtf1 {\*\template http://x.example/a}}`, "REMOTE_TEMPLATE"},
	{"OneNote with a script", "a.one", "application/octet-stream", "\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3" +
		strings.Repeat("x", 50) + "\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac" + "\x1c\x00\x00\x00\x00\x00\x00\x00" +
		strings.Repeat("\x00", 12) + program, "EXECUTABLE OLE_OBJECT"},

	{"pdf", "a.pdf", "application/pdf", "%PDF-1.4\n1 0 obj<</Type/Catalog/JSx 1>>endobj\n", ""},
	{"pdf with a script", "a.pdf", "application/pdf", "%PDF-1.4\n1 0 obj<</S/JavaScript/JS(app.alert\\(1\\))>>endobj", "PDF_SCRIPT"},
	{"pdf with an escaped name", "a.pdf", "application/pdf", "%PDF-1.4\n1 0 obj<</S/#4aavaScript>>endobj", "PDF_SCRIPT"},
	{"pdf that launches", "a.pdf", "application/pdf", "%PDF-1.4\n1 0 obj<</S/Launch/F(cmd.exe)>>endobj", "PDF_LAUNCH"},
	{"pdf with a packed script", "a.pdf", "application/pdf", "%PDF-1.5\n1 0 obj<</Type/ObjStm/Filter/FlateDecode>>stream\r\n" +
		deflated("1 0 <</S/JavaScript>>") + "\r\nendstream endobj", "PDF_SCRIPT"},
	{"pdf with a program", "a.pdf", "application/pdf", "%PDF-1.5\n1 0 obj<</Type/EmbeddedFile/Filter/FlateDecode>>stream\n" +
		deflated(program) + "\nendstream endobj", "EXECUTABLE PDF_ATTACHMENT"},
	{"pdf with restrictions", "a.pdf", "application/pdf", "%PDF-1.4\ntrailer<</Encrypt 5 0 R>>", "PDF_ENCRYPTED"},

	{"smuggling", "a.html", "text/html", "<script>var b=new Blob([Uint8Array.from(atob(x))]);a.href=URL.createObjectURL(b);a.download='x.zip';a.click()</script>", "HTML HTML_SMUGGLING"},
	{"smuggling, words in pieces", "a.html", "text/html", `<script>b=new window["Bl"+'ob']([window["at" + "ob"](x)]);a["href"]=URL["createObjectURL"](b);a["down"+"load"]="x";a["cl"+"ick"]()</script>`, "HTML HTML_SMUGGLING"},
	{"smuggling, escapes", "a.html", "text/html", `<script>b=new \u0042lob([\x61tob(x)]);a.href=URL.create\u{4f}bjectURL(b);a.download="x";a.cl\u0069ck()</script>`, "HTML HTML_SMUGGLING"},
	{"smuggling, a File", "a.html", "text/html", "<script>window.open(URL.createObjectURL(new File([new Uint8Array([80])],'x')))</script>", "HTML HTML_SMUGGLING"},
	{"smuggling, old Windows", "a.html", "text/html", "<script>navigator.msSaveOrOpenBlob(new Blob([String.fromCharCode(80)]),'x')</script>", "HTML HTML_SMUGGLING"},
	{"a page with a picture and a download", "a.html", "text/html", `<img src="data:image/png;base64,AA"><a href="https://x.example/a" download>x</a><script>print()</script>`, "HTML"},
	{"a page with broken escapes", "a.html", "text/html", `<script>"\u00", "\u{", "\u{}", "\x4", "\u{fffffffffff}" \u`, "HTML"},
	{"page", "a.html", "text/html", "<html><script>document.title='x'</script><a href='x'>y</a>", "HTML"},
	{"drawing", "a.svg", "image/svg+xml", "<svg xmlns='x'><path d='M0'/></svg>", ""},
	{"drawing with a script", "a.svg", "image/svg+xml", "<svg xmlns='x'><script>alert(1)</script></svg>", "SVG_SCRIPT"},
}

// examined is what one part gives.
func examined(t testing.TB, e *Examiner, name, declared, data string, piece int) (filter.Report, *filter.Facts) {
	t.Helper()
	m := e.Open()
	p := Part{Type: declared, Disposition: "attachment"}
	if name != "" {
		p.Names = []string{name}
	}
	if c := m.Begin(p); c != nil {
		for b := []byte(data); len(b) > 0; {
			n := min(piece, len(b))
			if !c.Write(b[:n]) {
				break
			}
			b = b[n:]
		}
		c.End()
	}
	r := m.Report()
	var f filter.Facts
	if r.Set != nil {
		r.Set(&f)
	}
	return r, &f
}

func symbols(r *filter.Report) string {
	var out []string
	for _, s := range r.Symbols {
		out = append(out, strings.TrimPrefix(s.Name, "ATTACH_"))
	}
	// In the order of the alphabet: what comes first is an accident of the walk.
	for i := range out {
		for j := i + 1; j < len(out); j++ {
			if out[j] < out[i] {
				out[i], out[j] = out[j], out[i]
			}
		}
	}
	return strings.Join(out, " ")
}

func newExaminer(t testing.TB) *Examiner {
	return New(Options{Limits: archive.DefaultLimits(), Workers: 2, Dir: t.TempDir(), Walk: walk})
}

// walk is a Walk for messages of one part.
func walk(message []byte, take func(Part) Content) {
	head, body, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	p := Part{Type: "application/octet-stream"}
	if _, name, ok := bytes.Cut(head, []byte("name=")); ok {
		p.Names = []string{string(name)}
	}
	if c := take(p); c != nil {
		c.Write(body)
		c.End()
	}
}

func TestCases(t *testing.T) {
	e := newExaminer(t)
	for _, c := range cases {
		for _, piece := range []int{8 << 10, 1 << 30} {
			r, f := examined(t, e, c.name, c.declared, c.data, piece)
			if got := symbols(&r); got != c.want || r.State != filter.OK {
				t.Errorf("%s: %q (%s %v), want %q\n%v", c.what, got, r.State, r.Cause, c.want, r.Symbols)
			}
			for _, a := range f.Attachments {
				if (a.Name != "") != (len(a.Symbols) > 0) && a.Shown != "" {
					t.Errorf("%s: the name is kept for %+v", c.what, a)
				}
			}
		}
	}
	if left, err := os.ReadDir(e.o.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestBodyCostsNothing: the text of a message starts no worker.
func TestBodyCostsNothing(t *testing.T) {
	e := newExaminer(t)
	m := e.Open()
	for _, kind := range []string{"text/plain", "text/html"} {
		if m.Begin(Part{Type: kind}) != nil {
			t.Errorf("%s without a name is taken", kind)
		}
	}
	if r := m.Report(); r.State != filter.OK || r.Symbols != nil || m.x != nil {
		t.Errorf("%+v", r)
	}
}

// TestEveryKind: a program is found in archives of every kind.
func TestEveryKind(t *testing.T) {
	for kind, pack := range mailtest.Packers {
		if _, err := exec.LookPath("bzip2"); kind == "bzip2" && err != nil {
			continue
		}
		r, _ := examined(t, newExaminer(t), "outer.dat", "application/octet-stream", string(pack(t, "inner.dat", []byte(program))), 1<<30)
		if got := symbols(&r); !strings.Contains(got, "EXECUTABLE") {
			t.Errorf("%s: %s", kind, got)
		}
	}
}

package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/ascii85"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"mime/quotedprintable"
	"strings"
	"testing"
	"text/template"

	"mailweir/internal/mailtest"
)

// quirkWords are what the cases pack EICAR with. All take and give octets as
// strings; where a file needs a name it is the first argument.
func quirkWords(t testing.TB) template.FuncMap {
	words := template.FuncMap{
		"head":  func() string { return puzzleHead + mimeVersion },
		"eicar": func() string { return string(mailtest.EICAR()) },
		"b64":   func(s string) string { return wrap(base64.StdEncoding.EncodeToString([]byte(s)), 76) },
		"b64n":  func(n int, s string) string { return wrap(base64.StdEncoding.EncodeToString([]byte(s)), n) },
		"b64l":  func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"qp":    quoted, "lower": strings.ToLower,
		"qpall":   func(s string) string { return hexEscapes([]byte(s), "%02X", "=\r\n") },
		"uu":      func(s string) string { return uuencode([]byte(s), "`") },
		"yenc":    func(s string) string { return yEncode([]byte(s)) },
		"binhex":  func(s string) string { return binHex([]byte(s)) },
		"hex":     func(s string) string { return hex.EncodeToString([]byte(s)) },
		"utf16":   func(s string) string { return string(wideText([]byte(s), binary.LittleEndian)) },
		"utf16be": func(s string) string { return string(wideText([]byte(s), binary.BigEndian)) },
		"utf7":    func(s string) string { return utf7Text([]byte(s)) },
		"cut":     func(from, to int, s string) string { return s[from:min(to, len(s))] },
		"repeat":  func(n int, s string) string { return strings.Repeat(s, n) },
		"swap":    func(old, with, s string) string { return strings.ReplaceAll(s, old, with) },
		"octets":  func(h string) (string, error) { b, err := hex.DecodeString(h); return string(b), err },
		"lines":   func(end, s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", end) },
		"pack":    func(kind, name, s string) string { return string(mailtest.Packers[kind](t, name, []byte(s))) },
		"deflate": func(s string) string { return compressed(t, s) },
		"a85": func(s string) string {
			b := make([]byte, ascii85.MaxEncodedLen(len(s)))
			return string(b[:ascii85.Encode(b, []byte(s))]) + "~>"
		},
	}
	for name, f := range quirkFiles(t) {
		words[name] = f
	}
	return words
}

func quoted(s string) string {
	var b strings.Builder
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String() + "\r\n"
}

func compressed(t testing.TB, s string) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// quirkFiles are the formats.
func quirkFiles(t testing.TB) template.FuncMap {
	return template.FuncMap{
		"signed":      func(s string) string { return signedData(t, s) },
		"signedlong":  signedDataBER,
		"zipped":      zippedOddly,
		"gzips":       func(a, b string) string { return gzipMember(a) + gzipMember(b) },
		"tarred":      func(kind, s string) string { return oddTar(t, kind, s) },
		"pdf":         pdfFile,
		"applesingle": func(s string) string { return appleSingle(s) },
		"macbinary":   macBinary,
		"rtfobj":      rtfObject,
		"native":      oleNative,
		"compressed":  func(s string) string { return compressedData(t, s) },
		"cms":         func(s string) string { return compressedData(t, s) },
		"mbr":         func() string { return "\xeb\x3c\x90" + strings.Repeat("\x00", 507) + "\x55\xaa" },
		"udf": func(s string) string {
			return strings.Repeat("\x00", 0x8000) + "\x00BEA01\x01" + strings.Repeat("\x00", 2041) + "\x00NSR02\x01" + strings.Repeat("\x00", 2041) + s
		},
	}
}

// signedData is a PKCS #7 message (RFC 5652 section 5) without signers, its
// content in it.
func signedData(t testing.TB, s string) string {
	type content struct {
		Type asn1.ObjectIdentifier
		Data asn1.RawValue `asn1:"explicit,tag:0"`
	}
	der := func(v any) []byte {
		b, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	explicit := func(b []byte) asn1.RawValue { return asn1.RawValue{Class: 2, IsCompound: true, Tag: 0, Bytes: b} }
	octets := der([]byte(s))
	empty := asn1.RawValue{Tag: 17, IsCompound: true}
	signed := der(struct {
		Version int
		Digests asn1.RawValue
		Content content
		Signers asn1.RawValue
	}{1, empty, content{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}, explicit(octets)}, empty})
	return string(der(content{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}, explicit(signed)}))
}

// compressedData is a PKCS #7 message (RFC 3274), its content in it.
func compressedData(t testing.TB, s string) string {
	ber := func(tag, content string) string {
		return tag + "\x82" + string([]byte{byte(len(content) >> 8), byte(len(content))}) + content
	}
	inner := ber("\x30", "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"+ber("\xa0", ber("\x04", compressed(t, s))))
	data := "\x02\x01\x00\x30\x0d\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x03\x08" + inner
	return ber("\x30", "\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x09"+ber("\xa0", ber("\x30", data)))
}

// signedDataBER is the same with lengths that are not known, and the content in
// pieces of 40 octets, as programs write it that do not hold the message.
func signedDataBER(s string) string {
	var b strings.Builder
	b.WriteString("\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80\x30\x80\x02\x01\x01\x31\x00")
	b.WriteString("\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x80\x24\x80")
	for ; len(s) > 0; s = s[min(40, len(s)):] {
		piece := s[:min(40, len(s))]
		b.WriteString("\x04" + string(rune(len(piece))) + piece)
	}
	b.WriteString("\x00\x00\x00\x00\x00\x00\x31\x00" + strings.Repeat("\x00\x00", 3))
	return b.String()
}

func gzipMember(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

// zipLie changes a zip of one file. Its directory is at central, its end record at end.
type zipLie func(data []byte, central, end int) []byte

// put writes octets at a place.
func put(what string) func(data []byte, at int) []byte {
	return func(data []byte, at int) []byte { copy(data[at:], what); return data }
}

const noSizes = "\x00\x00\x00\x00\x00\x00\x00\x00"

var zipLies = map[string]zipLie{
	"wrong local name":              func(d []byte, _, _ int) []byte { return put("b.txt")(d, 30) },
	"encrypted by the directory":    func(d []byte, c, _ int) []byte { d[c+8] |= 1; return d },
	"encrypted by the local header": func(d []byte, _, _ int) []byte { d[6] |= 1; return d },
	"method by the directory":       func(d []byte, c, _ int) []byte { return put("\x00\x00")(d, c+10) },
	"method by the local header":    func(d []byte, _, _ int) []byte { return put("\x00\x00")(d, 8) },
	"size 0 by the directory":       func(d []byte, c, _ int) []byte { return put(noSizes)(d, c+20) },
	"size 1 by the directory":       func(d []byte, c, _ int) []byte { return put("\x01\x00\x00\x00")(d, c+24) },
	"local size 0":                  func(d []byte, _, _ int) []byte { return put(noSizes)(d, 18) },
	"bad checksum":                  func(d []byte, c, _ int) []byte { return put("\x00\x00\x00\x00")(d, c+16) },
	"no directory":                  func(d []byte, c, _ int) []byte { return d[:c] },
	"no entry in the directory":     func(d []byte, _, e int) []byte { return put("\x00\x00\x00\x00")(d, e+8) },
	"directory at 0":                func(d []byte, _, e int) []byte { return put("\x00\x00\x00\x00")(d, e+16) },
	"other disk":                    func(d []byte, _, e int) []byte { return put("\x01\x00")(d, e+4) },
	"long comment":                  func(d []byte, _, _ int) []byte { return append(d, strings.Repeat("c", 70000)...) },
	"comment with an end": func(d []byte, _, e int) []byte {
		comment := "PK\x05\x06" + strings.Repeat("\x00", 18)
		d[e+20] = byte(len(comment))
		return append(d, comment...)
	},
	"prefix": func(d []byte, _, _ int) []byte { return append([]byte(strings.Repeat("text ", 2000)), d...) },
	"picture before": func(d []byte, _, _ int) []byte {
		return append([]byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"+strings.Repeat("\x00", 2000)), d...)
	},
	"PDF before":   func(d []byte, _, _ int) []byte { return append([]byte("%PDF-1.4\n%%EOF\n"), d...) },
	"split marker": func(d []byte, _, _ int) []byte { return append([]byte("PK\x07\x08"), d...) },
}

// zippedOddly is a zip whose one file is s, with a lie of that kind.
func zippedOddly(kind, s string) (string, error) {
	lie := zipLies[kind]
	if lie == nil {
		return "", fmt.Errorf("no lie %q", kind)
	}
	method := uint16(zip.Deflate)
	if kind == "wrong local name" || kind == "local size 0" {
		method = zip.Store
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.CreateHeader(&zip.FileHeader{Name: "a.dat", Method: method})
	if err != nil {
		return "", err
	}
	_, _ = w.Write([]byte(s))
	if err := z.Close(); err != nil {
		return "", err
	}
	data := b.Bytes()
	return string(lie(data, bytes.LastIndex(data, []byte("PK\x01\x02")), bytes.LastIndex(data, []byte("PK\x05\x06")))), nil
}

// tarField changes the header of a tar, and has its checksum right again.
func tarField(at int, value string) func(data []byte) []byte {
	return func(data []byte) []byte {
		copy(data[at:], value)
		setTarSum(data)
		return data
	}
}

var tarOddities = map[string]func(data []byte) []byte{
	"pax":                     func(d []byte) []byte { return d }, // by their names
	"gnu":                     func(d []byte) []byte { return d },
	"v7":                      tarField(257, "\x00\x00\x00\x00\x00\x00\x00\x00"),
	"bad checksum":            func(d []byte) []byte { copy(d[148:], "000000\x00 "); return d },
	"type contiguous":         tarField(156, "7"),
	"type unknown":            tarField(156, "Z"),
	"type hard link":          tarField(156, "1"),
	"size in base 256":        tarField(124, "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x44"),
	"size in a record":        sizeInRecord,
	"no end":                  func(d []byte) []byte { return d[:1024] },
	"a second archive behind": nil, // needs a packer
}

func sizeInRecord(data []byte) []byte {
	const record = "13 size=0068\n"
	pax := append([]byte(nil), data[:512]...)
	pax[156] = 'x'
	pax = tarField(124, fmt.Sprintf("%011o\x00", len(record)))(pax)
	data = tarField(124, "00000000000\x00")(data)
	return append(append(pax, append([]byte(record), make([]byte, 512-len(record))...)...), data...)
}

// oddTar is a tar of one file of that kind.
func oddTar(t testing.TB, kind, s string) string {
	change, ok := tarOddities[kind]
	if !ok {
		t.Fatalf("no tar %q", kind)
	}
	h := &tar.Header{Name: "a.dat", Mode: 0o600, Size: int64(len(s))}
	switch kind {
	case "pax":
		h.Format, h.Name = tar.FormatPAX, strings.Repeat("long/", 80)+"a.dat"
	case "gnu":
		h.Format, h.Name = tar.FormatGNU, strings.Repeat("long/", 80)+"a.dat"
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	if change == nil {
		return string(mailtest.Packers["tar"](t, "x", []byte("hello"))) + b.String()
	}
	return string(change(b.Bytes()))
}

func setTarSum(header []byte) {
	copy(header[148:156], "        ")
	n := 0
	for _, c := range header[:512] {
		n += int(c)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", n))
}

// pdfFile is a PDF to which s is attached, its stream written in that way.
func pdfFile(filter, s string) string {
	return "%PDF-1.7\n1 0 obj\n<</Type/Catalog/Names<</EmbeddedFiles<</Names[(a.dat) 2 0 R]>>>>>>\nendobj\n" +
		"2 0 obj\n<</Type/Filespec/F(a.dat)/EF<</F 3 0 R>>>>\nendobj\n" +
		fmt.Sprintf("3 0 obj\n<</Type/EmbeddedFile%s/Length %d>>\nstream\n%s\nendstream\nendobj\n", filter, len(s), s) +
		"trailer\n<</Root 1 0 R>>\n%%EOF\n"
}

// appleSingle is RFC 1740 appendix A: a data fork alone.
func appleSingle(s string) string {
	head := "\x00\x05\x16\x00\x00\x02\x00\x00" + strings.Repeat("\x00", 16) + "\x00\x01\x00\x00\x00\x01\x00\x00\x00\x26"
	return string(binary.BigEndian.AppendUint32([]byte(head), uint32(len(s)))) + s
}

// macBinary is version I: a header of 128 octets, the data fork after it.
func macBinary(s string) string {
	head := make([]byte, 128)
	copy(head[1:], "\x05a.dat")
	copy(head[65:], "TEXTttxt")
	binary.BigEndian.PutUint32(head[83:], uint32(len(s)))
	return string(head) + s + strings.Repeat("\x00", (128-len(s)%128)%128)
}

func rtfObject(class, data string) string {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, []uint32{0x501, 2, uint32(len(class) + 1)})
	b.WriteString(class + "\x00")
	_ = binary.Write(&b, binary.LittleEndian, []uint32{0, 0, uint32(len(data))})
	b.WriteString(data)
	return b.String()
}

// oleNative is a packaged file ([MS-OLEDS], packager), without the size in front.
func oleNative(name, content string) string {
	var b bytes.Buffer
	b.WriteString("\x02\x00" + name + "\x00C:\\tmp\\" + name + "\x00\x00\x00\x03\x00")
	_ = binary.Write(&b, binary.LittleEndian, uint32(5))
	b.WriteString("C:\\x\x00")
	_ = binary.Write(&b, binary.LittleEndian, uint32(len(content)))
	b.WriteString(content)
	return b.String()
}

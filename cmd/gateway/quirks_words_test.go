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

// zippedOddly is a zip whose one file is s, with a lie of that kind.
func zippedOddly(kind, s string) (string, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "a.dat", Method: zip.Deflate}
	if kind == "stored" || kind == "wrong local name" || strings.HasPrefix(kind, "local") {
		h.Method = zip.Store
	}
	w, err := z.CreateHeader(h)
	if err != nil {
		return "", err
	}
	_, _ = w.Write([]byte(s))
	if err := z.Close(); err != nil {
		return "", err
	}
	data := b.Bytes()
	central := bytes.LastIndex(data, []byte("PK\x01\x02"))
	end := bytes.LastIndex(data, []byte("PK\x05\x06"))
	le := binary.LittleEndian
	switch kind {
	case "wrong local name":
		copy(data[30:], "b.txt")
	case "encrypted by the directory":
		data[central+8] |= 1
	case "encrypted by the local header":
		data[6] |= 1
	case "method by the directory":
		le.PutUint16(data[central+10:], 0)
	case "method by the local header":
		le.PutUint16(data[8:], 0)
	case "size 0 by the directory":
		le.PutUint32(data[central+20:], 0)
		le.PutUint32(data[central+24:], 0)
	case "size 1 by the directory":
		le.PutUint32(data[central+24:], 1)
	case "local size 0":
		le.PutUint32(data[18:], 0)
		le.PutUint32(data[22:], 0)
	case "bad checksum":
		le.PutUint32(data[central+16:], 0)
	case "no directory":
		data = data[:central]
	case "no entry in the directory":
		le.PutUint16(data[end+8:], 0)
		le.PutUint16(data[end+10:], 0)
	case "directory at 0":
		le.PutUint32(data[end+16:], 0)
	case "bad signature of the local header":
		copy(data, "PK\x07\x07")
	case "other disk":
		le.PutUint16(data[end+4:], 1)
	case "long comment":
		data = append(data, strings.Repeat("c", 70000)...)
	case "comment with an end":
		comment := []byte("PK\x05\x06" + strings.Repeat("\x00", 18))
		le.PutUint16(data[end+20:], uint16(len(comment)))
		data = append(data, comment...)
	case "prefix":
		data = append([]byte(strings.Repeat("text ", 2000)), data...)
	case "picture before":
		data = append([]byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"+strings.Repeat("\x00", 2000)), data...)
	case "PDF before":
		data = append([]byte("%PDF-1.4\n%%EOF\n"), data...)
	case "split marker":
		data = append([]byte("PK\x07\x08"), data...)
	case "directory, deflate64":
		le.PutUint16(data[central+10:], 9)
		le.PutUint16(data[8:], 9)
	}
	return string(data), nil
}

// oddTar is a tar of one file of that kind.
func oddTar(t testing.TB, kind, s string) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h := &tar.Header{Name: "a.dat", Mode: 0o600, Size: int64(len(s))}
	switch kind {
	case "pax":
		h.Format, h.Name = tar.FormatPAX, strings.Repeat("long/", 80)+"a.dat"
	case "gnu":
		h.Format, h.Name = tar.FormatGNU, strings.Repeat("long/", 80)+"a.dat"
	}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	data := b.Bytes()
	sum := func() { setTarSum(data) }
	switch kind {
	case "v7":
		copy(data[257:265], make([]byte, 8))
		sum()
	case "bad checksum":
		copy(data[148:], "000000\x00 ")
	case "type contiguous":
		data[156] = '7'
		sum()
	case "type unknown":
		data[156] = 'Z'
		sum()
	case "type hard link":
		data[156] = '1'
		sum()
	case "size in base 256":
		copy(data[124:136], "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"+string(rune(len(s))))
		sum()
	case "size in a record":
		record := "13 size=0068\n"
		pax := append([]byte(nil), data[:512]...)
		pax[156] = 'x'
		copy(pax[124:136], fmt.Sprintf("%011o\x00", len(record)))
		setTarSum(pax)
		copy(data[124:136], "00000000000\x00")
		sum()
		data = append(append(pax, append([]byte(record), make([]byte, 512-len(record))...)...), data...)
	case "no end":
		data = data[:1024]
	case "zero block first":
		data = append(make([]byte, 512), data...)
	case "a second archive behind":
		data = append(append([]byte(nil), mailtest.Packers["tar"](t, "x", []byte("hello"))...), data...)
	}
	return string(data)
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

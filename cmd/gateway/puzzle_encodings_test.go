package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// encoded is a payload in one encoding: the fields that say so, its lines, and
// the type that a client wants to see to undo it ("" for any).
type encoded struct{ name, fields, body, kind string }

const cte = "Content-Transfer-Encoding: "

// encodings are the ways to write a payload that some client reads, honest and
// crooked ones.
func encodings(payload []byte) []encoded {
	b64 := base64.StdEncoding.EncodeToString(payload)
	lines := wrap(b64, 76)
	qp := hexEscapes(payload, "%02X", "")
	out := base64Encodings(payload, b64)
	for _, label := range []string{
		"base64", "BASE64", "bAsE64\t", "base64 (a comment)", "(a comment) base64", `"base64"`, "base64; x=y", "base-64", "x-base64", "base64,",
		"=?us-ascii?Q?base64?=", "\r\n base64", " base64 junk", "base64base64",
	} {
		out = append(out, encoded{"base64 as " + fmt.Sprintf("%q", label), cte + label + "\r\n", lines, ""})
	}
	out = append(out,
		encoded{"encoding twice, first", cte + "base64\r\n" + cte + "7bit\r\n", lines, ""},
		encoded{"encoding twice, last", cte + "8bit\r\n" + cte + "base64\r\n", lines, ""},
		encoded{"encoding thrice", cte + "8bit\r\n" + cte + "base64\r\n" + cte + "quoted-printable\r\n", lines, ""},
		encoded{"space before the colon", "Content-Transfer-Encoding : base64\r\n", lines, ""},
		encoded{"quoted-printable", cte + "quoted-printable\r\n", qp + "\r\n", ""},
		encoded{"quoted-printable, lower case", cte + "quoted-printable\r\n", hexEscapes(payload, "%02x", "") + "\r\n", ""},
		encoded{"quoted-printable, soft breaks", cte + "Quoted-Printable\r\n", hexEscapes(payload, "%02X", "=\r\n") + "\r\n", ""},
		encoded{"quoted-printable, padded breaks", cte + "quoted-printable\r\n", hexEscapes(payload, "%02X", "= \t\r\n") + "\r\n", ""},
		encoded{"quoted-printable, bad escapes", cte + "quoted-printable\r\n", badEscapes(payload), ""},
		encoded{"quoted_printable", cte + "quoted_printable\r\n", qp + "\r\n", ""},
		encoded{"quotedprintable", cte + "quotedprintable\r\n", qp + "\r\n", ""},
		encoded{"x-uuencode", cte + "x-uuencode\r\n", uuencode(payload, "`"), ""},
		encoded{"uuencode, misspelt", cte + "uu-encoded\r\n", uuencode(payload, " "), ""},
		encoded{"uuencode in text", "", "A picture:\r\n\r\n" + uuencode(payload, "`"), "text/plain"},
		encoded{"begin-base64", "", "begin-base64 644 a.com\r\n" + lines + "====\r\n", "text/plain"},
		encoded{"yEnc", cte + "8bit\r\n", yEncode(payload), "text/plain"},
		encoded{"BinHex", "", binHex(payload), "text/plain"},
		encoded{"nothing said", "", string(payload) + "\r\n", ""},
		encoded{"7bit", cte + "7bit\r\n", string(payload) + "\r\n", ""},
		encoded{"8bit", cte + "8bit\r\n", string(payload) + "\r\n", ""},
		encoded{"binary", cte + "binary\r\n", string(payload) + "\r\n", ""},
		encoded{"unknown and not encoded", cte + "x-none\r\n", string(payload) + "\r\n", ""},
		encoded{"UTF-16", cte + "base64\r\n", wrap(base64.StdEncoding.EncodeToString(wideText(payload, binary.LittleEndian)), 76), "text/html; charset=utf-16"},
		encoded{"UTF-16, big-endian", cte + "base64\r\n", wrap(base64.StdEncoding.EncodeToString(wideText(payload, binary.BigEndian)), 76), "text/plain; charset=utf-16be"},
		encoded{"UTF-7", "", utf7Text(payload), "text/html; charset=utf-7"},
	)
	return out
}

// base64Encodings are faults in the base64 itself.
func base64Encodings(payload []byte, b64 string) []encoded {
	const field = cte + "base64\r\n"
	var padded, junk strings.Builder
	for i := 0; i < len(payload); i += 10 {
		padded.WriteString(base64.StdEncoding.EncodeToString(payload[i:min(i+10, len(payload))]) + "\r\n")
	}
	for i := 0; i < len(b64); i += 3 {
		junk.WriteString(b64[i:min(i+3, len(b64))] + "!*")
	}
	odd := ""
	for _, line := range strings.Split(strings.TrimSpace(wrap(b64, 20)), "\r\n") {
		odd += line + "\r\nA line, of text.\r\n"
	}
	return []encoded{
		{"one long line", field, b64 + "\r\n", ""},
		{"lines of 4", field, wrap(b64, 4), ""},
		{"lines of 1", field, wrap(b64, 1), ""},
		{"blanks", field, strings.Join(strings.Split(b64, ""), " ") + "\r\n", ""},
		{"junk", field, junk.String() + "\r\n", ""},
		{"odd lines between", field, odd, ""},
		{"padding inside", field, padded.String(), ""},
		{"equal signs inside", field, b64[:10] + "=" + b64[10:21] + "==" + b64[21:] + "\r\n", ""},
		{"no padding", field, strings.TrimRight(b64, "=") + "\r\n", ""},
		{"much padding", field, b64 + "=======\r\n", ""},
		{"text after padding", field, b64 + "==\r\n\r\nA mailing list's footer\r\n", ""},
		{"URL alphabet", field, strings.NewReplacer("+", "-", "/", "_").Replace(b64) + "\r\n", ""},
		{"empty lines", field, strings.ReplaceAll(wrap(b64, 8), "\r\n", "\r\n\r\n"), ""},
		{"blank before", field, "\r\n \t\r\n" + wrap(b64, 76), ""},
	}
}

func wrap(s string, n int) string {
	var b strings.Builder
	for len(s) > n {
		b.WriteString(s[:n] + "\r\n")
		s = s[n:]
	}
	return b.String() + s + "\r\n"
}

func hexEscapes(payload []byte, format, between string) string {
	var b strings.Builder
	for i, c := range payload {
		fmt.Fprintf(&b, "="+format, c)
		if i%10 == 9 && i+1 < len(payload) {
			b.WriteString(or(between, "=\r\n"))
		} else {
			b.WriteString(between)
		}
	}
	return b.String()
}

// badEscapes has an equal sign too many wherever it cannot be taken for an
// escape.
func badEscapes(payload []byte) string {
	var b strings.Builder
	for i, c := range payload {
		if i%5 == 4 && strings.IndexByte("0123456789ABCDEFabcdef=", c) < 0 {
			b.WriteByte('=')
		}
		if c == '=' {
			b.WriteString("=3D")
			continue
		}
		b.WriteByte(c)
	}
	return b.String() + "\r\n"
}

func uuencode(payload []byte, zero string) string {
	var b strings.Builder
	b.WriteString("begin 644 a.com\r\n")
	put := func(v byte) {
		if v == 0 {
			b.WriteString(zero)
		} else {
			b.WriteByte(' ' + v)
		}
	}
	for len(payload) > 0 {
		n := min(45, len(payload))
		put(byte(n))
		var line [48]byte
		copy(line[:], payload[:n])
		for i := 0; i < n; i += 3 {
			put(line[i] >> 2)
			put((line[i]<<4 | line[i+1]>>4) & 63)
			put((line[i+1]<<2 | line[i+2]>>6) & 63)
			put(line[i+2] & 63)
		}
		b.WriteString("\r\n")
		payload = payload[n:]
	}
	return b.String() + "`\r\nend\r\n"
}

func yEncode(payload []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "=ybegin line=128 size=%d name=a.com\r\n", len(payload))
	for _, c := range payload {
		switch c += 42; c {
		case 0, '\r', '\n', '=':
			b.WriteByte('=')
			c += 64
		}
		b.WriteByte(c)
	}
	return b.String() + fmt.Sprintf("\r\n=yend size=%d\r\n", len(payload))
}

// binHex is RFC 1741 without runs; the CRCs are not those of the file.
func binHex(payload []byte) string {
	file := append([]byte{5}, "a.com\x00TEXTTEXT\x00\x00"...)
	file = binary.BigEndian.AppendUint32(file, uint32(len(payload)))
	file = append(file, 0, 0, 0, 0, 0, 0)
	file = append(append(file, payload...), 0, 0, 0, 0)
	const alphabet = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"
	var b strings.Builder
	bits, n := uint32(0), 0
	for _, c := range append(file, 0) {
		bits, n = bits<<8|uint32(c), n+8
		for ; n >= 6; n -= 6 {
			b.WriteByte(alphabet[bits>>(n-6)&63])
		}
	}
	return "(This file must be converted with BinHex 4.0)\r\n" + wrap(":"+b.String()+":", 64)
}

func wideText(payload []byte, order binary.AppendByteOrder) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(string(payload))) {
		out = order.AppendUint16(out, u)
	}
	return out
}

func utf7Text(payload []byte) string {
	wide := wideText(payload, binary.BigEndian)
	return "+" + base64.RawStdEncoding.EncodeToString(wide) + "-\r\n"
}

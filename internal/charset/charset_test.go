package charset

import (
	"mime"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestToUTF8(t *testing.T) {
	for _, c := range []struct{ label, in, want string }{
		{"utf-8", "café", "café"},
		{"UTF8", "café", "café"},
		{"us-ascii", "caf\xe9", "café"},
		{"", "caf\xc3\xa9", "café"},
		{"utf-8", "caf\xe9", "café"},
		{"iso-8859-1", "caf\xe9 \x80", "café €"}, // the label means windows-1252 (WHATWG)
		{"windows-1251", "\xcf\xf0\xe8\xe2\xe5\xf2", "Привет"},
		{"koi8-r", "\xf0\xd2\xc9\xd7\xc5\xd4", "Привет"},
		{"gb2312", "\xc4\xe3\xba\xc3", "你好"},
		{"iso-2022-jp", "\x1b$B$3$s\x1b(B", "こん"},
		{"utf-16le", "h\x00i\x00", "hi"},
		{"x-nobody-knows", "caf\xe9", "café"},
		{"iso-2022-kr", "abc", "abc"},
		{"utf-8", "caf\xc3\xa9 caf\xc3\xa9 cut\xc3", "café café cut\uFFFD"},
	} {
		if got := string(ToUTF8(nil, []byte(c.in), c.label)); got != c.want {
			t.Errorf("ToUTF8(%q, %s) = %q, want %q", c.in, c.label, got, c.want)
		}
	}
	if !Known("ISO-8859-15") || Known("x-nobody-knows") {
		t.Error("Known")
	}
}

func TestDecodeWords(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"=?utf-8?q?caf=C3=A9?=", "café"},
		{"=?UTF-8?B?Y2Fmw6k=?= and =?iso-8859-1?Q?caf=E9?=", "café and café"},
		{"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"},
		{"=?utf-8?q?a?=\r\n =?iso-8859-1?q?b?=", "ab"},
		{"=?utf-8?B?ww?= =?utf-8?B?qQ==?=", "é"}, // a character cut in half; unpadded
		{"=?utf-8*en?q?a_b?=", "a b"},
		{"a=?utf-8?q?b?=c", "abc"},
		{"=?utf-8?q?no end", "=?utf-8?q?no end"},
		{"=?utf-8?x?no?=", "=?utf-8?x?no?="},
		{"=??q?no?=", "=??q?no?="},
		{"=?utf-8?q?a b?=", "a b"},
		{"raw caf\xe9", "raw café"},
		{"=?utf-8?q?=ZZ?=", "=ZZ"},
	} {
		if got := DecodeWords(c.in); got != c.want {
			t.Errorf("DecodeWords(%q) = %q, want %q", c.in, got, c.want)
		}
	}
	if !HasWord("x =?utf-8?q?a?=") || HasWord("=?utf-8?x?a?=") {
		t.Error("HasWord")
	}
}

func FuzzDecodeWords(f *testing.F) {
	f.Add("=?utf-8?q?caf=C3=A9?= =?utf-8?B?Y2Fmw6k=?=")
	f.Add("=?=?utf-8?q?=?=?=")
	f.Fuzz(func(t *testing.T, s string) {
		got := DecodeWords(s)
		if !utf8.ValidString(got) {
			t.Fatalf("%q gives invalid UTF-8 %q", s, got)
		}
		// Where the library decodes one word alone, so do we.
		if !utf8.ValidString(s) || strings.Count(s, "=?") != 1 || strings.ContainsAny(s, " \t\r\n") {
			return
		}
		want, err := new(mime.WordDecoder).Decode(s)
		if err == nil && strings.HasPrefix(strings.ToLower(s), "=?utf-8?") && utf8.ValidString(want) && got != want {
			t.Fatalf("%q = %q, the library has %q", s, got, want)
		}
	})
}

func FuzzToUTF8(f *testing.F) {
	for _, label := range []string{"", "utf-8", "gb2312", "iso-2022-jp", "utf-16", "big5", "euc-kr"} {
		f.Add([]byte("text \x1b$B$3\xe4\xff"), label)
	}
	f.Fuzz(func(t *testing.T, b []byte, label string) {
		got := ToUTF8(nil, b, label)
		if !utf8.Valid(got) {
			t.Fatalf("%q in %q gives invalid UTF-8 %q", b, label, got)
		}
		if len(got) > 4*len(b)+8 {
			t.Fatalf("%q in %q grows to %d octets", b, label, len(got))
		}
	})
}

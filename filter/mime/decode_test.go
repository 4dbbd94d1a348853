package mime

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
)

// decodeIn decodes src in pieces of n octets.
func decodeIn(d decoder, src []byte, n int) ([]byte, Ambiguities) {
	var out []byte
	for len(src) > 0 {
		m := min(n, len(src))
		out = d.decode(out, src[:m])
		src = src[m:]
	}
	return d.finish(out)
}

func TestBase64(t *testing.T) {
	for _, c := range []struct {
		in, out string
		odd     []Ambiguity
	}{
		{"", "", nil},
		{"aGVsbG8=", "hello", nil},
		{"aGVs\r\nbG8=\r\n", "hello", nil},
		{"a G V s b G 8 =", "hello", nil},
		{"aGVsbG8", "hello", []Ambiguity{ShortBase64}},
		{"aGVsb", "hel", []Ambiguity{ShortBase64}},
		{"aGVs!!bG8=", "hello", []Ambiguity{OddBase64}},
		{"aGVsbG8=aGVsbG8=", "hellohello", []Ambiguity{Base64AfterPadding}},
		{"aGVsbG8===", "hello", []Ambiguity{ShortBase64}},
		{"=", "", []Ambiguity{ShortBase64}},
		{"aGVsbA=", "hell", []Ambiguity{ShortBase64}},
	} {
		for n := 1; n < 9; n++ {
			out, odd := decodeIn(new(base64Decoder), []byte(c.in), n)
			var want Ambiguities
			for _, a := range c.odd {
				want.Add(a)
			}
			if string(out) != c.out || odd != want {
				t.Errorf("%q in pieces of %d = %q, odd %v; want %q, %v", c.in, n, out, odd.List(), c.out, c.odd)
			}
		}
	}
}

func TestQuotedPrintable(t *testing.T) {
	for _, c := range []struct {
		in, out string
		odd     bool
	}{
		{"a=3Db", "a=b", false},
		{"a=3db=c3=a4", "a=b\xc3\xa4", false},
		{"soft=\r\nbreak", "softbreak", false},
		{"padded= \t\r\nbreak", "paddedbreak", false},
		{"a=ZZ", "a=ZZ", true},
		{"a==3D", "a==", true},
		{"a=3", "a=3", true},
		{"a=", "a", false},
		{"a= b", "a= b", true},
		{"a=\rb", "a=\rb", true},
	} {
		for n := 1; n < 9; n++ {
			out, odd := decodeIn(new(qpDecoder), []byte(c.in), n)
			if string(out) != c.out || odd.Has(OddQuotedPrintable) != c.odd {
				t.Errorf("%q in pieces of %d = %q, odd %v; want %q, %v", c.in, n, out, odd.List(), c.out, c.odd)
			}
		}
	}
}

// FuzzDecoders compares with the standard library where that accepts the text,
// and with ourselves on other pieces everywhere.
func FuzzDecoders(f *testing.F) {
	f.Add([]byte("aGVsbG8gd29ybGQ="), uint8(5))
	f.Add([]byte("a=3D=\r\nb =20\r\n"), uint8(2))
	f.Fuzz(func(t *testing.T, src []byte, n uint8) {
		size := int(n)%16 + 1
		for _, make := range []func() decoder{
			func() decoder { return new(base64Decoder) }, func() decoder { return new(qpDecoder) },
		} {
			whole, odd := decodeIn(make(), src, len(src)+1)
			if got, o := decodeIn(make(), src, size); !bytes.Equal(got, whole) || o != odd {
				t.Fatalf("%T: pieces of %d give %q, %v; whole %q, %v", make(), size, got, o, whole, odd)
			}
			checked := make()
			checked.check(src)
			if _, o := checked.finish(nil); o != odd {
				t.Fatalf("%T: check finds %v, decode %v", checked, o, odd)
			}
		}
		plain := strings.NewReplacer("\r", "", "\n", "").Replace(string(src))
		if want, err := base64.StdEncoding.Strict().DecodeString(plain); err == nil {
			if got, odd := decodeIn(new(base64Decoder), src, size); !bytes.Equal(got, want) || odd != 0 {
				t.Fatalf("base64 %q = %q, odd %v; want %q", src, got, odd.List(), want)
			}
		}
		compareQP(t, src)
	})
}

// compareQP holds for text without the white space at line ends that the
// library drops.
func compareQP(t *testing.T, src []byte) {
	if bytes.ContainsAny(src, " \t\r\n") {
		return
	}
	want, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(src)))
	got, odd := decodeIn(new(qpDecoder), src, len(src)+1)
	if err == nil && odd == 0 && !bytes.Equal(got, want) {
		t.Fatalf("quoted-printable %q = %q, want %q", src, got, want)
	}
}

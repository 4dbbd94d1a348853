package mime

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailweir/mail"
)

// readAll is every content of every reading, each once, in pieces of n octets.
func readAll(data []byte, n int) (contents []string, odd Ambiguities, capable bool) {
	size, _ := mail.HeaderLength(data)
	h := mail.ParseHeader(data[:size])
	var x taker
	r := NewReadings(&h, &x)
	for body := data[size:]; len(body) > 0; {
		m := min(len(body), n)
		r.Write(body[:m:m])
		body = body[m:]
	}
	r.Close()
	for _, t := range x.leaves {
		s := fmt.Sprintf("%s %q %s: %s", t.leaf.Type, t.leaf.Names, t.leaf.Reading, t.b)
		if t.ended != 1 {
			s += fmt.Sprintf(" !ended %d times", t.ended)
		}
		contents = append(contents, s)
	}
	return contents, r.Odd, r.Capable
}

// TestReadings: what is found besides the plain reading.
func TestReadings(t *testing.T) {
	const mixed = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b"
	for _, c := range []struct {
		name, in, want string
		capable        bool
	}{
		{"last boundary", mixed + "; boundary=c\r\n\r\n--c\r\nContent-Type: application/zip\r\n\r\nPK\r\n--c--\r\n", "application/zip [] as it is: PK\r\n", true},
		{"last type", "Content-Type: text/plain\r\n" + mixed + "\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", "text/plain [] as it is: x\r\n", false},
		{"epilogue", mixed + "\r\n\r\n--b--\r\n--b\r\nContent-Type: text/html\r\n\r\nx\r\n--b--\r\n", "text/html [] as it is: x\r\n", false},
		{"padding ignored", "Content-Transfer-Encoding: base64\r\n\r\nYW=JjZA==\r\n", "text/plain [] base64, padding ignored: abcd", false},
		{"ended by padding", "Content-Transfer-Encoding: base64\r\n\r\nYQ==YQ==\r\n", "text/plain [] base64, ended by padding: a", false},
		{"odd lines", "Content-Transfer-Encoding: base64\r\n\r\nYWJj\r\nA line.\r\nZGVm\r\n", "text/plain [] base64, odd lines dropped: abcdef", false},
		{"URL", "Content-Transfer-Encoding: base64\r\n\r\n-_-_\r\n", "text/plain [] base64url: \xfb\xff\xbf", false},
		{"misspelt", "Content-Transfer-Encoding: base-64\r\n\r\nYWJj\r\n", "text/plain [] base64: abc", false},
		{"unknown", "Content-Transfer-Encoding: x\r\n\r\n=61\r\n", "text/plain [] quoted-printable: a\r\n", false},
		{"bad escapes", "Content-Transfer-Encoding: quoted-printable\r\n\r\na=b=c=\r\nd \r\n", "text/plain [] quoted-printable, bad escapes dropped: abcd\r\n", false},
		{"x-uuencode", "Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 a\r\n#86)C\r\n`\r\nend\r\n", "text/plain [] uuencode: abc", false},
		{"no delimiter", mixed + "\r\n\r\ntext\r\nContent-Type: application/x-sh; name=a.sh\r\n\r\nx\r\n", `application/x-sh ["a.sh"] as it is: x` + "\r\n", true},
		{"empty fold", mixed + "\r\n\r\n--b\r\nX: y\r\n \r\nContent-Type: text/html\r\n\r\nz\r\n--b--\r\n", "text/html [] as it is: z\r\n", false},
		{"no empty line", mixed + "\r\n\r\n--b\r\nContent-Type: text/html\r\nz\r\n--b--\r\n", "text/html [] as it is: z\r\n", false},
		{"multipart in base64", mixed + "\r\nContent-Transfer-Encoding: base64\r\n\r\nLS1iDQpDb250ZW50LVR5cGU6IHRleHQvaHRtbA0KDQpq\r\n", "text/html [] as it is: j", false},
		{"executable by its octets", mixed + "\r\n\r\n--b\r\n\r\nMZ\r\n--b--\r\n", "text/plain [] as it is: MZ\r\n", true},
		{"UTF-16", "Content-Type: text/html; charset=utf-16\r\n\r\n\xff\xfea\x00b\x00", "text/html [] in UTF-8: ab", false},
		{"UTF-7", "Content-Type: text/html; charset=utf-7\r\n\r\n+ADw-b+AD4 +-\r\n", "text/html [] in UTF-8: <b> +\r\n", false},
		{"yEnc", "\r\n=ybegin size=3 name=a.exe\r\n\x8b\x8c\x8d\r\n=yend\r\n", `application/octet-stream ["a.exe"] yEnc: abc`, false},
	} {
		contents, _, capable := readAll([]byte(c.in), len(c.in))
		if !slices.Contains(contents, c.want) || capable != c.capable {
			t.Errorf("%s: no %q, or capable %v in:\n%s", c.name, c.want, capable, strings.Join(contents, "\n"))
		}
		for n := 1; n < 20; n++ {
			if pieces, _, _ := readAll([]byte(c.in), n); !slices.Equal(pieces, contents) {
				t.Errorf("%s in pieces of %d:\n%q\nwant\n%q", c.name, n, pieces, contents)
			}
		}
	}
}

func FuzzReadings(f *testing.F) {
	files, _ := filepath.Glob("testdata/walk/*.eml")
	for _, name := range files {
		f.Add(readCase(f, name), uint8(3))
	}
	f.Add([]byte(nestedParts), uint8(7))
	f.Fuzz(func(t *testing.T, data []byte, n uint8) {
		whole, odd, capable := readAll(data, len(data)+1)
		pieces, odd2, capable2 := readAll(data, int(n)+1)
		if !slices.Equal(whole, pieces) || odd != odd2 || capable != capable2 {
			t.Fatalf("in pieces of %d:\n%q %v %v\nwhole:\n%q %v %v", int(n)+1, pieces, odd2.List(), capable2, whole, odd.List(), capable)
		}
		for _, s := range whole {
			if strings.Contains(s, " !ended ") {
				t.Fatal(s)
			}
		}
		pulled(t, data)
	})
}

// pulled gives the contents that Next gives, and checks that the plain reading's
// are among them.
func pulled(t testing.TB, data []byte) []string {
	t.Helper()
	size, _ := mail.HeaderLength(data)
	h := mail.ParseHeader(data[:size])
	c := NewContents(&h, func() io.Reader { return bytes.NewReader(data) })
	var got []string
	for {
		r, where, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			break
		}
		b, err := io.ReadAll(r)
		if err != nil || len(b) == 0 {
			t.Fatalf("%s: %d octets, %v", where, len(b), err)
		}
		got = append(got, string(b))
	}
	var x taker
	takeFrom(string(data), &x, len(data)+1)
	for _, l := range x.leaves {
		if len(l.b) > 0 && !slices.Contains(got, string(l.b)) {
			t.Fatalf("%q (%s) is not among the contents %q", l.b, l.leaf.Type, got)
		}
	}
	return got
}

// TestContents: large contents that arrive side by side all come, each whole.
func TestContents(t *testing.T) {
	large := strings.Repeat("VGhpcyBpcyBhIGxpbmUgb2YgdGV4dC4NCg==\r\n", 20_000)
	data := []byte("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		large + "--b\r\n\r\nsmall\r\n--b--\r\n")
	got := pulled(t, data)
	want := strings.Repeat("This is a line of text.\r\n", 20_000)
	if n := len(got); !slices.Contains(got, want) || !slices.Contains(got, "small") {
		for _, g := range got {
			t.Logf("%d %.30q", len(g), g)
		}
		t.Fatalf("%d contents", n)
	}
	h := mail.ParseHeader(data[:bytes.Index(data, []byte("--b"))])
	c := NewContents(&h, func() io.Reader { return bytes.NewReader(data) })
	for {
		r, _, err := c.Next() // nothing is read of any
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			break
		}
	}
	if why := c.Incomplete(); why != "" {
		t.Error(why)
	}
}

package mail

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestIDRoundTrip(t *testing.T) {
	now := time.Now().Truncate(time.Millisecond)
	for range 1000 {
		id := NewID(now)
		s := id.String()
		if len(s) != IDLength {
			t.Fatalf("%q has %d characters", s, len(s))
		}
		for _, text := range []string{s, strings.ToLower(s)} {
			got, err := ParseID(text)
			if err != nil || got != id {
				t.Fatalf("ParseID(%q) = %v, %v; want %v", text, got, err, id)
			}
		}
		if !id.Time().Equal(now) {
			t.Fatalf("Time() = %v, want %v", id.Time(), now)
		}
	}
	if a, b := NewID(now).String(), NewID(now.Add(time.Millisecond)).String(); a >= b {
		t.Errorf("IDs do not sort by time: %s >= %s", a, b)
	}
	for _, bad := range []string{"", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", strings.Repeat("U", 26), strings.Repeat("0", 25)} {
		if _, err := ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) accepted", bad)
		}
	}
}

func TestParsePath(t *testing.T) {
	long := strings.Repeat("a", 300)
	for _, c := range []struct {
		in   string
		utf8 bool
		want Path
		ok   bool
	}{
		{"", false, "", true},
		{"a@b.example", false, "a@b.example", true},
		{"postmaster", false, "postmaster", true},
		{"PostMaster", false, "PostMaster", true},
		{"root", false, "", false},
		{`"x>y"@e.example`, false, `"x>y"@e.example`, true},
		{`"a\"b"@e.example`, false, `"a\"b"@e.example`, true},
		{`"a b"@e.example`, false, `"a b"@e.example`, true},
		{"@relay.example,@b.example:user@c.example", false, "user@c.example", true},
		{"@relay.example", false, "", false},
		{"a@[192.0.2.1]", false, "a@[192.0.2.1]", true},
		{"a@[IPv6:2001:db8::1]", false, "a@[IPv6:2001:db8::1]", true},
		{"a@[IPv6:fe80::1%eth0]", false, "", false},
		{"a@[300.1.1.1]", false, "", false},
		{"a..b@c.example", false, "", false},
		{".a@c.example", false, "", false},
		{"a.@c.example", false, "", false},
		{"a b@c.example", false, "", false},
		{"a@b@c.example", false, "", false},
		{"a@c..example", false, "", false},
		{"a@-c.example", false, "", false},
		{"a@c.example.", false, "", false},
		{"ä@c.example", false, "", false},
		{"ä@c.example", true, "ä@c.example", true},
		{"a@bücher.example", true, "a@bücher.example", true},
		{"\"a\rb\"@c.example", false, "", false},
		{"\"a\x00b\"@c.example", false, "", false},
		{"a@c.example>SIZE=1", false, "", false},
		{long + "@c.example", false, "", false},
		{"a@", false, "", false},
		{"@", false, "", false},
	} {
		got, err := ParsePath(c.in, c.utf8)
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("ParsePath(%q, %v) = %q, %v; want %q, ok %v", c.in, c.utf8, got, err, c.want, c.ok)
		}
	}
}

func TestPathParts(t *testing.T) {
	p := Path(`"a\"@b"@C.Example`)
	if p.Local() != `"a\"@b"` || p.Domain() != "C.Example" || p.Unquoted() != `a"@b` {
		t.Errorf("parts of %s: %q %q %q", p, p.Local(), p.Domain(), p.Unquoted())
	}
	if got := CanonicalDomain("BÜCHER.Example."); got != "xn--bcher-kva.example" {
		t.Errorf("CanonicalDomain = %q", got)
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add("a@b.example", false)
	f.Add(`"a\" b"@b.example`, true)
	f.Add("@x,@y:a@b", false)
	f.Fuzz(func(t *testing.T, s string, utf8 bool) {
		p, err := ParsePath(s, utf8)
		if err != nil {
			return
		}
		if strings.ContainsAny(string(p), "\r\n\x00") {
			t.Fatalf("%q let a line break or NUL through", s)
		}
		if again, err := ParsePath(string(p), utf8); err != nil || again != p {
			t.Fatalf("%q does not parse again: %q, %v", p, again, err)
		}
		_ = p.Unquoted()
	})
}

func TestHeader(t *testing.T) {
	raw := "Subject: a\r\n folded\r\nFrom : x@y.example\r\nno field\r\nX:\r\n\r\nbody\r\n"
	n, ok := HeaderLength([]byte(raw))
	if !ok || raw[n:] != "body\r\n" {
		t.Fatalf("HeaderLength = %d, %v", n, ok)
	}
	h := ParseHeader([]byte(raw[:n]))
	if len(h.Fields) != 4 {
		t.Fatalf("%d fields", len(h.Fields))
	}
	if got := h.Value("subject"); got != "a folded" {
		t.Errorf("subject = %q", got)
	}
	from, ok := h.Get("FROM")
	if !ok || from.Name() != "From" || !from.SpaceBeforeColon() || from.Value() != "x@y.example" {
		t.Errorf("from = %q %v", from.Raw, ok)
	}
	if h.Fields[2].Name() != "" || h.Fields[2].Value() != "no field" {
		t.Errorf("no field = %q", h.Fields[2].Name())
	}
	if f, ok := h.Get("x"); !ok || f.Value() != "" {
		t.Errorf("empty field: %v", ok)
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte("A: b\r\n c\r\n\r\nbody"))
	f.Add([]byte("\r\n"))
	f.Add([]byte(" x\r\n:\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, _ := HeaderLength(data)
		h := ParseHeader(data[:n])
		var sum int
		for _, f := range h.Fields {
			sum += len(f.Raw)
			if name := f.Name(); name != "" && !f.Is(name) {
				t.Fatalf("field %q is not %q", f.Raw, name)
			}
			_ = f.Value()
		}
		if rest := data[sum:n]; len(rest) != 0 && string(rest) != "\r\n" && !strings.HasPrefix(string(rest), "\r\n") {
			t.Fatalf("fields do not cover the section: %q left", rest)
		}
	})
}

func TestSection(t *testing.T) {
	whole := fakeContent("header\r\n\r\nbody")
	for _, c := range []Content{Bytes("header\r\n\r\nbody"), whole} {
		s := Section(c, 10)
		r, err := s.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r)
		if string(b) != "body" || s.Size() != 4 {
			t.Errorf("section of %T = %q, size %d", c, b, s.Size())
		}
	}
	if c, off := Whole(Section(whole, 10)); c != whole || off != 10 {
		t.Errorf("Whole = %v, %d", c, off)
	}
}

type fakeContent string

func (c fakeContent) Size() int64 { return int64(len(c)) }
func (c fakeContent) Open() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(c))), nil
}

package content

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"mailweir/filter"
	"mailweir/internal/pattern"
	"mailweir/mail"
)

func TestText(t *testing.T) {
	for _, c := range []struct {
		in, want         string
		invisible, mixed int
	}{
		{"Hello,\r\n\t World ", "hello, world ", 0, 0},
		{"CAFÉ", "café", 0, 0},
		{"pass\u200bword\u00ad", "password", 2, 0},
		{"\u201cdon\u2019t\u201d \u2013 x\u00a0y\u2022z", "\"don't\" - x y z", 0, 0},
		{"Ｆｒｅｅ！", "free!", 0, 0},
		{"𝐅𝐫𝐞𝐞 𝟏𝟗", "free 19", 0, 6},
		{"p\u0430ypal", "p\u0430ypal", 0, 1},
		{"\u0440aypal", "\u0440aypal", 0, 1},
		{"Привет мир", "привет мир", 0, 0},
		{"a\x00\x07b", "a b", 0, 0},
	} {
		var x text
		x.add([]byte(c.in))
		if string(x.out) != c.want || x.invisible != c.invisible || x.mixed != c.mixed {
			t.Errorf("%q: %q, %d invisible, %d mixed; want %q, %d, %d", c.in, x.out, x.invisible, x.mixed, c.want, c.invisible, c.mixed)
		}
	}
	var x text
	x.add([]byte("ABcd éÉ"))
	if x.letters != 4 || x.capitals != 2 {
		t.Errorf("%d letters, %d capitals", x.letters, x.capitals)
	}
}

func FuzzText(f *testing.F) {
	f.Add("Ｆｒｅｅ 𝐅 \u200b pass\u00adword \u0430b")
	f.Fuzz(func(t *testing.T, s string) {
		var x text
		x.add([]byte(s))
		if strings.Contains(string(x.out), "  ") || strings.ContainsFunc(string(x.out), func(r rune) bool { return unicode.IsControl(r) && r != 0x7f && r < ' ' }) {
			t.Fatalf("%q gives %q", s, x.out)
		}
		if utf8.ValidString(s) && !utf8.Valid(x.out) {
			t.Fatalf("%q gives invalid %q", s, x.out)
		}
		if len(x.out) > 3*len(s)+3 {
			t.Fatalf("%q grows to %q", s, x.out)
		}
	})
}

// readLeaf runs one leaf through a Message.
func readLeaf(html bool, charset, leaf string) *Message {
	h := mail.ParseHeader([]byte("From: a@example.org\r\n\r\n"))
	m := New(func() *pattern.Set { return nil }, nil).Open(&filter.Transaction{Header: &h})
	m.Begin(html, charset)
	m.Write([]byte(leaf))
	m.End()
	return m
}

func TestHTML(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"<p>Hello<br>World</p>", "hello world "},
		{"<b>bo</b>ld <i>it</i>alic", "bold italic "},
		{"a&amp;b &eacute; &#65;&#x42; &nbsp;x &unknown; & y", "a&b é ab x &unknown; & y "},
		{"V<!-- x -->iag<b></b>ra", "viagra "},
		{"<script>if (a<b) x()</script>text<style>p{}</style>", " text "},
		{"<title>no</title>yes", " yes "},
		{"<p style=\"display: none\">no</p>yes", "yes "},
		{"<span style='FONT-SIZE:0px'>no</span>yes", "yes "},
		{"<p style=\"display:none\">no<p>yes", "yes "},
		{"<td style=\"display:none\">no<td>yes", "yes "},
		{"<div hidden>no<div>no</div>no</div>yes", "yes "},
		{"<div style=display:none>no<br>no</div>yes", "yes "},
		{"1 < 2 and <3", "1 < 2 and <3 "},
		{"<a href=x", ""},
		{"text <a href=\"x>lost", "text "},
		{"<p a=\"<b>\">q</p>", "q "},
		{"<P\nCLASS=x\n>q</P >", "q "},
		{"x</", "x "},
		{"<!doctype html><?xml?>q", "q "},
		{"<!-- open", ""},
	} {
		m := readLeaf(true, "utf-8", c.in)
		if got := strings.TrimLeft(string(m.text.out), " "); got != strings.TrimLeft(c.want, " ") {
			t.Errorf("%q shows %q, want %q", c.in, got, c.want)
		}
		m.Abort()
	}
}

func TestHTMLMeasures(t *testing.T) {
	m := readLeaf(true, "utf-8", `<html><body background="http://a.example/bg.gif">
		<form action="https://evil.example/post"><input type=PASSWORD></form>
		<img src="cid:1"><img src="http://203.0.113.9/pixel.gif">
		<iframe src="//frame.example/x"></iframe><script src="https://s.example/s.js"></script>
		<meta http-equiv=Refresh content="0; URL='http://next.example/'">
		<a href="http://evil.example/login">https://bank.example.com/</a>
		<a href="https://user:pw@evil.example:8443/">here</a>
		<a href=mailto:a@example.org>mail</a><a href="javascript:x()">x</a>
		<a href="http://0x7f.1/">local</a> p<b></b>q V<!-- -->w
		<span style="opacity:0">hidden words</span></body></html>`)
	b := &m.body
	got := []int{b.Images, b.Remote, b.Forms, b.Passwords, b.Frames, b.Scripts, b.Refreshes, b.Links, m.links.mailtos, m.links.scripts}
	want := []int{2, 1, 1, 1, 1, 1, 1, 5, 1, 1}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("measures %v, want %v", got, want)
		}
	}
	if string(m.unseen.out) != "hidden words" || b.Split != 1 {
		t.Errorf("hidden %q, split %d", m.unseen.out, b.Split)
	}
	urls := make(map[string]filter.URL)
	for _, u := range m.links.list {
		urls[u.Host+u.Path] = u
	}
	if u := urls["evil.example/login"]; !u.Disguised || u.Text != "bank.example.com" {
		t.Errorf("disguised link: %+v", u)
	}
	if u := urls["evil.example/"]; !u.Userinfo || u.Port != "8443" || u.Disguised {
		t.Errorf("userinfo: %+v", u)
	}
	if u := urls["127.0.0.1/"]; !u.IP {
		t.Errorf("address in hex: %+v of %v", u, urls)
	}
	if u := urls["a.example/bg.gif"]; !u.Image {
		t.Errorf("background: %+v", u)
	}
	if _, ok := urls["next.example/"]; !ok {
		t.Errorf("refresh is not followed: %v", urls)
	}
}

func FuzzHTML(f *testing.F) {
	f.Add("<a href='http://a.example/'>text</a><p style=display:none>x<p>y<!--z--><script></")
	f.Add("<<a b=c d='e\" f>&#65;&amp</ p ><img src=//x.example>")
	f.Fuzz(func(t *testing.T, s string) {
		m := readLeaf(true, "utf-8", s)
		if len(m.text.out)+len(m.unseen.out) > 4*len(s)+64 {
			t.Fatalf("%q grows to %d octets", s, len(m.text.out))
		}
		r := m.Report()
		var facts filter.Facts
		r.Set(&facts)
		for _, u := range facts.Body.URLs {
			if u.Host == "" || strings.ContainsAny(u.Host, " \r\n\t/<>\"") {
				t.Fatalf("%q has the host %q", s, u.Host)
			}
		}
	})
}

// TestCut: beyond MaxText nothing is looked at, and that is said.
func TestCut(t *testing.T) {
	m := readLeaf(false, "", strings.Repeat("word ", MaxText/5)+"more")
	m.Begin(false, "")
	if m.Write([]byte("another leaf")) {
		t.Error("wants more")
	}
	m.End()
	r := m.Report()
	var facts filter.Facts
	r.Set(&facts)
	if !facts.Body.Cut || facts.Body.TextLength > MaxText+2 || len(r.Symbols) != 1 || r.Symbols[0].Name != "CONTENT_CUT" {
		t.Errorf("cut %v, %d characters, %v", facts.Body.Cut, facts.Body.TextLength, r.Symbols)
	}
}

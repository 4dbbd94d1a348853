package main

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// structure puts a part into a message that clients could read in more than one
// way.
type structure struct {
	name  string
	build func(p part) string
}

// part is what structures put into a message.
type part struct{ fields, body string }

func (p part) String() string { return p.fields + "\r\n" + p.body }

// withoutType leaves the type unsaid, unless nothing could be read without it.
func (p part) withoutType() string {
	kind, rest, _ := strings.Cut(p.fields, "\r\n")
	if strings.Contains(kind, "charset") {
		return p.fields
	}
	return rest + "X: y\r\n"
}

const (
	puzzleHead = "From: Alice <alice@sender.example>\r\nTo: bob@example.org\r\nSubject: puzzle\r\n" +
		"Date: Thu, 19 Nov 2026 10:00:00 +0000\r\nMessage-ID: <p@sender.example>\r\n"
	mimeVersion = "MIME-Version: 1.0\r\n"
	greeting    = "Content-Type: text/plain\r\n\r\nHello\r\n"
)

// tops are ways to say, or to hide, that a message is a multipart with the
// boundary "bb".
var tops = []struct{ name, fields string }{
	{"plain", mimeVersion + "Content-Type: multipart/mixed; boundary=bb\r\n"},
	{"quoted", mimeVersion + "Content-Type: multipart/mixed; boundary=\"bb\"\r\n"},
	{"no version", "Content-Type: multipart/mixed; boundary=bb\r\n"},
	{"version 2", "MIME-Version: 2.0\r\nContent-Type: multipart/mixed; boundary=bb\r\n"},
	{"version twice", mimeVersion + "MIME-Version: 0.9\r\nContent-Type: multipart/mixed; boundary=bb\r\n"},
	{"type twice, first", mimeVersion + "Content-Type: multipart/mixed; boundary=bb\r\nContent-Type: text/plain\r\n"},
	{"type twice, last", mimeVersion + "Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=bb\r\n"},
	{"type twice, other boundary first", mimeVersion + "Content-Type: multipart/mixed; boundary=xx\r\nContent-Type: multipart/mixed; boundary=bb\r\n"},
	{"type twice, other boundary last", mimeVersion + "Content-Type: multipart/mixed; boundary=bb\r\nContent-Type: multipart/mixed; boundary=xx\r\n"},
	{"type thrice", mimeVersion + "Content-Type: text/html\r\nContent-Type: multipart/mixed; boundary=bb\r\nContent-Type: text/plain\r\n"},
	{"boundary twice, first", mimeVersion + "Content-Type: multipart/mixed; boundary=bb; boundary=xx\r\n"},
	{"boundary twice, last", mimeVersion + "Content-Type: multipart/mixed; boundary=xx; boundary=bb\r\n"},
	{"boundary twice, quoted last", mimeVersion + "Content-Type: multipart/mixed; boundary=xx; boundary=\"bb\"\r\n"},
	{"extended", mimeVersion + "Content-Type: multipart/mixed; boundary*=us-ascii''bb\r\n"},
	{"extended, percent", mimeVersion + "Content-Type: multipart/mixed; boundary*=us-ascii''%62b\r\n"},
	{"continued", mimeVersion + "Content-Type: multipart/mixed; boundary*0=b; boundary*1=b\r\n"},
	{"continued backwards", mimeVersion + "Content-Type: multipart/mixed; boundary*1=b; boundary*0=b\r\n"},
	{"extended and plain", mimeVersion + "Content-Type: multipart/mixed; boundary=xx; boundary*=us-ascii''bb\r\n"},
	{"plain and extended", mimeVersion + "Content-Type: multipart/mixed; boundary=bb; boundary*=us-ascii''xx\r\n"},
	{"comment before", mimeVersion + "Content-Type: multipart/mixed; boundary=(c)bb\r\n"},
	{"comment after", mimeVersion + "Content-Type: multipart/mixed; boundary=bb(c)\r\n"},
	{"comment with a boundary", mimeVersion + "Content-Type: multipart/mixed (; boundary=xx); boundary=bb\r\n"},
	{"comment in the type", mimeVersion + "Content-Type: multi(c)part/mixed; boundary=bb\r\n"},
	{"comment in the name", mimeVersion + "Content-Type: multipart/mixed; boundary(c)=bb\r\n"},
	{"encoded word", mimeVersion + "Content-Type: multipart/mixed; boundary=\"=?us-ascii?Q?bb?=\"\r\n"},
	{"blank after", mimeVersion + "Content-Type: multipart/mixed; boundary=bb \r\n"},
	{"blank in the quotes", mimeVersion + "Content-Type: multipart/mixed; boundary=\"bb \"\r\n"},
	{"blanks around the equal sign", mimeVersion + "Content-Type: multipart/mixed; boundary = bb\r\n"},
	{"quote not closed", mimeVersion + "Content-Type: multipart/mixed; boundary=\"bb\r\n"},
	{"quote only at the end", mimeVersion + "Content-Type: multipart/mixed; boundary=bb\"\r\n"},
	{"single quotes", mimeVersion + "Content-Type: multipart/mixed; boundary='bb'\r\n"},
	{"backslash", mimeVersion + "Content-Type: multipart/mixed; boundary=\"b\\b\"\r\n"},
	{"junk after", mimeVersion + "Content-Type: multipart/mixed; boundary=\"bb\"junk\r\n"},
	{"word after", mimeVersion + "Content-Type: multipart/mixed; boundary=bb junk\r\n"},
	{"other case", mimeVersion + "Content-Type: multipart/mixed; boundary=BB\r\n"},
	{"no boundary", mimeVersion + "Content-Type: multipart/mixed\r\n"},
	{"empty boundary", mimeVersion + "Content-Type: multipart/mixed; boundary=\"\"\r\n"},
	{"no semicolon", mimeVersion + "Content-Type: multipart/mixed boundary=bb\r\n"},
	{"two semicolons", mimeVersion + "Content-Type: multipart/mixed;; boundary=bb\r\n"},
	{"comma", mimeVersion + "Content-Type: multipart/mixed, boundary=bb\r\n"},
	{"colon for equal sign", mimeVersion + "Content-Type: multipart/mixed; boundary:bb\r\n"},
	{"semicolon first", mimeVersion + "Content-Type: ; multipart/mixed; boundary=bb\r\n"},
	{"no subtype", mimeVersion + "Content-Type: multipart; boundary=bb\r\n"},
	{"unknown subtype", mimeVersion + "Content-Type: multipart/x-odd; boundary=bb\r\n"},
	{"upper case", mimeVersion + "CONTENT-TYPE: MULTIPART/MIXED; BOUNDARY=bb\r\n"},
	{"blank in the type", mimeVersion + "Content-Type: multipart / mixed; boundary=bb\r\n"},
	{"type in quotes", mimeVersion + "Content-Type: \"multipart/mixed\"; boundary=bb\r\n"},
	{"folded", mimeVersion + "Content-Type:\r\n\tmultipart/mixed;\r\n\tboundary=\r\n\tbb\r\n"},
	{"empty fold", mimeVersion + "Content-Type: multipart/mixed;\r\n \r\n boundary=bb\r\n"},
	{"space before the colon", mimeVersion + "Content-Type : multipart/mixed; boundary=bb\r\n"},
	{"after a line that is no field", mimeVersion + "no field\r\nContent-Type: multipart/mixed; boundary=bb\r\n"},
	{"prefix", mimeVersion + "Content-Type: multipart/mixed; boundary=b\r\n"},
	{"octets beyond ASCII", mimeVersion + "Content-Type: multipart/mixed; x=\xff; boundary=bb\r\n"},
	{"many parameters", mimeVersion + "Content-Type: multipart/mixed;" + strings.Repeat(" x=y;", 100) + " boundary=bb\r\n"},
	{"base64", mimeVersion + "Content-Type: multipart/mixed; boundary=bb\r\n" + cte + "base64\r\n"},
	{"quoted-printable", mimeVersion + "Content-Type: multipart/mixed; boundary=bb\r\n" + cte + "quoted-printable\r\n"},
	{"alternative", mimeVersion + "Content-Type: multipart/alternative; boundary=bb\r\n"},
	{"digest", mimeVersion + "Content-Type: multipart/digest; boundary=bb\r\n"},
	{"text", mimeVersion + "Content-Type: text/plain; boundary=bb\r\n"},
	{"html", mimeVersion + "Content-Type: text/html; boundary=bb\r\n"},
}

// bodies are ways to put a part into a multipart with the boundary "bb".
var bodies = []struct {
	name  string
	build func(p part) string
}{
	{"plain", func(p part) string { return "--bb\r\n" + greeting + "--bb\r\n" + p.String() + "--bb--\r\n" }},
	{"only part", func(p part) string { return "--bb\r\n" + p.String() + "--bb--\r\n" }},
	{"unclosed", func(p part) string { return "--bb\r\n" + greeting + "--bb\r\n" + p.String() }},
	{"in the epilogue", func(p part) string { return "--bb\r\n" + greeting + "--bb--\r\n--bb\r\n" + p.String() + "--bb--\r\n" }},
	{"epilogue without delimiter", func(p part) string { return "--bb\r\n" + greeting + "--bb--\r\n" + p.String() }},
	{"in the preamble", func(p part) string { return p.String() + "--bb\r\n" + greeting + "--bb--\r\n" }},
	{"after a false end", func(p part) string { return "--bb--\r\n" + p.String() + "--bb\r\n" + greeting + "--bb--\r\n" }},
	{"blanks after the delimiter", func(p part) string { return "--bb\r\n" + greeting + "--bb  \t\r\n" + p.String() + "--bb--  \r\n" }},
	{"text after the delimiter", func(p part) string { return "--bb\r\n" + greeting + "--bb x\r\n" + p.String() + "--bb--\r\n" }},
	{"letters after the delimiter", func(p part) string { return "--bb\r\n" + greeting + "--bbx\r\n" + p.String() + "--bb--\r\n" }},
	{"blank before the delimiter", func(p part) string { return "--bb\r\n" + greeting + " --bb\r\n" + p.String() + "--bb--\r\n" }},
	{"blank in the delimiter", func(p part) string { return "--bb\r\n" + greeting + "-- bb\r\n" + p.String() + "--bb--\r\n" }},
	{"three dashes", func(p part) string { return "--bb\r\n" + greeting + "---bb\r\n" + p.String() + "--bb--\r\n" }},
	{"one dash", func(p part) string { return "--bb\r\n" + greeting + "-bb\r\n" + p.String() + "--bb--\r\n" }},
	{"no dashes", func(p part) string { return "--bb\r\n" + greeting + "bb\r\n" + p.String() + "--bb--\r\n" }},
	{"other case", func(p part) string { return "--bb\r\n" + greeting + "--Bb\r\n" + p.String() + "--bb--\r\n" }},
	{"other boundary", func(p part) string { return "--bb\r\n" + greeting + "--cc\r\n" + p.String() + "--cc--\r\n--bb--\r\n" }},
	{"half closed", func(p part) string { return "--bb\r\n" + greeting + "--bb-\r\n" + p.String() + "--bb--\r\n" }},
	{"empty lines first", func(p part) string {
		return "\r\n\r\n--bb\r\n" + greeting + "\r\n\r\n--bb\r\n" + p.String() + "--bb--\r\n"
	}},
	{"no type", func(p part) string {
		return "--bb\r\n" + greeting + "--bb\r\n" + p.withoutType() + "\r\n" + p.body + "--bb--\r\n"
	}},
	{"no empty line", func(p part) string { return "--bb\r\n" + greeting + "--bb\r\n" + p.fields + p.body + "--bb--\r\n" }},
	{"blank line before the fields", func(p part) string { return "--bb\r\n" + greeting + "--bb\r\n\r\n" + p.String() + "--bb--\r\n" }},
	{"blank for empty line", func(p part) string {
		return "--bb\r\n" + greeting + "--bb\r\n" + p.fields + " \r\n" + p.body + "--bb--\r\n"
	}},
	{"a line that is no field", func(p part) string { return "--bb\r\n" + greeting + "--bb\r\nno field\r\n" + p.String() + "--bb--\r\n" }},
	{"a line that is no field after", func(p part) string {
		return "--bb\r\n" + greeting + "--bb\r\n" + p.fields + "no field\r\n\r\n" + p.body + "--bb--\r\n"
	}},
	{"indented fields", func(p part) string { return "--bb\r\n" + greeting + "--bb\r\n " + p.String() + "--bb--\r\n" }},
	{"space before colons", func(p part) string {
		return "--bb\r\n" + greeting + "--bb\r\n" + strings.ReplaceAll(p.fields, ": ", " : ") + "\r\n" + p.body + "--bb--\r\n"
	}},
	{"fields in upper case", func(p part) string { return "--bb\r\n" + strings.ToUpper(p.fields) + "\r\n" + p.body + "--bb--\r\n" }},
	{"type twice, text last", func(p part) string {
		return "--bb\r\n" + p.fields + "Content-Type: text/plain\r\n\r\n" + p.body + "--bb--\r\n"
	}},
	{"type twice, text first", func(p part) string { return "--bb\r\nContent-Type: text/plain\r\n" + p.String() + "--bb--\r\n" }},
	{"type twice, multipart", func(p part) string {
		return "--bb\r\nContent-Type: multipart/mixed; boundary=cc\r\n" + p.String() + "--bb--\r\n"
	}},
	{"disposition twice", func(p part) string {
		return "--bb\r\nContent-Disposition: inline\r\nContent-Disposition: attachment; filename=a.exe\r\n" + p.String() + "--bb--\r\n"
	}},
	{"long header section", func(p part) string {
		return "--bb\r\n" + strings.Repeat("X: "+strings.Repeat("y", 90)+"\r\n", 800) + p.String() + "--bb--\r\n"
	}},
	{"many parts", func(p part) string {
		return strings.Repeat("--bb\r\n\r\n", 1100) + "--bb\r\n" + p.String() + "--bb--\r\n"
	}},
	{"nested", func(p part) string {
		return "--bb\r\nContent-Type: multipart/mixed; boundary=cc\r\n\r\n--cc\r\n" + p.String() + "--cc--\r\n--bb--\r\n"
	}},
	{"nested, same boundary", func(p part) string {
		return "--bb\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n" + p.String() + "--bb--\r\n--bb--\r\n"
	}},
	{"nested, longer boundary", func(p part) string {
		return "--bb\r\nContent-Type: multipart/mixed; boundary=bbc\r\n\r\n--bbc\r\n" + p.String() + "--bbc--\r\n--bb--\r\n"
	}},
	{"nested, shorter boundary", func(p part) string {
		return "--bb\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + p.String() + "--b--\r\n--bb--\r\n"
	}},
	{"nested, unclosed", func(p part) string {
		return "--bb\r\nContent-Type: multipart/mixed; boundary=cc\r\n\r\n--cc\r\n" + p.String() + "--bb--\r\n"
	}},
	{"nested, inner after the outer", func(p part) string {
		return "--bb\r\nContent-Type: multipart/mixed; boundary=cc\r\n\r\n--bb--\r\n--cc\r\n" + p.String() + "--cc--\r\n"
	}},
	{"nested 60 times", func(p part) string { return "--bb\r\n" + deep(60, p.String()) + "--bb--\r\n" }},
	{"nested 150 times", func(p part) string { return "--bb\r\n" + deep(150, p.String()) + "--bb--\r\n" }},
	{"message", func(p part) string { return "--bb\r\nContent-Type: message/rfc822\r\n\r\n" + inner(p) + "--bb--\r\n" }},
	{"message in base64", func(p part) string {
		return "--bb\r\nContent-Type: message/rfc822\r\n" + cte + "base64\r\n\r\n" + wrap(base64.StdEncoding.EncodeToString([]byte(inner(p))), 76) + "--bb--\r\n"
	}},
	{"message in quoted-printable", func(p part) string {
		return "--bb\r\nContent-Type: message/rfc822\r\n" + cte + "quoted-printable\r\n\r\n" + strings.ReplaceAll(inner(p), "=", "=3D") + "--bb--\r\n"
	}},
	{"messages in base64, 3 deep", func(p part) string { return "--bb\r\n" + packed(3, inner(p)) + "--bb--\r\n" }},
	{"messages in base64, 12 deep", func(p part) string { return "--bb\r\n" + packed(12, inner(p)) + "--bb--\r\n" }},
	{"messages, 60 deep", func(p part) string {
		return "--bb\r\n" + strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 60) + inner(p) + "--bb--\r\n"
	}},
	{"multipart in base64", func(p part) string {
		in := "--cc\r\n" + p.String() + "--cc--\r\n"
		return "--bb\r\nContent-Type: multipart/mixed; boundary=cc\r\n" + cte + "base64\r\n\r\n" + wrap(base64.StdEncoding.EncodeToString([]byte(in)), 76) + "--bb--\r\n"
	}},
	{"in a text part", func(p part) string { return "--bb\r\n" + greeting + "\r\n--cc\r\n" + p.String() + "--bb--\r\n" }},
	{"delimiter at the very end", func(p part) string { return "--bb\r\n" + greeting + "--bb\r\n" + p.String() + "--bb--" }},
}

func deep(n int, innermost string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=d%dx\r\n\r\n--d%dx\r\n", i, i)
	}
	b.WriteString(innermost)
	for i := n - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "--d%dx--\r\n", i)
	}
	return b.String()
}

func inner(p part) string {
	return puzzleHead + mimeVersion + "Content-Type: multipart/mixed; boundary=ii\r\n\r\n--ii\r\n" + p.String() + "--ii--\r\n"
}

func packed(n int, innermost string) string {
	for range n {
		innermost = "Content-Type: message/rfc822\r\n" + cte + "base64\r\n\r\n" + wrap(base64.StdEncoding.EncodeToString([]byte(innermost)), 76)
	}
	return innermost
}

// structures are every top with the plain body, every body with the plain top,
// some of each with each other, and a message that is the part.
func structures() []structure {
	var out []structure
	add := func(t, b int) {
		out = append(out, structure{tops[t].name + " / " + bodies[b].name, func(p part) string {
			return puzzleHead + tops[t].fields + "\r\n" + bodies[b].build(p)
		}})
	}
	for t := range tops {
		add(t, 0)
	}
	for b := range bodies[1:] {
		add(0, b+1)
	}
	for t := 1; t < len(tops); t += 5 {
		for b := 1; b < len(bodies); b += 6 {
			add(t, b)
		}
	}
	return append(out, structure{"no multipart", func(p part) string { return puzzleHead + mimeVersion + p.String() }},
		structure{"no multipart, no version", func(p part) string { return puzzleHead + p.String() }})
}

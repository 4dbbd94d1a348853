package rules_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"mailweir/internal/mailtest"
)

// fill repeats unit up to size octets.
func fill(unit string, size int) string {
	return strings.Repeat(unit, size/len(unit)+1)[:size]
}

const top = "From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: "

// nest is a multipart of depth levels.
func nest(depth, size int) string {
	var b strings.Builder
	b.WriteString(top + "multipart/mixed; boundary=b0\r\n\r\n")
	for i := range depth {
		fmt.Fprintf(&b, "--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n", i, i+1)
	}
	if n := size - b.Len(); n > 0 {
		b.WriteString(fill("--b\r\ntext\r\n", n))
	}
	return b.String()
}

// sameStart is a nest whose boundaries all begin alike, and lines that match
// none of them until their last octet.
func sameStart(size int) string {
	var b strings.Builder
	long := strings.Repeat("a", 60)
	b.WriteString(top + "multipart/mixed; boundary=" + long + "\r\n\r\n--" + long + "\r\n")
	for i := range 98 {
		next := fmt.Sprintf("%s%03d", long, i)
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n", next, next)
	}
	b.WriteString("\r\n" + fill("--"+long+"zzz\r\n", size))
	return b.String()
}

func html(unit string) func(int) string {
	return func(n int) string { return top + "text/html\r\n\r\n" + fill(unit, n) }
}

func plain(unit string) func(int) string {
	return func(n int) string { return top + "text/plain\r\n\r\n" + fill(unit, n) }
}

func mixed(unit string) func(int) string {
	return func(n int) string { return top + "multipart/mixed; boundary=b\r\n\r\n" + fill(unit, n) }
}

func coded(encoding, unit string) func(int) string {
	return func(n int) string {
		return top + "application/octet-stream\r\nContent-Transfer-Encoding: " + encoding + "\r\n\r\n" + fill(unit, n)
	}
}

// field makes a header section of at most 256 KB: the receiver's own limit is
// below that.
func field(name, unit string) func(int) string {
	return func(n int) string {
		return "From: a@example.org\r\n" + name + ": " + fill(unit, min(n, 256<<10)) + "\r\n\r\ntext\r\n"
	}
}

// shapes are made to find what is worse than linear.
var shapes = map[string]func(size int) string{
	"parts":             mixed("--b\r\n\r\nx\r\n"),
	"parts with header": mixed("--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n"),
	"header never ends": mixed("--b\r\nX: y\r\n"),
	"one part header":   mixed("--b\r\n" + strings.Repeat("X-Field: value\r\n", 1000)),
	"dashes":            mixed("--\r\n"),
	"lone dashes":       mixed("-\r\n"),
	"line of dashes":    mixed("--------"),
	"empty lines":       mixed("\r\n"),
	"closed again":      mixed("--b--\r\n"),
	"prefixes":          mixed("--bx\r\n"),
	"deep":              func(n int) string { return nest(120, n) },
	"boundaries alike":  sameStart,
	"messages":          func(n int) string { return fill(top+"message/rfc822\r\n\r\n", n) },
	"encoded messages": func(n int) string {
		return fill(top+"message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", n)
	},
	"base64 line":          coded("base64", "QUJD"),
	"base64 odd":           coded("base64", "*"),
	"base64 shifted":       coded("base64", "QUJDQ\r\n"),
	"base64 padding":       coded("base64", "QQ==\r\n"),
	"quoted-printable":     coded("quoted-printable", "="),
	"soft breaks":          coded("quoted-printable", "=\r\n"),
	"open tags":            html("<"),
	"tags":                 html("<a href=x>"),
	"open attribute":       html("<a href=\""),
	"attributes":           html("<a " + strings.Repeat("b=c ", 500)),
	"comments":             html("<!--"),
	"entities":             html("&amp;"),
	"ampersands":           html("&"),
	"scripts":              html("<script></"),
	"hidden":               html("<div style=\"display:none\">"),
	"styles":               html("<p style=\"" + strings.Repeat("a:b;", 200) + "\">"),
	"links":                html("<a href=http://a.example/>http://b.example/</a>"),
	"urls":                 plain("http://a.example/ "),
	"url line":             plain("http://"),
	"www":                  plain("www."),
	"one url":              plain("/"),
	"pattern words":        plain("click here now "),
	"pattern starts":       plain("://a."),
	"invisible":            plain("\u200b"),
	"mathematical":         plain("𝐚"),
	"encoded words":        field("Subject", "=?utf-8?q?a?="),
	"encoded word starts":  field("Subject", "=?a?q?"),
	"addresses":            field("To", "a@example.org, "),
	"comments in address":  field("To", "("),
	"quotes in address":    field("To", "\"\\"),
	"type parameters":      field("Content-Type", "text/plain; a=b"),
	"continued parameters": field("Content-Type", "a; b*0*=c; "),
	"folds":                field("X-Fold", "x\r\n "),
	"field names":          func(n int) string { return fill("A: b\r\n", min(n, 256<<10)) + "\r\n" },
}

// TestLinear holds every shape to twice 80 ms of CPU a megabyte, and to a growth
// that is about linear. 80 ms, 2 s for a message of 25 MB, is the bar for a
// machine to itself; others are slower.
func TestLinear(t *testing.T) {
	if testing.Short() || mailtest.RaceDetector {
		t.Skip("cost says nothing under the race detector, and takes long")
	}
	const small, large = 512 << 10, 4 << 20
	p := newPipeline(t)
	const limit = 2 * 80 * time.Millisecond * large >> 20
	cost := func(data []byte) time.Duration {
		best := time.Hour
		// The lesser of two, since a collection may fall into either; and of
		// some more where others on the machine may have made both too dear.
		for i := 0; i < 2 || i < 8 && best > limit; i++ {
			start := cpu()
			p.run(data)
			best = min(best, cpu()-start)
		}
		return best
	}
	for name, shape := range shapes {
		a, b := cost([]byte(shape(small))), cost([]byte(shape(large)))
		t.Logf("%-22s %10s %10s", name, a, b)
		if b > limit {
			t.Errorf("%s: %s for 4 MB, at most %s is allowed", name, b, limit)
		}
		if b > 16*a && b > 100*time.Millisecond {
			t.Errorf("%s: %s for 8 times the octets of %s", name, b, a)
		}
	}
}

// TestMemory: what is kept of a message is bounded, however long it is.
func TestMemory(t *testing.T) {
	if mailtest.RaceDetector {
		t.Skip("the race detector allocates too")
	}
	p := newPipeline(t)
	p.run(textLetter(1 << 20))
	for _, name := range []string{"parts with header", "links", "urls", "one part header"} {
		data := []byte(shapes[name](8 << 20))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p.run(data)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
			t.Errorf("%s: %d octets allocated for a message of 8 MB", name, n)
		}
	}
}

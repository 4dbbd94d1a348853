package dkim

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"

	msgauth "github.com/emersion/go-msgauth/dkim"
)

// generator makes messages with the shapes that canonicalisation is about, and
// breaks signed ones.
type generator struct {
	*rand.Rand
	tidy bool // no space before the colon: dkimpy refuses that
}

func newGenerator(seed uint64) generator { return generator{Rand: rand.New(rand.NewPCG(seed, 1))} }

func (g generator) pick(s ...string) string { return s[g.IntN(len(s))] }

func (g generator) message() []byte {
	var b bytes.Buffer
	colons := []string{":", ": ", ":\t ", " : "}
	if g.tidy {
		colons = colons[:3]
	}
	b.WriteString(g.pick("From", "from", "FROM") + g.pick(colons...) + g.pick("a@example.org", "Joe  Doe <joe@example.org>") + g.pick("", " ", "\t") + "\r\n")
	for range g.IntN(6) {
		b.WriteString(g.pick("To", "Subject", "X-A", "Received", "MIME-Version", "x-b") + g.pick(colons...))
		for range g.IntN(4) {
			b.WriteString(g.pick("word", "  two  ", "\ttab", "\r\n fold", "\r\n\t  fold ", "é", "; b=x", "=20") + g.pick("", " "))
		}
		b.WriteString("\r\n")
	}
	b.WriteString("\r\n")
	b.WriteString(g.body())
	return b.Bytes()
}

func (g generator) body() string {
	var b strings.Builder
	for range g.IntN(8) {
		switch g.IntN(6) {
		case 0:
			b.WriteString(strings.Repeat("\r\n", 1+g.IntN(4)))
		case 1:
			b.WriteString(strings.Repeat("long line ", g.IntN(40)) + "\r\n")
		default:
			for range g.IntN(5) {
				b.WriteString(g.pick("text", " ", "  ", "\t", " \t ", "x", "é", "-- "))
			}
			b.WriteString(g.pick("\r\n", "\r\n", "\r\n", " \r\n", ""))
		}
	}
	return b.String()
}

// options are random signing options.
func (g generator) options() func(*msgauth.SignOptions) {
	selector := g.pick("rsa", "ed", "small")
	header, body := g.pick("simple", "relaxed"), g.pick("simple", "relaxed")
	var keys []string
	if g.IntN(2) == 0 {
		keys = []string{"From", g.pick("From", "To", "X-A"), g.pick("Subject", "subject", "Received"), "Received"}
	}
	return func(o *msgauth.SignOptions) {
		o.Selector, o.HeaderKeys = selector, keys
		o.HeaderCanonicalization = msgauth.Canonicalization(header)
		o.BodyCanonicalization = msgauth.Canonicalization(body)
	}
}

// mutate changes a message in one place, or not at all.
func (g generator) mutate(m []byte) []byte {
	at := g.IntN(len(m))
	switch g.IntN(10) {
	case 0: // insert, but never between CR and LF: reception lets neither stand alone
		if m[at] == '\n' {
			return m
		}
		return bytes.Join([][]byte{m[:at], []byte(g.pick("x", " ", "\t", ";")), m[at:]}, nil)
	case 1: // delete an octet that is no line end
		if m[at] == '\r' || m[at] == '\n' {
			return m
		}
		return append(bytes.Clone(m[:at]), m[at+1:]...)
	case 2:
		return append(bytes.Clone(m), g.pick("\r\n", "\r\n\r\n", " ", "x", "\t\r\n")...)
	case 3: // a field on top, which signatures must not take instead of theirs
		return append([]byte(g.pick("Subject: other", "From: evil@example.net", "X-A: 1", "Received: x")+"\r\n"), m...)
	case 4: // a field at the bottom
		return bytes.Replace(m, []byte("\r\n\r\n"), []byte("\r\n"+g.pick("Subject: other", "X-C: 1", "From: b@example.org")+"\r\n\r\n"), 1)
	case 5:
		return bytes.Replace(m, []byte("word"), []byte("worD"), 1)
	case 6: // tamper with a tag
		old := g.pick("v=1", "a=rsa-sha256", "d=example.org", "s=rsa", "c=relaxed", "h=", "bh=", "; b=", "t=")
		return bytes.Replace(m, []byte(old), []byte(g.pick("v=2", "a=rsa-sha1", "d=example.com", "s=none", "c=simple", "h=x:", "x=1; ", fmt.Sprintf("l=%d; ", g.IntN(60)), "i=@sub.example.org; ")+old), 1)
	}
	return m
}

package rules_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailweir/filter"
	"mailweir/filter/content"
	"mailweir/filter/mime"
	"mailweir/filter/rules"
	"mailweir/internal/pattern"
	"mailweir/mail"
)

// cpu is the processor time that this process has used: unlike the clock it
// says something on a busy machine.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pipeline runs a message through mime, content and rules.
type pipeline struct {
	set   *rules.Rules
	check *mime.Check
}

func newPipeline(t testing.TB) *pipeline {
	set, err := rules.Default()
	if err != nil {
		t.Fatal(err)
	}
	reader := content.New(func() *pattern.Set { return set.Patterns() })
	return &pipeline{set, mime.New(func(tx *filter.Transaction) mime.Text { return reader.Open(tx) }, nil)}
}

// facts is everything up to the rules.
func (p *pipeline) facts(data []byte) *filter.Facts {
	n, _ := mail.HeaderLength(data)
	h := mail.ParseHeader(data[:n])
	tx := &filter.Transaction{Header: &h, Envelope: &mail.Envelope{}, Facts: &filter.Facts{}, Content: mail.Bytes(data)}
	s := p.check.Start(context.Background(), tx)
	for body := data[n:]; len(body) > 0; {
		m := min(len(body), 64<<10)
		s.Write(body[:m])
		body = body[m:]
	}
	report := s.End(context.Background())
	facts := &filter.Facts{Symbols: report.Symbols}
	report.Set(facts)
	return facts
}

func (p *pipeline) run(data []byte) []filter.Symbol { return p.set.Eval(p.facts(data)) }

// letter is an ordinary message: plain and HTML text, an attachment for the
// rest of the size.
func letter(size int) []byte {
	var b bytes.Buffer
	b.WriteString("Received: from a.example.net (a.example.net [192.0.2.1])\r\n\tby mx.example.org; Thu, 20 Nov 2025 10:00:01 +0000\r\n" +
		"From: \"Anna Example\" <anna@example.org>\r\nTo: Bob <bob@example.com>\r\nSubject: =?utf-8?q?Minutes_of_the_caf=C3=A9_meeting?=\r\n" +
		"Date: Thu, 20 Nov 2025 10:00:00 +0000\r\nMessage-ID: <20251120100000.1234@example.org>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n" +
		"--inner\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	b.WriteString(strings.Repeat("Dear all, here is what we spoke about at the caf=C3=A9; see https://www.example.org/minutes for it=\r\n and more words of text.\r\n", 8))
	b.WriteString("\r\n--inner\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body>")
	b.WriteString(strings.Repeat("<p style=\"color:#333\">Dear all, here is what we <b>spoke</b> about; see <a href=\"https://www.example.org/minutes\">the minutes</a>.</p>\r\n", 10))
	b.WriteString("</body></html>\r\n--inner--\r\n--outer\r\nContent-Type: application/pdf; name=minutes.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	line := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0x5a, 0x11, 0xc3}, 19)) + "\r\n"
	for b.Len() < size-20 {
		b.WriteString(line)
	}
	b.WriteString("--outer--\r\n")
	return b.Bytes()
}

// textLetter is all text.
func textLetter(size int) []byte {
	head := "From: a@example.org\r\nTo: b@example.com\r\nSubject: words\r\nDate: Thu, 20 Nov 2025 10:00:00 +0000\r\n" +
		"Message-ID: <1@example.org>\r\nContent-Type: text/html; charset=utf-8\r\nMIME-Version: 1.0\r\n\r\n"
	para := "<tr><td style=\"padding:0 4px\">Some words of text that anybody could have written, and <a href=\"https://www.example.org/%d\">a link</a> &amp; more.</td></tr>\r\n"
	var b strings.Builder
	b.WriteString(head)
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, para, i%50)
	}
	return []byte(b.String())
}

func benchmark(b *testing.B, data []byte, f func(data []byte)) {
	f(data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	start := cpu()
	n := 0
	for b.Loop() {
		f(data)
		n++
	}
	b.ReportMetric(float64(cpu()-start)/float64(n)/1e3, "cpu-µs/op")
}

func BenchmarkLetter4K(b *testing.B) {
	p := newPipeline(b)
	benchmark(b, letter(4<<10), func(data []byte) { p.run(data) })
}
func BenchmarkLetter64K(b *testing.B) {
	p := newPipeline(b)
	benchmark(b, letter(64<<10), func(data []byte) { p.run(data) })
}
func BenchmarkText4K(b *testing.B) {
	p := newPipeline(b)
	benchmark(b, textLetter(4<<10), func(data []byte) { p.run(data) })
}
func BenchmarkText64K(b *testing.B) {
	p := newPipeline(b)
	benchmark(b, textLetter(64<<10), func(data []byte) { p.run(data) })
}

func BenchmarkEval(b *testing.B) {
	p := newPipeline(b)
	data := textLetter(4 << 10)
	facts := p.facts(data)
	benchmark(b, data, func([]byte) { p.set.Eval(facts) })
}

// BenchmarkCorpus is the mean over a corpus, when there is one (-corpus DIR).
func BenchmarkCorpus(b *testing.B) {
	if *corpusDir == "" {
		b.Skip("no corpus: give a folder with -corpus DIR")
	}
	p := newPipeline(b)
	var all [][]byte
	files, _ := filepath.Glob(filepath.Join(*corpusDir, "*", "*.eml"))
	more, _ := filepath.Glob(filepath.Join(*corpusDir, "*", "*", "*.eml"))
	for _, name := range append(files, more...) {
		data, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, data)
	}
	start, n := cpu(), 0
	for b.Loop() {
		p.run(all[n%len(all)])
		n++
	}
	b.ReportMetric(float64(cpu()-start)/float64(n)/1e3, "cpu-µs/op")
}

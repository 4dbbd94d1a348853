package rules_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailweir/filter"
	"mailweir/filter/bayes"
	"mailweir/filter/content"
	"mailweir/filter/mime"
	"mailweir/filter/rules"
	"mailweir/internal/fsx"
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

// pipeline runs a message through mime, content, the learned filter and rules.
type pipeline struct {
	set     *rules.Rules
	check   *mime.Check
	learned *bayes.Check // nil: untaught
}

func newPipeline(t testing.TB) *pipeline {
	set, err := rules.Default()
	if err != nil {
		t.Fatal(err)
	}
	reader := content.New(func() *pattern.Set { return set.Patterns() }, nil)
	return &pipeline{set: set, check: mime.New(func(tx *filter.Transaction) mime.Text { return reader.Open(tx) }, nil)}
}

// newTaughtPipeline has the learned filter as well.
func newTaughtPipeline(t testing.TB) *pipeline {
	p := newPipeline(t)
	p.learned = p.taught(t)
	return p
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

func (p *pipeline) run(data []byte) []filter.Symbol {
	facts := p.facts(data)
	if p.learned == nil {
		return p.set.Eval(facts, "")
	}
	report := p.learned.Run(context.Background(), &filter.Transaction{Envelope: &mail.Envelope{}, Facts: facts})
	facts.Symbols = append(facts.Symbols, report.Symbols...)
	return p.set.Eval(facts, "")
}

// taught is a learned filter. What it was taught does not matter for its cost:
// the table of weights is as large as ever.
func (p *pipeline) taught(t testing.TB) *bayes.Check {
	disk := fsx.NewMem()
	store, err := bayes.Open(context.Background(), disk, bayes.Dir("learned", ""), 100)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for i := range 20 {
		store.Learn(p.facts(letter(4<<10+40*i)), true, time.Now())
		store.Learn(p.facts(textLetter(4<<10+40*i)), false, time.Now())
	}
	if err := store.Commit(); err != nil {
		t.Fatal(err)
	}
	return bayes.NewCheck(bayes.NewModels(disk, "learned", slog.New(slog.DiscardHandler)), 1)
}

// TestCost tells the median cost of messages about 4 KB and 64 KB long of a
// corpus (-corpus DIR), of which each is run a few times and the best counts.
func TestCost(t *testing.T) {
	if *corpusDir == "" {
		t.Skip("no corpus: give a folder with -corpus DIR")
	}
	p := newTaughtPipeline(t)
	for _, size := range []int{4 << 10, 64 << 10} {
		var cost []time.Duration
		for _, data := range corpusOf(t, size*3/4, size*3/2) {
			best := time.Hour
			for range 5 {
				begin := time.Now()
				p.run(data)
				best = min(best, time.Since(begin))
			}
			cost = append(cost, best)
		}
		slices.Sort(cost)
		if n := len(cost); n > 0 {
			t.Logf("%d messages of about %d KB: median %v, nine of ten below %v", n, size>>10, cost[n/2], cost[n*9/10])
		}
	}
}

// corpusOf reads the messages of the corpus between two sizes.
func corpusOf(t testing.TB, low, high int) (all [][]byte) {
	files, _ := filepath.Glob(filepath.Join(*corpusDir, "*", "*.eml"))
	more, _ := filepath.Glob(filepath.Join(*corpusDir, "*", "*", "*.eml"))
	for _, name := range append(files, more...) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if data = crlf(data); low <= len(data) && len(data) < high {
			all = append(all, data)
		}
	}
	return all
}

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
	p := newTaughtPipeline(b)
	benchmark(b, letter(4<<10), func(data []byte) { p.run(data) })
}
func BenchmarkLetter64K(b *testing.B) {
	p := newTaughtPipeline(b)
	benchmark(b, letter(64<<10), func(data []byte) { p.run(data) })
}
func BenchmarkText4K(b *testing.B) {
	p := newTaughtPipeline(b)
	benchmark(b, textLetter(4<<10), func(data []byte) { p.run(data) })
}
func BenchmarkText64K(b *testing.B) {
	p := newTaughtPipeline(b)
	benchmark(b, textLetter(64<<10), func(data []byte) { p.run(data) })
}

func BenchmarkEval(b *testing.B) {
	p := newTaughtPipeline(b)
	data := textLetter(4 << 10)
	facts := p.facts(data)
	benchmark(b, data, func([]byte) { p.set.Eval(facts, "") })
}

// BenchmarkCorpus is the mean over a corpus, when there is one (-corpus DIR).
func BenchmarkCorpus(b *testing.B) {
	if *corpusDir == "" {
		b.Skip("no corpus: give a folder with -corpus DIR")
	}
	p := newTaughtPipeline(b)
	all := corpusOf(b, 0, 1<<30)
	start, n := cpu(), 0
	for b.Loop() {
		p.run(all[n%len(all)])
		n++
	}
	b.ReportMetric(float64(cpu()-start)/float64(n)/1e3, "cpu-µs/op")
}

// BenchmarkScope: what scopes cost a message for one recipient. "none" is a set
// without any, "other" one whose scopes are other people's, "two classes" a
// message to two recipients whom different rules are for.
func BenchmarkScope(b *testing.B) {
	const plain = `
		[[rule]]
		symbol = "R1"
		score = 1.0
		when = 'subject contains "x"'
		describe = "a rule"`
	scoped := plain + "\n" + strings.Replace(plain, "R1", "R2", 1) + "\ndomains = [\"example.org\"]\n"
	one := []mail.Recipient{{Path: "bob@example.net"}}
	f := &filter.Facts{Header: filter.HeaderFacts{Names: []string{"to"}}, Symbols: make([]filter.Symbol, 20)}
	for _, c := range []struct {
		name  string
		rules string
		rcpts []mail.Recipient
	}{
		{"none", plain, one},
		{"other", scoped, one},
		{"two classes", scoped, append(one, mail.Recipient{Path: "bob@example.org"})},
	} {
		r := scopeSet(b, c.rules)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			start := cpu()
			for b.Loop() {
				filter.Weigh(r, f, c.rcpts)
			}
			b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op")
		})
	}
	r := scopeSet(b, plain)
	b.Run("without Weigh", func(b *testing.B) {
		b.ReportAllocs()
		start := cpu()
		for b.Loop() {
			r.Eval(f, "")
		}
		b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op")
	})
}

func scopeSet(b *testing.B, text string) *rules.Rules {
	r, err := rules.Load(rules.File{Name: "scope.toml", Data: []byte(text)})
	if err != nil {
		b.Fatal(err)
	}
	return r
}

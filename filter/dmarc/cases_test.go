package dmarc

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"mailweir/filter"
	"mailweir/internal/dns"
	"mailweir/mail"
)

// TestCases runs the check over testdata: a comment that says what is at
// stake, then msg (a header), dns (a zone), auth (what SPF and DKIM found) and
// result: status, author, policy, domain, symbol and what was aligned.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 120 {
		t.Fatal("cases are missing", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			part := map[string]string{}
			for _, f := range archive.Files {
				part[f.Name] = strings.TrimSpace(string(f.Data))
			}
			tx := transaction(part["msg"], part["auth"])
			counting := &countingResolver{Fake: parseZone(t, part["dns"]), asked: map[string]int{}}
			if got := describe(New(counting, Options{}).Run(context.Background(), tx), tx); got != part["result"] {
				t.Errorf("%s\n got %s\nwant %s", archive.Comment, got, part["result"])
			}
			for name, n := range counting.asked {
				if n > 1 {
					t.Errorf("%s was asked for %d times", name, n)
				}
			}
		})
	}
}

func transaction(msg, auth string) *filter.Transaction {
	h := mail.ParseHeader([]byte(strings.ReplaceAll(msg, "\n", "\r\n") + "\r\n\r\n"))
	facts := &filter.Facts{}
	for line := range strings.Lines(auth) {
		f := strings.Fields(line)
		switch f[0] {
		case "spf":
			facts.SPF = filter.SPFFacts{Result: f[1], Domain: f[2], Identity: "mailfrom"}
		case "helo":
			facts.SPF = filter.SPFFacts{Result: f[1], Domain: f[2], Identity: "helo"}
		case "dkim":
			facts.DKIM = append(facts.DKIM, filter.DKIMFacts{Result: f[1], Domain: f[2]})
		}
	}
	return &filter.Transaction{Header: &h, Facts: facts}
}

func describe(r filter.Report, tx *filter.Transaction) string {
	r.Set(tx.Facts)
	d := tx.Facts.DMARC
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	out := fmt.Sprintf("%s %s %s %s", d.Result, dash(d.From), dash(d.Policy), dash(d.Domain))
	for _, s := range r.Symbols {
		out += " " + s.Name
	}
	if d.AlignedSPF != "" {
		out += " spf=" + d.AlignedSPF
	}
	if d.AlignedDKIM != "" {
		out += " dkim=" + d.AlignedDKIM
	}
	if d.Testing {
		out += " testing"
	}
	return out
}

func parseZone(t *testing.T, text string) *dns.Fake {
	f := &dns.Fake{A: map[string][]string{}, TXT: map[string][]string{}, MX: map[string][]dns.MX{}, Fail: map[string]bool{}}
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		typ, value, _ := strings.Cut(rest, " ")
		switch typ {
		case "TXT":
			f.TXT[name] = append(f.TXT[name], value)
		case "A":
			f.A[name] = append(f.A[name], value)
		case "MX":
			f.MX[name] = append(f.MX[name], dns.MX{Host: value})
		case "FAIL":
			f.Fail[name+"/"+value] = true
		default:
			t.Fatalf("zone line %q", line)
		}
	}
	return f
}

// countingResolver counts the questions of each name and type.
type countingResolver struct {
	*dns.Fake
	asked map[string]int
	order []string
}

func (c *countingResolver) note(name, typ string) {
	c.asked[name+"/"+typ]++
	c.order = append(c.order, name)
}

func (c *countingResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	c.note(name, "TXT")
	return c.Fake.LookupTXT(ctx, name)
}

func (c *countingResolver) LookupA(ctx context.Context, name string) ([]netip.Addr, error) {
	c.note(name, "A")
	return c.Fake.LookupA(ctx, name)
}

// TestWalkQueries is the example of RFC 9989 section 4.10.
func TestWalkQueries(t *testing.T) {
	c := &countingResolver{Fake: &dns.Fake{}, asked: map[string]int{}}
	tx := transaction("From: joe@a.b.c.d.e.f.g.h.i.j.mail.example.com", "")
	New(c, Options{}).Run(context.Background(), tx)
	want := []string{
		"_dmarc.a.b.c.d.e.f.g.h.i.j.mail.example.com", "_dmarc.g.h.i.j.mail.example.com",
		"_dmarc.h.i.j.mail.example.com", "_dmarc.i.j.mail.example.com", "_dmarc.j.mail.example.com",
		"_dmarc.mail.example.com", "_dmarc.example.com", "_dmarc.com",
	}
	if got := strings.Join(c.order, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("asked\n%s", got)
	}
}

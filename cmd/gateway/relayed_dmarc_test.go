package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestDMARCCasesRelayed makes the cases of filter/dmarc/testdata true: what they
// say that SPF and DKIM found is published and signed so that they find it. One
// gateway judges them all, so that each has top-level domains of its own.
func TestDMARCCasesRelayed(t *testing.T) {
	files, err := filepath.Glob("../../filter/dmarc/testdata/*.txtar")
	if err != nil || len(files) < 130 {
		t.Fatal("cases are missing", err)
	}
	var zone strings.Builder
	var cases []*dmarcCase
	w := newWorld(t, t.TempDir())
	for n, file := range files {
		c := readDMARCCase(t, file, n)
		c.stage(w)
		zone.WriteString(c.zone)
		cases = append(cases, c)
	}
	r := &onlooker{world: w}
	r.open(t, zone.String())
	for _, c := range cases {
		results, refused := r.results(t, c.passage, c.msg)
		if got := dmarcSummary(first(results, "dmarc")); got != c.want || refused != "" {
			t.Errorf("%s: %s%s\n got %s\nwant %s", c.name, c.comment, refused, got, c.want)
		}
	}
}

// dmarcCase is one case, and the mail and zone that make it.
type dmarcCase struct {
	name, comment string
	auth          string
	passage       passage
	msg           []byte
	zone          string
	want          string // status, author, published policy, where the record is; "-" for none
}

// topLevel finds the top-level domains that the cases use.
var topLevel = regexp.MustCompile(`(?i)([.@ ])(org|net|com|test|bank|example)(\.?(?:[^.\w-]|$))`)

func readDMARCCase(t *testing.T, file string, n int) *dmarcCase {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	part := map[string]string{}
	for _, f := range archive.Files {
		var lines []string
		for line := range strings.Lines(string(f.Data)) {
			lines = append(lines, topLevel.ReplaceAllString(strings.TrimRight(line, "\n"), fmt.Sprintf("${1}${2}%d${3}", n)))
		}
		part[f.Name] = strings.TrimSpace(strings.Join(lines, "\n"))
	}
	c := &dmarcCase{
		name: filepath.Base(file), comment: string(archive.Comment), auth: part["auth"],
		passage: passage{"192.0.2.1", "mx.nothing.invalid", "a@nothing.invalid"},
		msg:     normalize([]byte(part["msg"] + "\nSubject: x\n\nhi\n")),
		want:    strings.Join(strings.Fields(part["result"])[:4], " "),
	}
	for line := range strings.Lines(part["dns"]) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		typ, value, _ := strings.Cut(rest, " ")
		if typ == "FAIL" {
			c.zone += "!servfail " + name + " " + value + "\n"
		} else {
			c.zone += zoneLine(name, typ, value)
		}
	}
	return c
}

// spfRecords give each result of SPF.
var spfRecords = map[string]string{
	"pass": "v=spf1 ip4:192.0.2.1 -all", "fail": "v=spf1 -all", "softfail": "v=spf1 ~all", "neutral": "v=spf1 ?all", "permerror": "v=spf1 nonsense",
}

// stage publishes and signs what the case says was found.
func (c *dmarcCase) stage(w *world) {
	for i, line := range strings.FieldsFunc(c.auth, func(r rune) bool { return r == '\n' }) {
		f := strings.Fields(line)
		switch f[0] {
		case "spf":
			c.passage.from = "a@" + f[2]
			c.publish(f[2], f[1], spfRecords[f[1]])
		case "helo":
			c.passage.from, c.passage.helo = "", f[2]
			c.publish(f[2], f[1], spfRecords[f[1]])
		case "dkim":
			selector := fmt.Sprintf("s%d", i)
			record := w.names["DKIM"]
			if f[1] == "permerror" {
				record = "v=DKIM1; p="
			}
			c.publish(selector+"._domainkey."+f[2], f[1], record)
			c.msg = append(c.signature(w, f[2], selector, f[1] == "fail"), c.msg...)
		}
	}
}

func (c *dmarcCase) publish(name, result, record string) {
	if result == "temperror" {
		c.zone += "!servfail " + name + " TXT\n"
	} else {
		c.zone += zoneLine(name, "TXT", record)
	}
}

// signature is a DKIM-Signature of the message, or of one with another body.
func (c *dmarcCase) signature(w *world, domain, selector string, broken bool) []byte {
	msg := c.msg
	if broken {
		msg = append(bytes.Clone(msg), "more\r\n"...)
	}
	var b bytes.Buffer
	err := dkim.Sign(&b, bytes.NewReader(msg), &dkim.SignOptions{
		Domain: domain, Selector: selector, Signer: w.key, HeaderKeys: []string{"From", "Subject"},
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
	})
	if err != nil {
		w.t.Fatalf("%s: %v", c.name, err)
	}
	return b.Bytes()[:b.Len()-len(msg)]
}

// dmarcSummary is the result in the notation of the cases.
func dmarcSummary(r authResult) string {
	out := []string{r.result, r.props["header.from"], r.props["policy.published-domain-policy"], r.props["polrec.domain"]}
	if out[3] == "" && r.props["polrec.p"] != "" {
		out[3] = out[1] // the author's own
	}
	for i := range out {
		if out[i] == "" {
			out[i] = "-"
		}
	}
	return strings.Join(out, " ")
}

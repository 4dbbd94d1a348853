package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"mailweir/filter"
	"mailweir/internal/history"
	"mailweir/internal/mailtest"
	"mailweir/mail"
	"mailweir/smtpd"
)

var submitter = Submitter{
	Host: "mx.example.org", Organization: "Example <Org> & Söhne", Email: "dmarc@example.org",
	Contact: "https://example.org/dmarc?a=1&b=2", Version: "test",
}

// verdict is one message of a day, with what the gateway itself records of it.
type verdict struct {
	from, client, mailFrom string
	record                 string
	result, policy         string
	spf, dkim              string // the domain that passed and is aligned
	action                 filter.Action
	reply                  string
	own, testing           bool
	signatures             []filter.DKIMFacts
	rcpt                   string
	domain                 string // where the record is; from when empty
}

const asks = "v=DMARC1; p=reject; rua=mailto:rua@d.example"

func (v verdict) line(at time.Time) smtpd.Record {
	f := &filter.Facts{Client: filter.ClientFacts{Address: v.client, Own: v.own}}
	domain := v.domain
	if domain == "" {
		domain = v.from
	}
	f.DMARC = filter.DMARCFacts{
		Result: v.result, Policy: v.policy, Domain: domain, From: v.from,
		AlignedSPF: v.spf, AlignedDKIM: v.dkim, Testing: v.testing, Record: v.record,
	}
	path := mail.Path(v.mailFrom)
	f.SPF = filter.SPFFacts{Result: "fail", Domain: path.Domain(), Identity: "mailfrom"}
	if v.spf != "" {
		f.SPF.Result = "pass"
	}
	f.DKIM = v.signatures
	rcpt := v.rcpt
	if rcpt == "" {
		rcpt = "bob@example.org"
	}
	return smtpd.Record{
		ReversePath: v.mailFrom, Client: v.client, Action: v.action, Reply: v.reply, Facts: f,
		Accepted: []smtpd.RecipientVerdict{{Address: rcpt, Action: v.action}},
	}
}

// writeDay makes the history of a day with the gateway's own writer.
func writeDay(t testing.TB, dir string, at time.Time, list ...verdict) {
	t.Helper()
	log, err := history.Open(dir, 1000*24*time.Hour, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range list {
		r := v.line(at)
		log.Append(mail.NewID(at), "verdict", at.Add(time.Duration(k)*time.Millisecond), &r)
		if k%1000 == 999 { // the backlog is bounded
			time.Sleep(50 * time.Millisecond)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

var (
	testDay = Day("2026-11-27")
	noon    = testDay.Begin().Add(12 * time.Hour)
)

func nobody(string, bool) bool { return false }

func collect(t testing.TB, hidden Hidden, list ...verdict) []*Report {
	t.Helper()
	dir := t.TempDir()
	writeDay(t, dir, noon, list...)
	reports, err := Collect(dir, nil, submitter.Host, testDay, hidden)
	if err != nil {
		t.Fatal(err)
	}
	return reports
}

// validate holds a report against the schema, by a validator that is not ours.
func validate(t testing.TB, xml []byte) {
	t.Helper()
	path, err := exec.LookPath("xmllint")
	if err != nil {
		mailtest.SkipHarness(t, "xmllint is not installed")
	}
	file := filepath.Join(t.TempDir(), "report.xml")
	if err := os.WriteFile(file, xml, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "--noout", "--nonet", "--schema", "testdata/feedback.xsd", file).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s\n%.3000s", err, out, xml)
	}
}

func xmlOf(t testing.TB, r *Report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.XML(&b, &submitter); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(b)
}

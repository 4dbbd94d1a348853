package dkim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/filter"
	"mailweir/internal/dns"
	"mailweir/mail"
)

func transaction(m string) *filter.Transaction {
	h, _ := split([]byte(m))
	return &filter.Transaction{Header: h, Content: mail.Bytes(m), Facts: &filter.Facts{}}
}

// TestReport checks the one symbol, the facts and the header results for each
// mix of signatures.
func TestReport(t *testing.T) {
	keys := newTestKeys(t)
	const tail = ruleFields + "\r\n" + ruleBody
	pass := handSign(keys.ed25519, goodTags, ruleBody)
	fail := handSign(keys.ed25519, goodTags, "other\r\n")
	perm := handSign(keys.ed25519, strings.Replace(goodTags, "s=ed", "s=none", 1), ruleBody)
	temp := handSign(keys.ed25519, strings.Replace(goodTags, "s=ed", "s=down", 1), ruleBody)
	test := handSign(keys.ed25519, strings.Replace(goodTags, "s=ed", "s=test", 1), "other\r\n")
	r := keys.resolver()
	r.Fail = map[string]bool{"down._domainkey.example.org": true}
	r.TXT["test._domainkey.example.org"] = []string{r.TXT["ed._domainkey.example.org"][0] + "; t=y"}
	for _, c := range []struct{ what, message, symbol, results string }{
		{"none", tail, filter.SymDKIMNone, "none"},
		{"pass", pass + tail, filter.SymDKIMPass, "pass"},
		{"fail", fail + tail, filter.SymDKIMFail, "fail"},
		{"permerror", perm + tail, filter.SymDKIMPermError, "permerror"},
		{"pass wins", temp + fail + perm + pass + tail, filter.SymDKIMPass, "temperror fail permerror pass"},
		{"temperror before fail", fail + temp + perm + tail, filter.SymDKIMTempError, "fail temperror permerror"},
		{"fail before permerror", perm + fail + tail, filter.SymDKIMFail, "permerror fail"},
		{"testing is as good as unsigned", test + tail, filter.SymDKIMNone, "fail"},
	} {
		t.Run(c.what, func(t *testing.T) {
			tx := transaction(c.message)
			report := New(r).Run(context.Background(), tx)
			if (report.State == filter.OK) == (c.symbol == filter.SymDKIMTempError) || len(report.Symbols) != 1 || report.Symbols[0].Name != c.symbol {
				t.Errorf("%s %v, want %s", report.State, report.Symbols, c.symbol)
			}
			var results []string
			for _, a := range report.Auth {
				results = append(results, a.Result)
			}
			if got := strings.Join(results, " "); got != c.results {
				t.Errorf("results %q, want %q", got, c.results)
			}
			report.Set(tx.Facts)
			if n := strings.Count(c.message, "DKIM-Signature:"); len(tx.Facts.DKIM) != n {
				t.Errorf("%d facts for %d signatures", len(tx.Facts.DKIM), n)
			}
		})
	}
}

func TestFactsAndProperties(t *testing.T) {
	keys := newTestKeys(t)
	m := handSign(keys.ed25519, goodTags+"; i=joe@mail.example.org", ruleBody) + ruleFields + "\r\n" + ruleBody
	tx := transaction("X: 1\r\n" + m)
	report := New(keys.resolver()).Run(context.Background(), tx)
	report.Set(tx.Facts)
	f := tx.Facts.DKIM[0]
	if f.Result != "pass" || f.Domain != "example.org" || f.Selector != "ed" || f.Identity != "joe@mail.example.org" ||
		f.Algo != "ed25519-sha256" || f.KeyBits != 256 || f.SignatureIndex != 1 || strings.Join(f.Fields, " ") != "from subject" {
		t.Errorf("%+v", f)
	}
	var props []string
	for _, p := range report.Auth[0].Props {
		props = append(props, p.Type+"."+p.Property+"="+p.Value)
	}
	want := "header.d=example.org header.i=joe@mail.example.org header.s=ed header.a=ed25519-sha256 header.b="
	if got := strings.Join(props, " "); !strings.HasPrefix(got, want) || len(got) != len(want)+8 {
		t.Errorf("%s", got)
	}
}

// TestFailureState: a check that could not find out does not end as if it had,
// unless it did not matter.
func TestFailureState(t *testing.T) {
	keys := newTestKeys(t)
	m := handSign(keys.ed25519, goodTags, ruleBody) + ruleFields + "\r\n" + ruleBody
	for err, want := range map[error]filter.State{
		errors.New("SERVFAIL"): filter.Error, os.ErrDeadlineExceeded: filter.Timeout,
	} {
		report := New(unanswered{Resolver: keys.resolver(), err: &dns.Error{Kind: dns.Temporary, Cause: err}}).Run(context.Background(), transaction(m))
		if report.State != want || !errors.Is(report.Cause, err) || report.Symbols[0].Name != filter.SymDKIMTempError {
			t.Errorf("%v: %+v", err, report)
		}
	}
	other := handSign(keys.ed25519, strings.Replace(goodTags, "s=ed", "s=else", 1), ruleBody)
	r := unanswered{Resolver: keys.resolver(), only: "else.", err: &dns.Error{Kind: dns.Temporary}}
	report := New(r).Run(context.Background(), transaction(other+m))
	if report.State != filter.OK || report.Symbols[0].Name != filter.SymDKIMPass || report.Auth[0].Result != "temperror" {
		t.Errorf("%+v", report)
	}
}

// unanswered has no answer about names that begin with only.
type unanswered struct {
	Resolver
	only string
	err  error
}

func (f unanswered) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if strings.HasPrefix(name, f.only) {
		return nil, f.err
	}
	return f.Resolver.LookupTXT(ctx, name)
}

// TestTimeoutState: the stage's own deadline makes State Timeout; what is
// known by then is still reported.
func TestTimeoutState(t *testing.T) {
	keys := newTestKeys(t)
	m := handSign(keys.ed25519, goodTags, ruleBody) + ruleFields + "\r\n" + ruleBody
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		tx := transaction(m)
		report := New(hanging{}).Run(ctx, tx)
		report.Set(tx.Facts)
		if report.State != filter.Timeout || report.Cause == nil || report.Symbols[0].Name != filter.SymDKIMTempError {
			t.Errorf("%+v", report)
		}
		if f := tx.Facts.DKIM[0]; f.Result != "temperror" || len(f.Fields) != 2 {
			t.Errorf("%+v", f)
		}
	})
}

// TestManyBrokenSignatures bounds the facts, but keeps every signature that
// might be valid.
func TestManyBrokenSignatures(t *testing.T) {
	keys := newTestKeys(t)
	good := handSign(keys.ed25519, goodTags, ruleBody)
	tx := transaction(strings.Repeat("DKIM-Signature: junk\r\n", 500) + good + ruleFields + "\r\n" + ruleBody)
	report := New(keys.resolver()).Run(context.Background(), tx)
	report.Set(tx.Facts)
	last := tx.Facts.DKIM[len(tx.Facts.DKIM)-1]
	if len(tx.Facts.DKIM) != maxFacts+1 || last.Result != "pass" || last.SignatureIndex != 500 {
		t.Errorf("%d facts, last %+v", len(tx.Facts.DKIM), last)
	}
	if n := len(report.Auth); n != maxAuth+1 || report.Auth[n-1].Result != "pass" {
		t.Errorf("%d results", n)
	}
}

// secretive fails with an error that names a resolver.
type secretive struct{}

func (secretive) LookupTXT(context.Context, string) ([]string, error) {
	return nil, errors.New("read udp 10.0.0.1:53: i/o timeout")
}

func TestReasonTellsNothing(t *testing.T) {
	keys := newTestKeys(t)
	tx := transaction(handSign(keys.ed25519, goodTags, ruleBody) + ruleFields + "\r\n" + ruleBody)
	report := New(secretive{}).Run(context.Background(), tx)
	report.Set(tx.Facts)
	if a := report.Auth[0]; a.Result != "temperror" || a.Reason != "key look-up failed" {
		t.Errorf("%+v", a)
	}
	if f := tx.Facts.DKIM[0]; !strings.Contains(f.Reason, "10.0.0.1") {
		t.Errorf("the log should know: %+v", f)
	}
}

// brokenContent fails half way.
type brokenContent struct{ mail.Bytes }

func (b brokenContent) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(b.Bytes[:len(b.Bytes)/2]), errReader{})), nil
}

type errReader struct{}

var errDisk = errors.New("disk")

func (errReader) Read([]byte) (int, error) { return 0, errDisk }

func TestUnreadableContentIsAnError(t *testing.T) {
	keys := newTestKeys(t)
	m := handSign(keys.ed25519, goodTags, ruleBody) + ruleFields + "\r\n" + ruleBody
	tx := transaction(m)
	tx.Content = brokenContent{mail.Bytes(m)}
	report := New(keys.resolver()).Run(context.Background(), tx)
	if report.State != filter.Error || !errors.Is(report.Cause, errDisk) || report.Symbols != nil {
		t.Errorf("%+v", report)
	}
}

var _ Resolver = (*dns.Fake)(nil)

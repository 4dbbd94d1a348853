package dmarc

import (
	"context"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/filter"
	"mailweir/internal/dns"
	"mailweir/mail"
)

// hanging answers only when its context ends.
type hanging struct{ *dns.Fake }

func (*hanging) LookupTXT(ctx context.Context, _ string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestFailureState: a check that could not find out does not end as if it had.
func TestFailureState(t *testing.T) {
	tx := transaction("From: a@example.org", "spf pass example.org")
	for err, want := range map[error]filter.State{
		errors.New("SERVFAIL"): filter.Error, os.ErrDeadlineExceeded: filter.Timeout,
	} {
		r := failing{err: &dns.Error{Name: "_dmarc.example.org", Type: "TXT", Kind: dns.Temporary, Cause: err}}
		report := New(r, Options{}).Run(context.Background(), tx)
		if report.State != want || !errors.Is(report.Cause, err) || report.Symbols[0].Name != filter.SymDMARCTempError {
			t.Errorf("%v: %+v", err, report)
		}
	}
	// What SPF could not find out leaves DMARC open, too.
	tx = transaction("From: a@example.org", "spf temperror example.org")
	report := New(parseZone(t, "_dmarc.example.org TXT v=DMARC1; p=none"), Options{}).Run(context.Background(), tx)
	if report.State != filter.Error || report.Cause == nil || report.Symbols[0].Name != filter.SymDMARCTempError {
		t.Errorf("%+v", report)
	}
}

// TestWithoutSPF: a fail says that SPF might have made a pass of it.
func TestWithoutSPF(t *testing.T) {
	zone := parseZone(t, "_dmarc.example.org TXT v=DMARC1; p=reject")
	for auth, want := range map[string]bool{"": true, "dkim fail example.org": true, "spf fail example.org": false, "spf none example.org": false} {
		report := New(zone, Options{}).Run(context.Background(), transaction("From: a@example.org", auth))
		if strings.Contains(report.Symbols[0].Detail, noSPF) != want || (report.Auth[0].Reason != "") != want || report.Auth[0].Result != "fail" {
			t.Errorf("%q: %+v %+v", auth, report.Symbols, report.Auth)
		}
	}
}

// failing answers nothing.
type failing struct {
	Resolver
	err error
}

func (f failing) LookupTXT(context.Context, string) ([]string, error) { return nil, f.err }

// TestTimeoutState: the stage's own deadline makes State Timeout.
func TestTimeoutState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		tx := transaction("From: a@example.org", "spf pass example.org")
		report := New(&hanging{}, Options{}).Run(ctx, tx)
		if report.State != filter.Timeout || report.Cause == nil || report.Symbols[0].Name != filter.SymDMARCTempError {
			t.Errorf("%+v", report)
		}
	})
}

// ahead notes what is asked ahead; nothing else may be asked of it.
type ahead struct {
	Resolver
	names []string
}

func (a *ahead) Prefetch(_ dns.Type, name string) { a.names = append(a.names, name) }

// TestPrefetch begins every look-up of the walks, each name once, within its
// bound, and none for what cannot be aligned; and that of np=.
func TestPrefetch(t *testing.T) {
	deep := strings.Repeat("a.", 100) + "example.org"
	for _, c := range []struct {
		header, mailFrom, helo string
		want                   string
		n                      int
	}{
		{"From: a@x.mail.example.org", "b@other.test", "", "_dmarc.x.mail.example.org _dmarc.mail.example.org _dmarc.example.org _dmarc.org x.mail.example.org", 5},
		{"From: a@example.org", "b@m.example.org", "", "_dmarc.example.org _dmarc.org _dmarc.m.example.org", 3},
		{"From: a@example.org", "", "mx.example.org", "_dmarc.example.org _dmarc.org _dmarc.mx.example.org", 3},
		{"From: a@example.org\r\nDKIM-Signature: v=1; d=K.example.org;\r\nDKIM-Signature: v=1; d=other.test", "", "", "_dmarc.example.org _dmarc.org _dmarc.k.example.org", 3},
		{"From: a@example.org, b@example.net", "", "", "_dmarc.example.org _dmarc.org _dmarc.example.net _dmarc.net", 4},
		{"From: none", "", "", "", 0},
		{"From: a@" + deep + strings.Repeat("\r\nDKIM-Signature: d=b."+deep, 50), "c@d." + deep, "", "", 11},
	} {
		tx := transaction(c.header, "")
		tx.Envelope, tx.Client = &mail.Envelope{ReversePath: mail.Path(c.mailFrom)}, &mail.Client{Helo: c.helo}
		a := &ahead{}
		New(a, Options{}).Prefetch(tx)
		if got := strings.Join(a.names, " "); c.want != "" && got != c.want || len(a.names) > maxAhead+1 || c.n != len(a.names) {
			t.Errorf("%.60s: %d names %.200s", c.header, len(a.names), got)
		}
	}
}

func TestAuthResult(t *testing.T) {
	tx := transaction("From: a@x.example.org", "spf fail example.org")
	r := parseZone(t, "_dmarc.example.org TXT v=DMARC1; p=none; sp=reject")
	a := New(r, Options{}).Run(context.Background(), tx).Auth[0]
	want := filter.AuthResult{Method: "dmarc", Result: "fail", Props: []filter.AuthProp{
		{Type: "header", Property: "from", Value: "x.example.org"},
		{Type: "policy", Property: "dmarc", Value: "reject"},
		{Type: "policy", Property: "published-domain-policy", Value: "reject"},
		{Type: "polrec", Property: "p", Value: "none"},
		{Type: "polrec", Property: "domain", Value: "example.org"},
	}}
	if !reflect.DeepEqual(a, want) {
		t.Errorf("%+v", a)
	}
}

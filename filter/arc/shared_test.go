package arc_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/filter"
	"mailweir/filter/arc"
	"mailweir/filter/dkim"
	"mailweir/internal/dkimcore"
	"mailweir/internal/dns"
	"mailweir/mail"
)

// TestSharedBodies: in the pipeline DKIM and ARC hash the body together, in
// either order, with one of them alone, and with what only one of them wants.
func TestSharedBodies(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	k, err := dkimcore.NewPrivateKey("example.org", "s", crypto.Signer(key))
	if err != nil {
		t.Fatal(err)
	}
	zone := &dns.Fake{TXT: map[string][]string{k.Name(): {k.Record()}}}
	const head, body = "From: a@example.org\r\nSubject: hi\r\n", "Hello  world \r\nbye\r\n\r\n"
	h := mail.ParseHeader([]byte(head + "\r\n"))
	hash, err := dkimcore.HashBody(mail.Bytes(body))
	if err != nil {
		t.Fatal(err)
	}
	signed := string(dkimcore.AppendSignatures(nil, []*dkimcore.PrivateKey{k}, &h, hash, time.Now()))
	evidence := func(i int) []byte { return fmt.Appendf(nil, "ARC-Authentication-Results: i=%d; x\r\n", i) }
	sealed := string(arc.NewSealer(k).AppendSet(nil, &h, hash, &filter.ARCFacts{Result: "none"}, evidence, time.Now()))
	a, d := filter.Check(arc.New(zone)), filter.Check(dkim.New(zone))
	for _, c := range []struct {
		what, message string
		checks        filter.Group
		dkim, arc     string
	}{
		{"both", sealed + signed, filter.Group{d, a}, "pass", "pass"},
		{"both, ARC first", sealed + signed, filter.Group{a, d}, "pass", "pass"},
		{"only a chain", sealed, filter.Group{d, a}, "", "pass"},
		{"only a signature", signed, filter.Group{d, a}, "pass", "none"},
		{"signature of bad form", sealed + "DKIM-Signature: v=2\r\n", filter.Group{d, a}, "permerror", "pass"},
		{"broken body", sealed + signed, filter.Group{d, a}, "fail", "fail"},
	} {
		m := []byte(c.message + head + "\r\n" + body)
		if c.what == "broken body" {
			m = bytes.Replace(m, []byte("bye"), []byte("BYE"), 1)
		}
		p := filter.New(filter.Options{
			Chain: filter.Chain{Data: c.checks}, Scorer: func() filter.Scorer { return unweighed{} }, Limits: filter.DefaultLimits(),
			Metrics: filter.NewMetrics(prometheus.NewRegistry()),
		})
		conn := p.Connect(context.Background(), mail.Client{})
		i := conn.Begin(context.Background(), mail.Client{}, &mail.Envelope{})
		i.Receive(bytes.NewReader(m))
		for rest := m; len(rest) > 0; {
			n := min(7, len(rest))
			if err := i.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		f := i.Judge(mail.Bytes(m)).Facts
		result := ""
		if len(f.DKIM) > 0 {
			result = f.DKIM[0].Result
		}
		if result != c.dkim || f.ARC.Result != c.arc {
			t.Errorf("%s: DKIM %s, ARC %s: %+v", c.what, result, f.ARC.Result, f)
		}
		i.Close()
		conn.Close()
	}
}

type unweighed struct{}

func (unweighed) Eval(f *filter.Facts, _ string) []filter.Symbol { return f.Symbols }
func (unweighed) Class(*filter.Facts, mail.Path) string          { return "" }
func (unweighed) Hash() string                                   { return "" }

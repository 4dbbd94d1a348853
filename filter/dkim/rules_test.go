package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/internal/dns"
)

const (
	ruleFields = "From: joe@example.org\r\nSubject: hi\r\n"
	ruleBody   = "Hello\r\nworld\r\n"
)

// handSign signs with simple canonicalisation and any tags, written down apart
// from the verifier. The tags %s stand for the body hash.
func handSign(key ed25519.PrivateKey, tags, body string) string {
	digest := sha256.Sum256([]byte(body))
	field := "DKIM-Signature: " + fmt.Sprintf(tags, base64.StdEncoding.EncodeToString(digest[:])) + "; b="
	signed := sha256.Sum256([]byte(ruleFields + field))
	sig, err := key.Sign(nil, signed[:], crypto.Hash(0))
	if err != nil {
		panic(err)
	}
	return field + base64.StdEncoding.EncodeToString(sig) + "\r\n"
}

const goodTags = "v=1; a=ed25519-sha256; d=example.org; s=ed; h=From:Subject; bh=%s"

// TestRules covers what a tag of the signature or of the key record does.
func TestRules(t *testing.T) {
	keys := newTestKeys(t)
	good := keys.zone["ed._domainkey.example.org"][0]
	for _, c := range []struct {
		name, tags string
		record     string // "" for the good one
		want       Status
		reason     string
	}{
		{"good", goodTags, "", Pass, ""},
		{"version", strings.Replace(goodTags, "v=1", "v=2", 1), "", PermError, "version"},
		{"no version", strings.Replace(goodTags, "v=1; ", "", 1), "", PermError, "version"},
		{"sha1", strings.Replace(goodTags, "ed25519-sha256", "rsa-sha1", 1), "", PermError, "rsa-sha1"},
		{"algorithm", strings.Replace(goodTags, "ed25519-sha256", "dsa-sha256", 1), "", PermError, "algorithm"},
		{"other algorithm's key", strings.Replace(goodTags, "ed25519-sha256", "rsa-sha256", 1), "", PermError, "another algorithm"},
		{"from unsigned", strings.Replace(goodTags, "From:", "", 1), "", PermError, "From"},
		{"from in any case", strings.Replace(goodTags, "From", "FROM", 1), "", Pass, ""},
		{"over-signed", strings.Replace(goodTags, "Subject", "Subject:Subject:From:X-None", 1), "", Pass, ""},
		{"duplicate tag", goodTags + "; d=example.org", "", PermError, "malformed"},
		{"unknown tag", goodTags + "; zz=1", "", Pass, ""},
		{"unknown tag with a hyphen", goodTags + "; x-note=1.2", "", Pass, ""},
		{"tag that begins with a digit", goodTags + "; 1x=1", "", PermError, "malformed"},
		{"tag with a space", goodTags + "; x y=1", "", PermError, "malformed"},
		{"no tag", goodTags + "; junk", "", PermError, "malformed"},
		{"expired", goodTags + "; x=1000", "", PermError, "expired"},
		{"not expired", goodTags + "; x=99999999999", "", Pass, ""},
		{"endless", goodTags + "; x=99999999999999999999999", "", Pass, ""},
		{"x before t", goodTags + "; t=99999999999; x=99999999998", "", PermError, "after"},
		{"bad t", goodTags + "; t=-5", "", PermError, "t="},
		{"future", goodTags + "; t=99999999999", "", Pass, ""},
		{"i within d", goodTags + "; i=joe@mail.Example.ORG", "", Pass, ""},
		{"i outside of d", goodTags + "; i=joe@example.com", "", PermError, "i="},
		{"i beside d", goodTags + "; i=joe@badexample.org", "", PermError, "i="},
		{"i above d", goodTags + "; i=@org", "", PermError, "i="},
		{"x is t", goodTags + "; t=99999999999; x=99999999999", "", PermError, "after"},
		{"empty i", goodTags + "; i=", "", PermError, "i="},
		{"i without local-part", goodTags + "; i=@example.org", "", Pass, ""},
		{"i with QP", goodTags + "; i=jo=65=40x@example.org", "", Pass, ""},
		{"algorithm in capitals", strings.Replace(goodTags, "a=ed25519-sha256", "a=Ed25519-SHA256", 1), "", PermError, "algorithm"},
		{"canonicalisation in capitals", goodTags + "; c=Simple/Simple", "", PermError, "canonical"},
		{"half a canonicalisation", goodTags + "; c=simple", "", Pass, ""},
		{"open canonicalisation", goodTags + "; c=simple/", "", PermError, "canonical"},
		{"empty canonicalisation", goodTags + "; c=", "", PermError, "canonical"},
		{"query in capitals", goodTags + "; q=DNS/TXT", "", PermError, "query"},
		{"empty query", goodTags + "; q=", "", PermError, "query"},
		{"capital tag is another tag", goodTags + "; D=example.com", "", Pass, ""},
		{"spaces around tags", strings.NewReplacer("; ", " ;\t", "=", " = ").Replace(goodTags), "", Pass, ""},
		{"fold in h", strings.Replace(goodTags, "From:", "From \r\n\t: ", 1), "", Pass, ""},
		{"signature in h", strings.Replace(goodTags, "Subject", "Subject:DKIM-Signature", 1), "", Pass, ""},
		{"l beyond any number", goodTags + "; l=99999999999999999999999999", "", PermError, "l="},
		{"empty l", goodTags + "; l=", "", PermError, "l="},
		{"empty t", goodTags + "; t=", "", PermError, "t="},
		{"empty x", goodTags + "; x=", "", PermError, "x="},
		{"empty bh", strings.Replace(goodTags, "bh=%s", "zz=%s; bh=", 1), "", Fail, "body hash"},
		{"i without at", goodTags + "; i=example.org", "", PermError, "i="},
		{"top-level d", strings.Replace(goodTags, "d=example.org", "d=org", 1), "", PermError, "d="},
		{"empty s", strings.Replace(goodTags, "s=ed", "s=", 1), "", PermError, "s="},
		{"selector case", strings.Replace(goodTags, "s=ed", "s=ED", 1), "", Pass, ""},
		{"l exact", goodTags + "; l=14", "", Pass, ""},
		{"l short", goodTags + "; l=7", "", Fail, "l="},
		{"l long", goodTags + "; l=15", "", Fail, "l="},
		{"l broken", goodTags + "; l=-1", "", PermError, "l="},
		{"query", goodTags + "; q=dns/txt:http", "", Pass, ""},
		{"other query", goodTags + "; q=http", "", PermError, "query"},
		{"canonicalisation", goodTags + "; c=nowsp/simple", "", PermError, "canonical"},
		{"bh broken", strings.Replace(goodTags, "bh=", "bh=*", 1), "", PermError, "bh="},

		{"revoked", goodTags, "v=DKIM1; k=ed25519; p=", PermError, "revoked"},
		{"no p", goodTags, "v=DKIM1; k=ed25519", PermError, "p="},
		{"key version", goodTags, strings.Replace(good, "DKIM1", "DKIM2", 1), PermError, "version"},
		{"version late", goodTags, "k=ed25519; v=DKIM1; p=" + good[strings.Index(good, "p=")+2:], Pass, ""},
		{"key type", goodTags, strings.Replace(good, "ed25519", "rsa", 1), PermError, "RSA"},
		{"key broken", goodTags, "v=DKIM1; k=ed25519; p=AAAA", PermError, "Ed25519"},
		{"other hash", goodTags, good + "; h=sha1", PermError, "hash"},
		{"our hash", goodTags, good + "; h=sha1:sha256", Pass, ""},
		{"other service", goodTags, good + "; s=tlsrpt", PermError, "service"},
		{"every service", goodTags, good + "; s=*", Pass, ""},
		{"our service", goodTags, good + "; s=tlsrpt:email", Pass, ""},
		{"service in capitals", goodTags, good + "; s=EMAIL", PermError, "service"},
		{"hash in capitals", goodTags, good + "; h=SHA256", PermError, "hash"},
		{"key type in capitals", goodTags, strings.Replace(good, "ed25519", "ED25519", 1), PermError, "type"},
		{"duplicate tag of the key", goodTags, good + "; k=ed25519", PermError, "malformed key"},
		{"strict, same", goodTags + "; i=a@example.org", good + "; t=s", Pass, ""},
		{"strict, default i", goodTags, good + "; t=y:s", Pass, ""},
		{"strict, subdomain", goodTags + "; i=a@x.example.org", good + "; t=s", PermError, "t=s"},
		{"junk", goodTags, "hello", PermError, "malformed key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			record := c.record
			if record == "" {
				record = good
			}
			r := &dns.Fake{TXT: map[string][]string{"ed._domainkey.example.org": {record}}}
			m := handSign(keys.ed25519, c.tags, ruleBody) + ruleFields + "\r\n" + ruleBody
			got := Verify(context.Background(), r, []byte(m), time.Now())[0]
			if got.Status != c.want || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("got %s (%s), want %s (%s)", got.Status, got.Reason, c.want, c.reason)
			}
			if got.Testing != strings.Contains(record, "t=y") {
				t.Error("t=y is not in the result")
			}
		})
	}
}

// TestLengthNeverCoversMore: a body with more than l= says is never a pass,
// not even when the signed part is whole.
func TestLengthNeverCoversMore(t *testing.T) {
	keys := newTestKeys(t)
	tags := goodTags + fmt.Sprintf("; l=%d", len(ruleBody))
	m := handSign(keys.ed25519, tags, ruleBody) + ruleFields + "\r\n" + ruleBody + "Buy now\r\n"
	if got := Verify(context.Background(), keys.resolver(), []byte(m), time.Now())[0]; got.Status != Fail {
		t.Errorf("%+v", got)
	}
}

func TestKeyAnswers(t *testing.T) {
	keys := newTestKeys(t)
	m := []byte(handSign(keys.ed25519, goodTags, ruleBody) + ruleFields + "\r\n" + ruleBody)
	name := "ed._domainkey.example.org"
	for _, c := range []struct {
		what string
		r    Resolver
		want Status
	}{
		{"not found", &dns.Fake{}, PermError},
		{"failure", &dns.Fake{Fail: map[string]bool{name: true}}, TempError},
		{"two records", &dns.Fake{TXT: map[string][]string{name: {keys.zone[name][0], keys.zone[name][0]}}}, PermError},
		{"two revoked records", &dns.Fake{TXT: map[string][]string{name: {"v=DKIM1; p=", "p="}}}, PermError},
		{"a record among others", &dns.Fake{TXT: map[string][]string{name: {"v=spf1 -all", keys.zone[name][0], "site-verification=x", "v=DKIM2; p=AAAA"}}}, Pass},
		{"others only", &dns.Fake{TXT: map[string][]string{name: {"v=spf1 -all", "hello"}}}, PermError},
		{"an error of no known kind", failing{}, TempError},
	} {
		got := Verify(context.Background(), c.r, m, time.Now())[0]
		if got.Status != c.want {
			t.Errorf("%s: got %s (%s), want %s", c.what, got.Status, got.Reason, c.want)
		}
		if !slices.Equal(got.Fields, []string{"from", "subject"}) {
			t.Errorf("%s: fields %v are not kept", c.what, got.Fields)
		}
	}
}

type failing struct{}

func (failing) LookupTXT(context.Context, string) ([]string, error) {
	return nil, errors.New("unknown")
}

// TestSlowKey: a key that does not come in time is a temperror, and no
// goroutine stays behind.
func TestSlowKey(t *testing.T) {
	keys := newTestKeys(t)
	m := []byte(handSign(keys.ed25519, goodTags, ruleBody) + ruleFields + "\r\n" + ruleBody)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		h, body := split(m)
		v := Start(context.Background(), hanging{}, h, time.Unix(0, 0))
		v.Write(body)
		if got := v.End(ctx)[0]; got.Status != TempError || len(got.Fields) != 2 {
			t.Errorf("%+v", got)
		}
		v = Start(context.Background(), hanging{}, h, time.Unix(0, 0))
		v.Abort()
	})
}

// hanging answers only when its context ends.
type hanging struct{}

func (hanging) LookupTXT(ctx context.Context, _ string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestSignatureLimit: junk on top cannot hide the author's signature, junk of
// bad form does not count, and what is over the limit keeps its fields.
func TestSignatureLimit(t *testing.T) {
	keys := newTestKeys(t)
	good := handSign(keys.ed25519, goodTags, ruleBody)
	other := strings.Replace(good, "d=example.org", "d=example.net", 1)
	m := strings.Repeat("DKIM-Signature: v=1; nonsense\r\n", 50) + strings.Repeat(other, 20) + good + ruleFields + "\r\n" + ruleBody
	counting := &counter{Resolver: keys.resolver()}
	results := Verify(context.Background(), counting, []byte(m), time.Now())
	count := map[Status]int{}
	for i, r := range results {
		count[r.Status]++
		if r.Index != i {
			t.Fatalf("result %d has index %d", i, r.Index)
		}
		if r.Status == Neutral && len(r.Fields) != 2 {
			t.Errorf("unchecked signature without fields: %+v", r)
		}
	}
	if results[70].Status != Pass {
		t.Errorf("the author's signature: %+v", results[70])
	}
	if count[Neutral] != 11 || count[PermError] != 59 {
		t.Errorf("%v", count)
	}
	if len(counting.names) != 2 {
		t.Errorf("look-ups %v", counting.names)
	}
}

// TestHostileOrder: signatures in the author's own name, above and below, do
// not hide the one that is good, and no more keys are asked for than allowed.
func TestHostileOrder(t *testing.T) {
	keys := newTestKeys(t)
	good := handSign(keys.ed25519, goodTags, ruleBody)
	junk := func(n int, selector string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.Replace(good, "s=ed", "s="+fmt.Sprintf(selector, i), 1))
		}
		return b.String()
	}
	for _, c := range []struct {
		what, above, below string
		names              int
	}{
		{"many above", junk(100, "x%d"), "", 5},
		{"many below", "", junk(100, "x%d"), 5},
		{"on both sides", junk(2, "x%d"), junk(1, "y%d"), 4},
		{"with the very key", strings.Repeat(strings.Replace(good, "b=", "b=AAAA", 1), 100), "", 1},
		{"with the very key on both sides", strings.Repeat(strings.Replace(good, "b=", "b=AAAA", 1), 4), strings.Repeat(strings.Replace(good, "b=", "b=AAAA", 1), 4), 1},
	} {
		counting := &counter{Resolver: keys.resolver()}
		m := c.above + good + c.below + ruleFields + "\r\n" + ruleBody
		results := Verify(context.Background(), counting, []byte(m), time.Now())
		if !slices.ContainsFunc(results, func(r Result) bool { return r.Status == Pass }) || len(counting.names) != c.names {
			t.Errorf("%s: %d look-ups, %v", c.what, len(counting.names), statuses(results))
		}
	}
}

type counter struct {
	mu sync.Mutex
	Resolver
	names []string
}

func (c *counter) LookupTXT(ctx context.Context, name string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names = append(c.names, name)
	return c.Resolver.LookupTXT(ctx, name)
}

// TestInternationalDomain: RFC 8616 lets d=, s= and i= be U-labels; the key is
// asked for by A-labels.
func TestInternationalDomain(t *testing.T) {
	keys := newTestKeys(t)
	r := &dns.Fake{TXT: map[string][]string{"xn--schn-7qa._domainkey.xn--bcher-kva.example": keys.zone["ed._domainkey.example.org"]}}
	tags := strings.NewReplacer("d=example.org", "d=bücher.example", "s=ed", "s=schön").Replace(goodTags) + "; i=jürgen@mail.bücher.example"
	m := handSign(keys.ed25519, tags, ruleBody) + ruleFields + "\r\n" + ruleBody
	got := Verify(context.Background(), r, []byte(m), time.Now())[0]
	if got.Status != Pass || got.Domain != "xn--bcher-kva.example" {
		t.Errorf("%+v", got)
	}
}

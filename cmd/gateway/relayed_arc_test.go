package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

const sealingConfig = `
[arc]
seal = "hop.example"
trusted_sealers = ["hop.example"]

[[dkim]]
domain = "hop.example"
selector = "seal"
key = "{{.Dir}}/seal.pem"
`

// startSealing is a gateway that seals, and believes its own seals.
func startSealing(t *testing.T) *onlooker {
	t.Helper()
	r := &onlooker{world: newWorld(t, t.TempDir()), more: sealingConfig}
	var out, errs bytes.Buffer
	code := dispatch(context.Background(), stdio{nil, &out, &errs}, []string{"dkim", "keygen", "--domain", "hop.example", "--selector", "seal", "--out", r.path("seal.pem")})
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs.Bytes())
	}
	record, _, _ := strings.Cut(out.String(), "\n\n") // for zone files, as it is printed
	r.open(t, record+`
author.example        TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.author.example TXT "v=DMARC1; p=reject"
`)
	return r
}

// TestSealRelayed lets a message come back several times: each set says what
// became of the chain so far, and vouches for what was found at first.
func TestSealRelayed(t *testing.T) {
	r := startSealing(t)
	both := func(msg []byte, ip string) (arc, dmarc authResult) {
		t.Helper()
		results, refused := r.results(t, passage{ip, "mx.nothing.example", "a@author.example"}, msg)
		if refused != "" {
			t.Fatal(refused)
		}
		return first(results, "arc"), first(results, "dmarc")
	}
	want := func(what string, got authResult, result, property, value string) {
		t.Helper()
		if got.result != result || got.props[property] != value {
			t.Errorf("%s: %v, want %s %s=%s", what, got, result, property, value)
		}
	}
	arc, dmarc := both([]byte("From: a@author.example\r\nSubject: x\r\n\r\nhi\r\n"), "192.0.2.1")
	want("arc, new", arc, "none", "header.oldest-pass", "")
	want("dmarc, new", dmarc, "pass", "policy.override-reason", "")
	once := r.last

	// From elsewhere SPF fails, and the seal of who saw it pass is what counts.
	arc, dmarc = both(once, "203.0.113.1")
	want("arc, once", arc, "pass", "header.oldest-pass", "0")
	want("dmarc, once", dmarc, "fail", "policy.override-reason", "trusted_forwarder")
	want("dmarc, once", dmarc, "fail", "policy.dmarc", "none")
	if !bytes.Contains(r.last, []byte("ARC-Seal: i=2; a=rsa-sha256; cv=pass; d=hop.example; s=seal;")) {
		t.Errorf("no second set in\n%s", r.last)
	}
	arc, _ = both(r.last, "203.0.113.1")
	want("arc, twice", arc, "pass", "header.oldest-pass", "0")

	// Whoever changes it in between breaks the chain, which ends here.
	arc, dmarc = both(bytes.Replace(once, []byte("hi\r\n"), []byte("ho\r\n"), 1), "203.0.113.1")
	want("arc, changed", arc, "fail", "header.oldest-pass", "")
	want("dmarc, changed", dmarc, "fail", "policy.override-reason", "")
	if !bytes.Contains(r.last, []byte("ARC-Seal: i=2; a=rsa-sha256; cv=fail; d=hop.example; s=seal;")) {
		t.Errorf("the chain does not end in\n%s", r.last)
	}
	arc, _ = both(r.last, "203.0.113.1")
	want("arc, ended", arc, "fail", "header.oldest-pass", "")
	if n := bytes.Count(r.last, []byte("ARC-Seal:")); n != 2 {
		t.Errorf("%d seals behind the end of a chain\n%s", n, r.last)
	}
}

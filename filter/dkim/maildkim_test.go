package dkim

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"os/exec"
	"testing"
	"time"
)

// published is the zone for verifiers that do not know bare RSAPublicKeys.
func (k *testKeys) published(t *testing.T) map[string]string {
	der, err := x509.MarshalPKIXPublicKey(k.small.Public())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"rsa._domainkey.example.org":   k.zone["rsa._domainkey.example.org"][0],
		"small._domainkey.example.org": "v=DKIM1; p=" + base64.StdEncoding.EncodeToString(der),
		"ed._domainkey.example.org":    k.zone["ed._domainkey.example.org"][0],
	}
}

// TestAgainstMailDKIM lets Mail::DKIM verify what dkimpy and go-msgauth sign,
// whole and broken.
func TestAgainstMailDKIM(t *testing.T) {
	const perl = "/usr/bin/perl"
	if exec.Command(perl, "-MMail::DKIM::ARC::Verifier", "-e", "1").Run() != nil {
		t.Skip("the oracle is not there: needs the Debian package libmail-dkim-perl")
	}
	oracle := startOracle(t, perl, "testdata/maildkim.pl")
	signer := startDkimpy(t)
	keys := newTestKeys(t)
	n := 800
	if testing.Short() {
		n = 150
	}
	compared, passes := 0, 0
	zone := keys.published(t) // it does not know Ed25519
	for seed := range uint64(n) {
		g := newGenerator(1<<33 + seed)
		g.tidy = true
		m := g.message()
		if g.IntN(2) == 0 {
			m = signer.sign(keys, g, m)
		} else {
			m = keys.sign(t, m, g.options())
		}
		m = g.mutate(m)
		if !bytes.HasSuffix(m, []byte("\r\n")) {
			m = append(m, "\r\n"...)
		}
		results := Verify(context.Background(), keys.resolver(), m, time.Now())
		var answer struct {
			Results []string
			Crashed string
		}
		oracle.ask(map[string]any{"op": "verify", "message": m, "zone": zone}, &answer)
		if len(answer.Results) != len(results) {
			continue // it leaves out what it cannot parse
		}
		compared++
		for i, r := range results {
			if r.Algorithm == "ed25519-sha256" {
				continue
			}
			if r.Status == Pass {
				passes++
			}
			if (r.Status == Pass) != (answer.Results[i] == "pass") && !excused(r, !(r.Status == Pass), m) {
				t.Fatalf("seed %d: got %+v, Mail::DKIM says %s\n%q", seed, r, answer.Results[i], m)
			}
		}
	}
	if compared < n/2 || passes < compared/8 || passes > compared*7/8 {
		t.Errorf("of %d messages %d were compared, and %d passed", n, compared, passes)
	}
}

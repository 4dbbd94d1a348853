package arc

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"mailweir/filter"
	"mailweir/internal/dkimcore"
	"mailweir/mail"
)

// ourSeal does what the gateway does: it validates m, and puts a set on top.
func ourSeal(t *testing.T, m []byte) ([]byte, Result) {
	t.Helper()
	key, err := dkimcore.NewPrivateKey("example.org", "rsa", keys().rsa)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := mail.HeaderLength(m)
	h := mail.ParseHeader(m[:n])
	r := Validate(context.Background(), resolver(), m, time.Now())
	body, err := dkimcore.HashBody(mail.Bytes(m[n:]))
	if err != nil {
		t.Fatal(err)
	}
	facts := r.facts()
	evidence := func(i int) []byte {
		return fmt.Appendf(nil, "ARC-Authentication-Results: i=%d; mx.example.org;\r\n\tdmarc=pass header.from=example.org\r\n", i)
	}
	return append(NewSealer(key).AppendSet(nil, &h, body, &facts, evidence, time.Now()), m...), r
}

// TestSeal: chains of our sets, and of ours and dkimpy's, are intact to both,
// and to Mail::DKIM.
func TestSeal(t *testing.T) {
	python := startDkimpy(t)
	perl := startMailDKIM(t)
	for seed := range uint64(30) {
		g := generator{rand.New(rand.NewPCG(seed, 2))}
		m, cv := g.message(), "none"
		for hop := range 1 + g.IntN(4) {
			ours := g.IntN(2) == 0
			if ours {
				m, _ = ourSeal(t, m)
			} else {
				m = python.seal(append(m, "-- \r\nfooter\r\n"...), hop, cv)
			}
			cv = "pass"
			got := Validate(context.Background(), resolver(), m, time.Now())
			if got.Status != Pass || len(got.Sealers) != hop+1 || ours && got.Vouched[hop] != "example.org" {
				t.Fatalf("seed %d: %+v\n%s", seed, got, m)
			}
			if theirs := python.verify(m); theirs != "pass" {
				t.Fatalf("seed %d: dkimpy says %s\n%s", seed, theirs, m)
			}
			if theirs := perl(m); theirs != "pass" {
				t.Fatalf("seed %d: Mail::DKIM says %s\n%s", seed, theirs, m)
			}
		}
	}
}

// TestSealBroken: a broken chain is sealed as such, once.
func TestSealBroken(t *testing.T) {
	python := startDkimpy(t)
	broken := newChain().grow(2)
	broken.fields = strings.Replace(broken.fields, "Subject: hi", "Subject: ho", 1)
	m, r := ourSeal(t, []byte(broken.String()))
	if r.Status != Fail || !strings.Contains(string(m), "ARC-Seal: i=3; a=rsa-sha256; cv=fail;") {
		t.Fatalf("%+v\n%s", r, m)
	}
	// The seal itself is right: it covers its own set, and nothing else.
	own, _, _ := strings.Cut(string(m), "ARC-Seal: i=2;")
	h := mail.ParseHeader([]byte(own))
	sets, reason := collect(&h, time.Now())
	if reason != "" || len(sets) != 1 {
		t.Fatal(reason, sets)
	}
	ks := dkimcore.NewKeys(context.Background(), lookup(resolver()), nil)
	ks.Fetch(&sets[0].seal.Signature)
	ks.Wait(context.Background())
	ks.Stop()
	v := Validation{sets: sets}
	if reason, err := checkSeal(sets[0], v.sealDigests()[0]); reason != "" || err != nil {
		t.Error(reason, err)
	}
	if theirs := python.verify(m); theirs != "fail" {
		t.Error(theirs)
	}
	again, _ := ourSeal(t, m)
	if len(again) != len(m) {
		t.Errorf("a chain that has ended was sealed:\n%s", again[:len(again)-len(m)])
	}
}

// TestSealNot: where a set would help nobody, there is none.
func TestSealNot(t *testing.T) {
	down := newChain().add(func(d *draft) { in(&d.seal, "s=ed", "s=down") })
	for what, m := range map[string]string{
		"instance 50":  newChain().grow(MaxSets).String(),
		"DNS failure":  down.String(),
		"stray fields": "ARC-Seal: hello\r\n" + goodFields + "\r\n" + goodBody,
	} {
		if sealed, r := ourSeal(t, []byte(m)); len(sealed) != len(m) {
			t.Errorf("%s (%+v): sealed", what, r)
		}
	}
	// The check did not run: nothing is known about the chain.
	key, err := dkimcore.NewPrivateKey("example.org", "rsa", keys().rsa)
	if err != nil {
		t.Fatal(err)
	}
	h := mail.ParseHeader([]byte(goodFields + "\r\n"))
	body, _ := dkimcore.HashBody(mail.Bytes(goodBody))
	if out := NewSealer(key).AppendSet(nil, &h, body, &filter.ARCFacts{}, func(int) []byte { return nil }, time.Now()); out != nil {
		t.Errorf("%s", out)
	}
}

// TestSealRedacted: a chain that was intact as it came and has lost a field
// since then is left alone.
func TestSealRedacted(t *testing.T) {
	key, err := dkimcore.NewPrivateKey("example.org", "rsa", keys().rsa)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := dkimcore.HashBody(mail.Bytes(goodBody))
	whole := mail.ParseHeader([]byte(newChain().grow(2).header() + "\r\n"))
	for _, cv := range []string{"none", "pass", "fail"} {
		for skip := range whole.Fields {
			var raw []byte
			for i, f := range whole.Fields {
				if i != skip {
					raw = append(raw, f.Raw...)
				}
			}
			h := mail.ParseHeader(append(raw, "\r\n"...))
			out := NewSealer(key).AppendSet(nil, &h, body, &filter.ARCFacts{Result: cv}, func(int) []byte {
				return []byte("ARC-Authentication-Results: i=3; x\r\n")
			}, time.Now())
			if isARC(whole.Fields[skip]) && cv != "fail" && out != nil {
				t.Errorf("cv=%s without %s: sealed", cv, whole.Fields[skip].Name())
			}
		}
	}
}

// FuzzVouched: nobody is vouched for without the words.
func FuzzVouched(f *testing.F) {
	f.Add(" i=1; mx.example; dmarc=pass header.from=example.org")
	f.Add(" i=1; (a \\) b) x; dmarc=pass reason=\"a; b\" header.from=\"example.org\"")
	f.Fuzz(func(t *testing.T, body string) {
		if d := vouched([]byte(body)); d != "" && (!strings.Contains(strings.ToLower(body), "dmarc=pass") || strings.ContainsAny(d, " ;\r\n")) {
			t.Errorf("%q vouches for %q", body, d)
		}
	})
}

// startMailDKIM asks filter/dkim/testdata/maildkim.pl.
func startMailDKIM(t *testing.T) func(m []byte) string {
	const perl = "/usr/bin/perl"
	if exec.Command(perl, "-MMail::DKIM::ARC::Verifier", "-e", "1").Run() != nil {
		t.Skip("the oracle is not there: needs the Debian package libmail-dkim-perl")
	}
	cmd := exec.Command(perl, "../dkim/testdata/maildkim.pl")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	d := &dkimpy{t, json.NewEncoder(stdin), bufio.NewReader(stdout)}
	zone := map[string]string{"rsa._domainkey.example.org": keys().zone["rsa._domainkey.example.org"][0]}
	return func(m []byte) string {
		var answer struct{ Result, Detail, Crashed string }
		d.ask(map[string]any{"op": "arc", "message": m, "zone": zone}, &answer)
		if answer.Result != "pass" {
			return answer.Result + " " + answer.Detail + answer.Crashed
		}
		return answer.Result
	}
}

package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailweir/internal/dkimcore"
	"mailweir/mail"
)

func privateKey(t testing.TB, selector string, signer crypto.Signer) *dkimcore.PrivateKey {
	t.Helper()
	k, err := dkimcore.NewPrivateKey("example.org", selector, signer)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// ownSign puts our own signatures on top of m, RSA and Ed25519 at once.
func ownSign(t testing.TB, keys *testKeys, m []byte) []byte {
	t.Helper()
	h, body := split(m)
	hash, err := dkimcore.HashBody(mail.Bytes(body))
	if err != nil {
		t.Fatal(err)
	}
	list := []*dkimcore.PrivateKey{privateKey(t, "rsa", keys.rsa), privateKey(t, "ed", keys.ed25519)}
	return append(dkimcore.AppendSignatures(nil, list, h, hash, time.Now()), m...)
}

// TestSign: all verifiers take what we sign, and none what was changed after.
func TestSign(t *testing.T) {
	keys := newTestKeys(t)
	python := startDkimpy(t)
	const perl = "/usr/bin/perl"
	if exec.Command(perl, "-MMail::DKIM::ARC::Verifier", "-e", "1").Run() != nil {
		t.Skip("the oracle is not there: needs the Debian package libmail-dkim-perl")
	}
	maildkim := startOracle(t, perl, "testdata/maildkim.pl")
	for seed := range uint64(200) {
		g := newGenerator(1<<34 + seed)
		g.tidy = true
		m := ownSign(t, keys, g.message())
		if !bytes.HasSuffix(m, []byte("\r\n")) {
			m = append(m, "\r\n"...)
		}
		broken := seed%4 == 0
		if broken {
			m = bytes.Replace(m, []byte("\r\n\r\n"), []byte("\r\nSubject: over\r\n\r\n"), 1)
		}
		want := []bool{!broken, !broken}
		if got := passing(statuses(Verify(context.Background(), keys.resolver(), m, time.Now()))); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("seed %d: our own verifier: %v\n%q", seed, got, m)
		}
		if got := passing(msgauthResults(t, keys, m)); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("seed %d: go-msgauth: %v\n%q", seed, got, m)
		}
		if got, refused := python.verify(keys, m); !refused && fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("seed %d: dkimpy: %v\n%q", seed, got, m)
		}
		var answer struct{ Results []string }
		zone := map[string]string{"rsa._domainkey.example.org": keys.zone["rsa._domainkey.example.org"][0]}
		maildkim.ask(map[string]any{"op": "verify", "message": m, "zone": zone}, &answer)
		if len(answer.Results) != 2 || (answer.Results[0] == "pass") == broken {
			t.Fatalf("seed %d: Mail::DKIM: %v\n%q", seed, answer.Results, m)
		}
		for line := range bytes.SplitSeq(m[:bytes.Index(m, []byte("From"))], []byte("\r\n")) {
			if len(line) > 78 {
				t.Fatalf("a line of %d octets: %q", len(line), line)
			}
		}
	}
}

// TestOpendkimVerifies hands a message that we signed to opendkim.
func TestOpendkimVerifies(t *testing.T) {
	opendkim := "/usr/sbin/opendkim"
	if _, err := os.Stat(opendkim); err != nil {
		t.Skip("the oracle is not there: needs the Debian package opendkim")
	}
	keys := newTestKeys(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	der, err := x509.MarshalPKIXPublicKey(keys.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	published := write("keys", "rsa._domainkey.example.org v=DKIM1; k=rsa; p="+base64.StdEncoding.EncodeToString(der)+"\n")
	conf := write("conf", "Mode v\nTestPublicKeys "+published+"\n")
	good := string(ownSign(t, keys, simpleMessage))
	for name, m := range map[string]string{"good": good, "bad": strings.Replace(good, "Hello", "hello", 1)} {
		out, err := exec.Command(opendkim, "-x", conf, "-vvv", "-t", write(name, m)).CombinedOutput()
		if (err == nil && bytes.Contains(out, []byte("dkim=pass (2048-bit key) header.d=example.org"))) != (name == "good") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestPrivateKeyFiles: what a key file may be, and who may read it.
func TestPrivateKeyFiles(t *testing.T) {
	keys := newTestKeys(t)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(keys.ed25519)
	if err != nil {
		t.Fatal(err)
	}
	ed := "-----BEGIN PRIVATE KEY-----\n" + base64.StdEncoding.EncodeToString(pkcs8) + "\n-----END PRIVATE KEY-----\n"
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		wrong      string
	}{
		{"PKCS #1", string(keys.pem()), 0o600, ""},
		{"PKCS #8", ed, 0o640, ""},
		{"text before it", "my key\n" + ed, 0o600, ""},
		{"world-readable", ed, 0o644, "0644"},
		{"empty", "", 0o600, "PEM"},
		{"public", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", 0o600, "PUBLIC KEY"},
		{"broken", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600, "asn1"},
	} {
		file := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(file, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		k, err := dkimcore.LoadPrivateKey("Example.org.", "s1", file)
		if c.wrong == "" && (err != nil || k.Name() != "s1._domainkey.example.org") || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s: %+v, %v", c.name, k, err)
		}
		if err != nil {
			continue
		}
		public, err := dkimcore.ParseKey(k.Record())
		if err != nil || !k.Matches(public) {
			t.Errorf("%s: record %q: %v", c.name, k.Record(), err)
		}
		if other := privateKey(t, "rsa", keys.rsa); other.Matches(public) {
			t.Errorf("%s: another key matches", c.name)
		}
	}
}

// TestSignerKeys: the nearest domain signs, with all of its keys.
func TestSignerKeys(t *testing.T) {
	keys := newTestKeys(t)
	make1 := func(domain, selector string) *dkimcore.PrivateKey {
		k, err := dkimcore.NewPrivateKey(domain, selector, keys.ed25519)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	s := dkimcore.NewSigner([]*dkimcore.PrivateKey{
		make1("example.org", "a"), make1("mail.example.org", "m"), make1("example.org", "b"), make1("example.net", "n"),
	})
	for author, want := range map[string]string{
		"example.org": "a b", "x.example.org": "a b", "mail.example.org": "m", "y.mail.example.org": "m",
		"example.net": "n", "badexample.org": "", "org": "", "": "",
	} {
		var got []string
		for _, k := range s.Keys(author) {
			got = append(got, k.Selector)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", author, got, want)
		}
	}
	if (*dkimcore.Signer)(nil).Keys("example.org") != nil {
		t.Error("no signer has keys")
	}
}

func BenchmarkSign(b *testing.B) {
	keys := newTestKeys(b)
	h, body := split(simpleMessage)
	for _, k := range []*dkimcore.PrivateKey{privateKey(b, "rsa", keys.rsa), privateKey(b, "ed", keys.ed25519)} {
		b.Run(k.Algorithm, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				hash, _ := dkimcore.HashBody(mail.Bytes(body))
				dkimcore.AppendSignatures(nil, []*dkimcore.PrivateKey{k}, h, hash, time.Unix(0, 0))
			}
		})
	}
}

// FuzzSign: what we sign we verify, whatever the message looks like.
func FuzzSign(f *testing.F) {
	f.Add("To: b\r\nSubject:  a \r\n\tb", "Hello\r\n")
	f.Add("from: x\r\nDKIM-Signature: v=1\r\n :", " \r\n\r\n")
	f.Fuzz(func(t *testing.T, head, body string) {
		clean := strings.NewReplacer("\r", "", "\x00", "")
		crlf := func(s string) string { return strings.ReplaceAll(clean.Replace(s), "\n", "\r\n") }
		m := []byte("From: a@example.org\r\n" + crlf(head) + "\r\n\r\n" + crlf(body))
		keys := newTestKeys(t)
		h, rest := split(m)
		hash, err := dkimcore.HashBody(mail.Bytes(rest))
		if err != nil {
			t.Fatal(err)
		}
		signed := append(dkimcore.AppendSignatures(nil, []*dkimcore.PrivateKey{privateKey(t, "ed", keys.ed25519)}, h, hash, time.Unix(0, 0)), m...)
		if r := Verify(context.Background(), keys.resolver(), signed, time.Unix(1, 0)); r[0].Status != Pass {
			t.Errorf("%s (%s)\n%q", r[0].Status, r[0].Reason, signed)
		}
	})
}

package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mailweir/internal/mailtest"
)

// outboundStory has a listener of each role, finds exchangers in DNS, and signs
// with two keys.
const outboundStory = `
hostname = "mx.example.org"
data_dir = "{{.Dir}}/data"
[[listener]]
address         = "{{.Listen}}"
trusted_proxies = ["127.0.0.0/8"]
[[listener]]
address = "{{.Listen2}}"
role    = "outbound"
[outbound]
passwords = "{{.Dir}}/passwords"
client_ca = "{{.Dir}}/ca.pem"
[dns]
servers = ["{{.DNS}}"]
[metrics]
address = "{{.Metrics}}"
[[domain]]
name      = "example.org"
next_hops = ["{{.Sink}}"]
[relay]
outbound       = "mx"
outbound_allow = ["127.0.0.0/8"]
[privacy]
redact        = "all"
signed_fields = "{{.SignedFields}}"
[[dkim]]
domain   = "example.org"
selector = "2026a"
key      = "rsa.pem"
[[dkim]]
domain   = "example.org"
selector = "2026e"
key      = "ed25519.pem"
`

// outboundWorld is running, as submissionWorld is; records are those of its DKIM
// keys, and exchanger is what DNS names for other.example.
func outboundWorld(t *testing.T, signedFields string) (w *world, certificate tls.Certificate, exchanger *mailtest.Sink, records map[string]string) {
	t.Helper()
	w = newWorld(t, t.TempDir())
	w.names["SignedFields"] = signedFields
	var out bytes.Buffer
	if code := dispatch(t.Context(), stdio{strings.NewReader("secret\n"), &out, os.Stderr}, []string{"passwd", "anna@example.org"}); code != exitOK {
		t.Fatalf("passwd: %d", code)
	}
	w.write("passwords", out.String())
	authority, certificate := clientCertificate(t)
	w.write("ca.pem", authority)
	exchanger, address := startExchanger(t)
	zone := fmt.Sprintf("other.example MX 10 mail.other.example.\nmail.other.example A %s\n", address)
	records = map[string]string{}
	for selector, kind := range map[string]string{"2026a": "rsa", "2026e": "ed25519"} {
		said := mustRun(t, w.binary, "dkim", "keygen", "--domain", "example.org", "--selector", selector, "--type", kind, "--out", w.path(kind+".pem"))
		published, _, _ := strings.Cut(said, "\n\n#")
		name := selector + "._domainkey.example.org"
		zone += name + " TXT"
		for _, part := range zoneString.FindAllStringSubmatch(published, -1) {
			zone += fmt.Sprintf(" %q", part[1])
			records[name] += part[1]
		}
		zone += "\n"
	}
	if err := w.dns.Replace(zone); err != nil {
		t.Fatal(err)
	}
	w.write("gateway.toml", outboundStory)
	w.start()
	return w, certificate, exchanger, records
}

// startExchanger listens on port 25, which exchangers have, of a loopback
// address that hardly anybody else uses.
func startExchanger(t *testing.T) (s *mailtest.Sink, address string) {
	t.Helper()
	address = fmt.Sprintf("127.%d.%d.25", 100+mathrand.IntN(100), mathrand.IntN(256))
	s, err := mailtest.StartSink(mailtest.SinkOptions{Address: address + ":25"})
	if err != nil {
		mailtest.SkipHarness(t, "port 25 of a loopback address: "+err.Error())
	}
	t.Cleanup(func() {
		s.Close()
		for _, fault := range s.Faults() {
			t.Error(fault)
		}
	})
	return s, address
}

// submissionClient is one past STARTTLS and EHLO.
func submissionClient(t *testing.T, w *world, config *tls.Config) *client {
	t.Helper()
	cl, err := w.dial("Listen2")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.close)
	cl.reply()
	for _, line := range []string{"EHLO canary-laptop.home.example", "STARTTLS"} {
		if got, err := cl.do("%s", line); err != nil || got[0] != '2' {
			t.Fatalf("%s: %s, %v", line, got, err)
		}
	}
	cl.upgrade(config)
	if got, err := cl.do("EHLO canary-laptop.home.example"); err != nil || !strings.Contains(got, "AUTH PLAIN") {
		t.Fatalf("EHLO: %s, %v", got, err)
	}
	return cl
}

// submitted is what a mail program in somebody's home hands in: it names the
// computer in its fields, and in what it wrote.
const submitted = "Received: from canary-desk.home.example ([192.168.1.77]) by canary-laptop.home.example (Postfix) with ESMTP id 4Q1; Sat, 21 Nov 2026 10:00:00 +0000\r\n" +
	"X-Originating-IP: [203.0.113.77]\r\nX-Mailer: Mail 1.0\r\nFrom: Anna <anna@example.org>\r\nTo: bob@other.example\r\nSubject: minutes of %s\r\n" +
	"Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <%[1]s@example.org>\r\nMIME-Version: 1.0\r\n\r\nThe  minutes of %[1]s.\r\n\r\n"

func (c *client) handIn(t *testing.T, what string) {
	t.Helper()
	for _, line := range []string{"MAIL FROM:<anna@example.org>", "RCPT TO:<bob@other.example>", "DATA"} {
		if got, err := c.do("%s", line); err != nil || got[0] > '3' {
			t.Fatalf("%s: %s, %v", line, got, err)
		}
	}
	c.data(fmt.Appendf(nil, submitted, what))
	if got, err := c.reply(); err != nil || !strings.HasPrefix(got, "250 2.0.0 Ok: queued as") {
		t.Fatalf("%s: %s, %v", what, got, err)
	}
}

// TestOutboundStory: a client with a certificate, one that logs in, and none
// other, hand mail in; it goes to the exchanger that DNS names, tells nothing of
// them, and has two signatures that others verify.
func TestOutboundStory(t *testing.T) {
	t.Parallel()
	w, certificate, exchanger, records := outboundWorld(t, "keep")
	anonymous := submissionClient(t, w, &tls.Config{InsecureSkipVerify: true})
	if got, err := anonymous.do("MAIL FROM:<anna@example.org>"); err != nil || !strings.HasPrefix(got, "530 5.7.0") {
		t.Fatalf("nobody in particular: %s, %v", got, err)
	}
	submissionClient(t, w, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{certificate}}).handIn(t, "certificate")
	login := submissionClient(t, w, &tls.Config{InsecureSkipVerify: true})
	if got, err := login.do("AUTH PLAIN %s", plainCredentials("anna@example.org", "secret")); err != nil || !strings.HasPrefix(got, "235") {
		t.Fatalf("AUTH: %s, %v", got, err)
	}
	login.handIn(t, "login")
	for n, m := range exchanger.Wait(t, 2, patience) {
		what := []string{"certificate", "login"}[n]
		if m.Helo != "mx.example.org" || m.From != "anna@example.org" || len(m.Rcpts) != 1 || m.Rcpts[0].Path != "bob@other.example" {
			t.Errorf("%s: envelope %+v", what, m)
		}
		noCanary(t, what, m.Data, "canary", "home.example", "192.168.1.77", "203.0.113.77", "127.0.0.1", "laptop", "X-Originating-IP", "X-Spam", "Authentication-Results", "secret")
		for _, want := range []string{"Received: from redacted.invalid", "by redacted.invalid (Postfix) with ESMTP id 4Q1; Sat, 21 Nov 2026 10:00:00 +0000\r\n", "\r\nSubject: minutes of " + what + "\r\n", "\r\n\r\nThe  minutes of " + what + ".\r\n\r\n"} {
			if !bytes.Contains(m.Data, []byte(want)) {
				t.Errorf("no %q in\n%s", want, m.Data)
			}
		}
		verifyByOthers(t, records, m.Data, map[string]bool{"2026a": true, "2026e": true})
		altered := bytes.Replace(m.Data, []byte("minutes"), []byte("records"), 1)
		verifyByOthers(t, records, altered, map[string]bool{"2026a": false, "2026e": false})
	}
}

// TestIncomingSignatures: mail that came signed has its client redacted on the way
// in, and others still verify the signature when it covers no field that is
// redacted. When it does, the field is kept, or redacted and signed again in our
// name.
func TestIncomingSignatures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		signedFields string
		covered      []string
		fieldStays   bool
		want         map[string]bool // by selector
	}{
		{"keep", []string{"From", "Subject", "Date"}, false, map[string]bool{"2026a": true}},
		{"keep", []string{"From", "Subject", "X-Originating-IP"}, true, map[string]bool{"2026a": true}},
		{"redact", []string{"From", "Subject", "Date"}, false, map[string]bool{"2026a": true}},
		// the broken one stays below the two new ones
		{"redact", []string{"From", "Subject", "X-Originating-IP"}, false, map[string]bool{"2026a": true, "2026e": true, "2026a again": false}},
	} {
		t.Run(c.signedFields+" "+strings.Join(c.covered, " "), func(t *testing.T) {
			t.Parallel()
			w, _, _, records := outboundWorld(t, c.signedFields)
			key, err := os.ReadFile(w.path("rsa.pem"))
			if err != nil {
				t.Fatal(err)
			}
			message := strings.NewReplacer("bob@other.example", "bob@example.org", "by canary-laptop.home.example", "by mx.example.net").Replace(fmt.Sprintf(submitted, "signed"))
			signed := dkimpySign(t, w.dir, key, message, c.covered)
			sendAs(t, w, "203.0.113.77", "canary-laptop.home.example", "bob@example.org", string(signed))
			got, err := w.sinks["Sink"].wait(1, patience)
			if err != nil {
				t.Fatal(err)
			}
			data := got[0].Data
			if bytes.Contains(data, []byte("X-Originating-IP: [203.0.113.77]")) != c.fieldStays {
				t.Errorf("the field stays: %v\n%s", !c.fieldStays, data)
			}
			noCanary(t, "the next hop", bytes.ReplaceAll(data, []byte("X-Originating-IP: [203.0.113.77]"), nil), "canary", "192.168.1.77", "203.0.113.77")
			verifyByOthers(t, records, data, c.want)
		})
	}
}

// dkimpySign signs with selector 2026a of example.org.
func dkimpySign(t *testing.T, dir string, key []byte, message string, covered []string) []byte {
	t.Helper()
	python(t)
	const script = `import dkim, sys
m = open(sys.argv[1], "rb").read()
sys.stdout.buffer.write(dkim.sign(m, b"2026a", b"example.org", open(sys.argv[2], "rb").read(), include_headers=[h.encode() for h in sys.argv[3:]]) + m)`
	plain, pem := filepath.Join(dir, "plain.eml"), filepath.Join(dir, "pkcs1.pem")
	if err := os.WriteFile(plain, []byte(message), 0o600); err != nil {
		t.Fatal(err)
	}
	// dkimpy reads the older form of key files.
	if out, err := exec.Command(tool(t, "openssl"), "pkey", "-traditional", "-in", filepath.Join(dir, "rsa.pem"), "-out", pem).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s%s", err, out, key)
	}
	out, err := exec.Command(debianPython, append([]string{"-c", script, plain, pem}, covered...)...).Output()
	if err != nil {
		t.Fatalf("dkimpy: %v", err)
	}
	return out
}

// debianPython has the modules of Debian packages.
const debianPython = "/usr/bin/python3"

func python(t *testing.T) {
	t.Helper()
	if exec.Command(debianPython, "-c", "import dkim, nacl").Run() != nil {
		mailtest.SkipHarness(t, "the oracle is not there: needs the Debian packages python3-dkim and python3-nacl")
	}
}

// signatureFields finds DKIM-Signature fields, with their folds.
var (
	signatureFields = regexp.MustCompile(`(?mi)^DKIM-Signature:.*\n([ \t].*\n)*`)
	selectorTag     = regexp.MustCompile(`[ \t;]s=([^;\s]+)`)
)

// verifyByOthers has dkimpy and OpenDKIM look at each signature by itself. want
// says by selector, with " again" for the second of one, which are valid; there
// must be no others.
func verifyByOthers(t *testing.T, records map[string]string, message []byte, want map[string]bool) {
	t.Helper()
	python(t)
	fields := signatureFields.FindAll(message, -1)
	rest := signatureFields.ReplaceAll(message, nil)
	got := map[string]bool{}
	for _, f := range fields {
		selector := string(selectorTag.FindSubmatch(f)[1])
		if _, twice := got[selector]; twice {
			selector += " again"
		}
		one := slices.Concat(f, rest)
		byDkimpy, byOpenDKIM := dkimpyVerifies(t, records, one), openDKIMVerifies(t, records, one)
		if byDkimpy != byOpenDKIM {
			t.Errorf("%s: dkimpy says %v, OpenDKIM %v\n%s", selector, byDkimpy, byOpenDKIM, one)
		}
		got[selector] = byDkimpy && byOpenDKIM
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("valid signatures: %v, want %v\n%s", got, want, message)
	}
}

func dkimpyVerifies(t *testing.T, records map[string]string, message []byte) bool {
	t.Helper()
	request, err := json.Marshal(map[string]any{"op": "verify", "message": message, "zone": records})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(debianPython, "../../filter/dkim/testdata/dkimpy.py")
	cmd.Stdin = bytes.NewReader(append(request, '\n'))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("dkimpy: %v", err)
	}
	var answer struct{ Pass []bool }
	if err := json.Unmarshal(out, &answer); err != nil || len(answer.Pass) != 1 {
		t.Fatalf("dkimpy: %v, %s", err, out)
	}
	return answer.Pass[0]
}

func openDKIMVerifies(t *testing.T, records map[string]string, message []byte) bool {
	t.Helper()
	dir := t.TempDir()
	var keys bytes.Buffer
	for name, record := range records {
		fmt.Fprintf(&keys, "%s %s\n", name, record)
	}
	conf := "Mode v\nTestPublicKeys " + filepath.Join(dir, "keys") + "\n"
	for name, data := range map[string][]byte{"keys": keys.Bytes(), "conf": []byte(conf), "eml": message} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, _ := exec.Command(tool(t, "opendkim"), "-x", filepath.Join(dir, "conf"), "-vvv", "-t", filepath.Join(dir, "eml")).CombinedOutput()
	return regexp.MustCompile(`dkim=pass (\(\d+-bit key\) )?header\.d=example\.org`).Match(out)
}

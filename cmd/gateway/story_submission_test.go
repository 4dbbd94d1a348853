package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"mailweir/internal/mailtest"
)

// submissionConfig has a listener of each role. Clients of 127.0.0.0/8 are
// nobody in particular; the trusted proxy lets tests be anybody.
const submissionConfig = `
hostname = "mx.example.org"
data_dir = "{{.Dir}}/data"
[[listener]]
address         = "{{.Listen}}"
trusted_proxies = ["127.0.0.0/8"]
[[listener]]
address         = "{{.Listen2}}"
role            = "outbound"
trusted_proxies = ["127.0.0.0/8"]
[[listener]]
address      = "{{.Listen3}}"
role         = "outbound"
implicit_tls = true
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
outbound = "{{.Sink2}}"
[privacy]
own_networks = ["10.0.0.0/8"]
[[rate_limit]]
by         = "user"
recipients = 20
per        = "1d"
`

// submissionWorld is running, with a user anna@example.org, password "secret",
// and a certificate of "laptop.example.org".
func submissionWorld(t *testing.T) (*world, tls.Certificate) {
	t.Helper()
	w := newWorld(t, t.TempDir())
	var out bytes.Buffer
	if code := dispatch(t.Context(), stdio{strings.NewReader("secret\n"), &out, os.Stderr}, []string{"passwd", "anna@example.org"}); code != 0 {
		t.Fatalf("passwd: %d", code)
	}
	w.write("passwords", out.String())
	authority, certificate := clientCertificate(t)
	w.write("ca.pem", authority)
	w.write("gateway.toml", submissionConfig)
	w.start()
	return w, certificate
}

// clientCertificate is one of an authority of its own.
func clientCertificate(t *testing.T) (authority string, c tls.Certificate) {
	t.Helper()
	make := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			parent, signer = template, key
		}
		template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	ca, caKey := make(&x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	leaf, key := make(&x509.Certificate{DNSNames: []string{"laptop.example.org"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca, caKey)
	authority = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
	return authority, tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}
}

func plainCredentials(user, secret string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + secret))
}

// TestNoOpenRelay: who may send where, for each role and each kind of client.
// Every row that says "no" has a twin that differs in one thing and says yes.
func TestNoOpenRelay(t *testing.T) {
	t.Parallel()
	w, certificate := submissionWorld(t)
	const stranger, colleague = "203.0.113.9", "10.1.2.3"
	for _, c := range []struct {
		name        string
		listener    string
		client      string // by XCLIENT; "" none
		tls         bool
		certificate bool
		auth        string // reply code that AUTH gets
		from, to    string
		mail, rcpt  string // reply codes
	}{
		{"mx, stranger, ours", "Listen", stranger, false, false, "", "x@sender.example", "bob@example.org", "250", "250"},
		{"mx, stranger, foreign", "Listen", stranger, false, false, "", "x@sender.example", "bob@other.example", "250", "554"},
		{"mx, own network, foreign", "Listen", colleague, false, false, "", "x@example.org", "bob@other.example", "250", "554"},
		{"mx, own sender, foreign", "Listen", stranger, false, false, "", "x@example.org", "bob@other.example", "250", "554"},
		{"mx knows no AUTH", "Listen", "", true, false, "500", "x@sender.example", "bob@other.example", "250", "554"},
		{"outbound, stranger", "Listen2", stranger, false, false, "", "x@example.org", "bob@other.example", "530", ""},
		{"outbound, stranger, ours", "Listen2", stranger, false, false, "", "x@example.org", "bob@example.org", "530", ""},
		{"outbound, stranger, TLS", "Listen2", "", true, false, "", "x@example.org", "bob@other.example", "530", ""},
		{"outbound, AUTH in clear", "Listen2", "", false, false, "538", "x@example.org", "bob@other.example", "530", ""},
		{"outbound, AUTH", "Listen2", "", true, false, "235", "x@example.org", "bob@other.example", "250", "250"},
		{"outbound, AUTH, ours", "Listen2", "", true, false, "235", "x@example.org", "bob@example.org", "250", "250"},
		{"outbound, AUTH, foreign sender", "Listen2", "", true, false, "235", "x@sender.example", "bob@other.example", "553", ""},
		{"outbound, AUTH, DSN", "Listen2", "", true, false, "235", "", "bob@other.example", "250", "250"},
		{"outbound, certificate", "Listen2", "", true, true, "", "x@example.org", "bob@other.example", "250", "250"},
		{"outbound, own network", "Listen2", colleague, false, false, "", "x@example.org", "bob@other.example", "250", "250"},
		{"outbound, own network, foreign sender", "Listen2", colleague, false, false, "", "x@sender.example", "bob@other.example", "553", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cl, err := w.dial(c.listener)
			if err != nil {
				t.Fatal(err)
			}
			defer cl.close()
			say := func(want, format string, args ...any) {
				t.Helper()
				if got, err := cl.do(format, args...); err != nil || !strings.HasPrefix(got, want) {
					t.Fatalf("%s: %q, %v; want %s", fmt.Sprintf(format, args...), got, err, want)
				}
			}
			cl.reply()
			say("250", "EHLO client.example")
			if c.client != "" {
				say("220", "XCLIENT ADDR=%s NAME=[UNAVAILABLE]", c.client)
				say("250", "EHLO client.example")
			}
			if c.tls {
				say("220", "STARTTLS")
				config := &tls.Config{InsecureSkipVerify: true}
				if c.certificate {
					config.Certificates = []tls.Certificate{certificate}
				}
				cl.upgrade(config)
				say("250", "EHLO client.example")
			}
			if c.auth != "" {
				say(c.auth, "AUTH PLAIN %s", plainCredentials("anna@example.org", "secret"))
			}
			say(c.mail, "MAIL FROM:<%s>", c.from)
			if c.rcpt != "" {
				say(c.rcpt, "RCPT TO:<%s>", c.to)
			}
		})
	}
}

// TestSwaksSubmits: swaks logs in through TLS; what arrives tells nothing of
// the client and nothing of how we judge. Wrong passwords and a From field of
// somebody else are refused.
func TestSwaksSubmits(t *testing.T) {
	t.Parallel()
	swaks := tool(t, "swaks")
	w, _ := submissionWorld(t)
	send := func(want int, args ...string) string {
		t.Helper()
		out, code := runTool(t, swaks, append([]string{"--server", w.names["Listen2"], "--helo", "laptop.home.example", "--to", "bob@other.example", "--from", "anna@example.org"}, args...)...)
		if code != want {
			t.Fatalf("swaks %v: exit %d, not %d\n%s", args, code, want, out)
		}
		return out
	}
	login := []string{"--tls", "--auth", "PLAIN", "--auth-user", "anna@example.org", "--auth-password"}
	ok := send(0, append(login, "secret", "--add-header", "X-Originating-IP: 203.0.113.9")...)
	if !strings.Contains(ok, "235 2.7.0") || !strings.Contains(ok, "250-AUTH PLAIN") {
		t.Errorf("no log-in in\n%s", ok)
	}
	if out := send(28, append(login, "wrong")...); !strings.Contains(out, "535 5.7.8") {
		t.Errorf("a wrong password:\n%s", out)
	}
	if out := send(28, "--auth", "PLAIN", "--auth-user", "anna@example.org", "--auth-password", "secret"); strings.Contains(out, "AUTH PLAIN AG") {
		t.Errorf("AUTH was offered in clear:\n%s", out)
	}
	if out := send(26, append(login, "secret", "--header", "From: Boss <boss@other.example>")...); !strings.Contains(out, "550 5.7.1") {
		t.Errorf("somebody else's From field:\n%s", out)
	}
	got, err := w.sinks["Sink2"].wait(1, patience)
	if err != nil {
		t.Fatal(err)
	}
	head, _ := split(got[0].Data)
	for _, word := range []string{"127.0.0.1", "203.0.113.9", "laptop.home", "X-Spam", "Authentication-Results", "anna@example.org (", "secret"} {
		if bytes.Contains(head, []byte(word)) {
			t.Errorf("%q is in\n%s", word, head)
		}
	}
	for _, word := range []string{"Received: from redacted.invalid", "with ESMTPSA id", "\r\nDate: ", "\r\nMessage-ID: "} {
		if !bytes.Contains(head, []byte(word)) && !bytes.Contains(head, []byte(strings.ReplaceAll(word, "ID", "Id"))) {
			t.Errorf("%q is not in\n%s", word, head)
		}
	}
}

// TestUserLimit: a stolen password sends no more than a user may send in a day,
// from wherever, and colleagues without a log-in are not held up by it.
func TestUserLimit(t *testing.T) {
	t.Parallel()
	w, _ := submissionWorld(t)
	session := func(login bool) *client {
		cl, err := w.dial("Listen2")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.close)
		cl.reply()
		cl.do("EHLO client.example")
		if login {
			cl.do("STARTTLS")
			cl.upgrade(&tls.Config{InsecureSkipVerify: true})
			cl.do("EHLO client.example")
			cl.do("AUTH PLAIN %s", plainCredentials("anna@example.org", "secret"))
		} else {
			cl.do("XCLIENT ADDR=10.1.2.3")
			cl.do("EHLO client.example")
		}
		cl.do("MAIL FROM:<anna@example.org>")
		return cl
	}
	rcpt := func(cl *client, n int, want string) {
		t.Helper()
		got, err := cl.do("RCPT TO:<r%d@other.example>", n)
		if err != nil || !matches(want, got) {
			t.Fatalf("recipient %d: %q, %v; want %s", n, got, err, want)
		}
	}
	first, second, colleague := session(true), session(true), session(false)
	for n := range 20 {
		rcpt(first, n, "250 2.1.5")
	}
	rcpt(first, 20, "450 4.7.1 Too many recipients from you: try again in 72 minutes; id {ID}")
	rcpt(second, 0, "450 4.7.1 Too many recipients from you")
	rcpt(colleague, 0, "250 2.1.5")
}

// TestGuessingEnds: three wrong passwords end the session, ten those of the
// network, the right one included.
func TestGuessingEnds(t *testing.T) {
	t.Parallel()
	w, _ := submissionWorld(t)
	guess := func(secret string) string {
		cl, err := w.dial("Listen3")
		if err != nil {
			t.Fatal(err)
		}
		defer cl.close()
		cl.upgrade(&tls.Config{InsecureSkipVerify: true})
		cl.reply()
		cl.do("EHLO client.example")
		var got string
		for range 3 {
			if got, err = cl.do("AUTH PLAIN %s", plainCredentials("anna@example.org", secret)); err != nil || !strings.HasPrefix(got, "535") {
				return got
			}
		}
		if err := cl.closed(); err != nil {
			t.Errorf("after three guesses: %v", err)
		}
		return got
	}
	if got := guess("secret"); !strings.HasPrefix(got, "235") {
		t.Fatalf("the right password: %s", got)
	}
	for range 3 {
		guess("wrong")
	}
	if got := guess("wrong"); !strings.HasPrefix(got, "454") {
		t.Errorf("after nine guesses and one: %s", got)
	}
	if got := guess("secret"); !strings.HasPrefix(got, "454") {
		t.Errorf("the right password after ten wrong ones: %s", got)
	}
}

// TestAuthDialogue: the replies of RFC 4954 sections 4 and 6.
func TestAuthDialogue(t *testing.T) {
	t.Parallel()
	w, _ := submissionWorld(t)
	cl, err := w.dial("Listen3")
	if err != nil {
		t.Fatal(err)
	}
	defer cl.close()
	cl.upgrade(&tls.Config{InsecureSkipVerify: true})
	cl.reply()
	right := plainCredentials("anna@example.org", "secret")
	for _, step := range [][2]string{
		{"AUTH PLAIN " + right, "503"}, // before EHLO
		{"EHLO client.example", "250 mx.example.org"},
		{"AUTH LOGIN", "504 5.5.4"},
		{"AUTH PLAIN", "334 "}, {"*", "501 5.0.0"},
		{"AUTH PLAIN =", "501 5.5.2"},
		{"AUTH PLAIN", "334 "}, {"no base64!", "501 5.5.2"},
		{"MAIL FROM:<anna@example.org>", "530 5.7.0"},
		{"AUTH PLAIN", "334 "}, {right, "235 2.7.0"},
		{"AUTH PLAIN " + right, "503 5.5.1"},
		{"MAIL FROM:<anna@example.org> AUTH=<>", "250 2.1.0"},
		{"RSET", "250"},
		{"EHLO client.example", "250 mx.example.org"}, // who greets again stays logged in
		{"MAIL FROM:<anna@example.org> AUTH=anna@example.org", "250 2.1.0"},
		{"AUTH PLAIN " + right, "503 5.5.1"},
	} {
		got, err := cl.do("%s", step[0])
		if err != nil || !strings.HasPrefix(got, step[1]) {
			t.Fatalf("%s: %q, %v; want %s", step[0], got, err, step[1])
		}
		if strings.HasPrefix(step[0], "EHLO") && strings.Contains(got, "AUTH PLAIN") != (step[1] == "250 mx.example.org" && !strings.Contains(strings.Join(cl.all, "\n"), "235 2.7.0")) {
			t.Errorf("AUTH in %q", got)
		}
	}
}

// TestPostfixSubmits: a Postfix that logs in at us as at a smarthost.
func TestPostfixSubmits(t *testing.T) {
	t.Parallel()
	swaks := tool(t, "swaks")
	w, _ := submissionWorld(t)
	passwords := w.write("sasl", fmt.Sprintf("[127.0.0.1]:%s anna@example.org:secret\n", portOf(w.names["Listen2"])))
	p := mailtest.StartPostfix(t, w.names["Listen2"],
		"smtp_tls_security_level = encrypt", "smtp_sasl_auth_enable = yes", "smtp_sasl_security_options =",
		"smtp_sasl_mechanism_filter = plain", "smtp_sasl_password_maps = texthash:"+passwords)
	if out, code := runTool(t, swaks, "--server", p.Addr, "--from", "anna@example.org", "--to", "bob@mx.test"); code != 0 {
		t.Fatalf("%s", out)
	}
	got, err := w.sinks["Sink2"].wait(1, patience)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Log())
	}
	head, _ := split(got[0].Data)
	if n := bytes.Count(head, []byte("Received: from redacted.invalid")); n != 2 || bytes.Contains(head, []byte("127.0.0.1")) {
		t.Errorf("%d redacted hops in\n%s", n, head)
	}
}

// upgrade does the handshake with that configuration.
func (c *client) upgrade(config *tls.Config) {
	t := tls.Client(c.nc, config)
	c.nc, c.r = t, bufio.NewReader(t)
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// runTool runs a client that may fail, and gives its exit code.
func runTool(t *testing.T, name string, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command(name, args...)
	b, err := cmd.CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		t.Fatalf("%s: %v", cmd, err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"mailweir/filter/arc"
	"mailweir/filter/dkim"
	"mailweir/internal/dns"
	"mailweir/internal/dns/dnstest"
	"mailweir/internal/mailtest"
)

// signingWorld is a gateway with two keys for example.org, its DNS, its next
// hop and somebody else's mail exchanger.
type signingWorld struct {
	t         *testing.T
	dir       string
	zone      *dns.Fake
	server    *dnstest.Server
	hop       *mailtest.Sink
	exchanger *mailtest.Sink
	g         *gateway
}

const signingConfig = `
hostname = "mx.example.org"
data_dir = "$DIR/data"
[[listener]]
address = "127.0.0.1:0"
[dns]
servers = ["$DNS"]
[[domain]]
name = "example.org"
next_hops = ["$SINK"]
[[dkim]]
domain = "example.org"
selector = "2026a"
key = "rsa.pem"
[[dkim]]
domain = "example.org"
selector = "2026e"
key = "ed.pem"
[relay]
outbound = "mx"
outbound_allow = ["127.0.0.0/8"]
`

// newSigningWorld makes the keys by the command, as an admin would.
func newSigningWorld(t *testing.T, more string) *signingWorld {
	t.Helper()
	w := &signingWorld{t: t, dir: t.TempDir(), zone: &dns.Fake{TXT: map[string][]string{}}}
	text := "example.net MX 10 mail.example.net.\nmail.example.net A 127.0.0.2\n_dmarc.victim.example TXT \"v=DMARC1; p=reject\"\n"
	for selector, kind := range map[string]string{"2026a": "rsa", "2026e": "ed25519"} {
		name, record := w.keygen(selector, kind, filepath.Join(w.dir, map[string]string{"rsa": "rsa.pem", "ed25519": "ed.pem"}[kind]))
		w.zone.TXT[name] = []string{strings.Join(record, "")}
		text += name + " TXT"
		for _, part := range record {
			text += fmt.Sprintf(" %q", part)
		}
		text += "\n"
	}
	var err error
	if w.server, err = dnstest.New(text); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.server.Close)
	w.hop = mailtest.NewSink(t, mailtest.SinkOptions{On: func(e mailtest.Event) mailtest.Step {
		if strings.HasPrefix(e.Line, "RCPT TO:<gone@") {
			return mailtest.Step{Reply: "550 5.1.1 No such user here"}
		}
		return mailtest.Step{}
	}})
	w.exchanger = mailtest.NewSink(t, mailtest.SinkOptions{Address: "127.0.0.2:0"})
	w.write(more)
	w.start()
	return w
}

var zoneString = regexp.MustCompile(`"([^"]*)"`)

// keygen returns what the command says is to be published.
func (w *signingWorld) keygen(selector, kind, file string) (name string, record []string) {
	w.t.Helper()
	var out, errs bytes.Buffer
	code := dispatch(context.Background(), stdio{nil, &out, &errs}, []string{"dkim", "keygen", "--domain", "Example.org", "--selector", selector, "--type", kind, "--out", file})
	published, _, _ := strings.Cut(out.String(), "\n\n#")
	name, record1, ok := strings.Cut(published[strings.IndexByte(published, '\n')+1:], ". 3600 IN TXT (")
	if code != exitOK || !ok {
		w.t.Fatalf("keygen: %d %s%s", code, &out, &errs)
	}
	for _, m := range zoneString.FindAllStringSubmatch(record1, -1) {
		record = append(record, m[1])
	}
	return name, record
}

func (w *signingWorld) config() string { return filepath.Join(w.dir, "gateway.toml") }

func (w *signingWorld) write(more string) {
	values := map[string]string{"DIR": w.dir, "DNS": w.server.Addr(), "SINK": w.hop.Addr()}
	if err := os.WriteFile(w.config(), []byte(os.Expand(signingConfig+more, func(k string) string { return values[k] })), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *signingWorld) start() {
	_, port, _ := net.SplitHostPort(w.exchanger.Addr())
	mxPort, _ := strconv.ParseUint(port, 10, 16)
	cfg, err := loadConfig(w.config())
	if err != nil {
		w.t.Fatal(err)
	}
	w.g, err = start(context.Background(), cfg, slog.New(slog.DiscardHandler), startOptions{mxPort: uint16(mxPort)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := w.g.stop(context.Background()); err != nil {
			w.t.Error(err)
		}
	})
}

func (w *signingWorld) send(to, msg string) {
	w.t.Helper()
	if err := submit(w.g.listeners[0].Addr().String(), "a@example.net", to, msg); err != nil {
		w.t.Fatal(err)
	}
}

// signatures says what every signature of a message is worth.
func (w *signingWorld) signatures(m []byte) string {
	var out []string
	for _, r := range dkim.Verify(context.Background(), w.zone, m, time.Now()) {
		out = append(out, r.Selector+" "+string(r.Status))
	}
	return strings.Join(out, ", ")
}

const ownMail = "From: Ann <ann@%s>\r\nTo: bob@example.org\r\nSubject: test\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <x@example.net>\r\n\r\nhello  \r\n\r\n"

// TestSignOwn: mail of our own clients in our name, and DSNs, are signed with
// both keys; the stored bytes are the signed ones.
func TestSignOwn(t *testing.T) {
	w := newSigningWorld(t, "[privacy]\nown_networks = [\"127.0.0.0/8\"]\n")
	w.send("bob@example.org", fmt.Sprintf(ownMail, "example.org"))
	w.send("bob@example.org", fmt.Sprintf(ownMail, "sub.example.org"))
	w.send("bob@example.org", fmt.Sprintf(ownMail, "example.net"))
	w.send("bob@example.org", "From: ann@example.org, eve@example.net\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n\r\nhello\r\n")
	for _, m := range w.hop.Wait(t, 4, patience) {
		want := ""
		if bytes.Contains(m.Data, []byte("ann@example.org>\r\n")) || bytes.Contains(m.Data, []byte("ann@sub.example.org>\r\n")) {
			want = "2026a pass, 2026e pass"
		}
		if got := w.signatures(m.Data); got != want {
			t.Errorf("got %q, want %q\n%s", got, want, m.Data)
		}
	}
	w.send("gone@example.org", fmt.Sprintf(ownMail, "example.net"))
	dsn := w.exchanger.Wait(t, 1, patience)[0]
	if got := w.signatures(dsn.Data); got != "2026a pass, 2026e pass" || !bytes.Contains(dsn.Data, []byte("delivery-status")) {
		t.Errorf("the DSN: %q\n%s", got, dsn.Data)
	}
}

// TestSignStrangers: nobody gets a signature by writing our name into From, and
// mail that is ours is signed again where redaction breaks its signature.
func TestSignStrangers(t *testing.T) {
	w := newSigningWorld(t, "[privacy]\nredact = \"all\"\nsigned_fields = \"redact\"\n")
	key, err := os.ReadFile(filepath.Join(w.dir, "rsa.pem"))
	if err != nil {
		t.Fatal(err)
	}
	signer := parseTestKey(t, key)
	sign := func(m string, fields ...string) string {
		var out bytes.Buffer
		o := &msgauth.SignOptions{Domain: "example.org", Selector: "2026a", Signer: signer, HeaderKeys: fields}
		if err := msgauth.Sign(&out, strings.NewReader(m), o); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	forged := fmt.Sprintf(ownMail, "example.org")
	named := "X-Originating-IP: [203.0.113.9]\r\n" + forged
	for _, c := range []struct{ what, message, want string }{
		{"forged", forged, ""},
		{"signed", sign(forged, "From", "Subject"), "2026a pass"},
		{"signed, redaction breaks nothing", sign(named, "From", "Subject"), "2026a pass"},
		{"signed, redaction breaks it", sign(named, "From", "X-Originating-IP"), "2026a pass, 2026e pass, 2026a fail"},
		{"signature broken before", strings.Replace(sign(named, "From", "X-Originating-IP"), "hello", "hullo", 1), "2026a fail"},
	} {
		n := len(w.hop.Messages())
		w.send("bob@example.org", c.message)
		m := w.hop.Wait(t, n+1, patience)[n]
		if got := w.signatures(m.Data); got != c.want || bytes.Contains(m.Data, []byte("203.0.113.9")) {
			t.Errorf("%s: got %q, want %q\n%s", c.what, got, c.want, m.Data)
		}
	}
}

// TestSealAndOverride: what a trusted forwarder breaks is accepted, the header
// says so, and the next hop can follow the chain that we have begun.
func TestSealAndOverride(t *testing.T) {
	const more = "[dmarc]\nreject = \"always\"\n[arc]\nseal = \"example.org\"\n[[dmarc_override]]\nnetwork = \"%s\"\nreason = \"forwarded\"\n"
	w := newSigningWorld(t, fmt.Sprintf(more, "127.0.0.0/8"))
	forged := fmt.Sprintf(ownMail, "victim.example")
	w.send("bob@example.org", forged)
	m := w.hop.Wait(t, 1, patience)[0].Data
	flat := regexp.MustCompile(`\r\n[ \t]+`).ReplaceAllString(string(m), " ")
	for _, part := range []string{
		"dmarc=fail header.from=victim.example policy.dmarc=none policy.published-domain-policy=reject",
		"policy.override-reason=forwarded", "DMARC_OVERRIDE=0.0",
		"ARC-Authentication-Results: i=1; mx.example.org;",
	} {
		if !strings.Contains(flat, part) {
			t.Errorf("no %q in\n%s", part, m)
		}
	}
	r := arc.Validate(context.Background(), w.zone, m, time.Now())
	if r.Status != arc.Pass || len(r.Sealers) != 1 || r.Sealers[0] != "example.org" {
		t.Errorf("%+v\n%s", r, m)
	}
	w.write(fmt.Sprintf(more, "192.0.2.0/24"))
	cfg, err := loadConfig(w.config())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.g.apply(cfg); err != nil {
		t.Fatal(err)
	}
	if err := submit(w.g.listeners[0].Addr().String(), "a@example.net", "bob@example.org", forged); err == nil || !strings.Contains(err.Error(), "DMARC") {
		t.Errorf("without the override: %v", err)
	}
}

// TestDKIMCheck: the command tells keys that fit DNS from those that do not,
// and SIGHUP's reload takes new ones.
func TestDKIMCheck(t *testing.T) {
	w := newSigningWorld(t, "[privacy]\nown_networks = [\"127.0.0.0/8\"]\n")
	check := func() (int, map[string]string) {
		var out, errs bytes.Buffer
		code := dispatch(context.Background(), stdio{nil, &out, &errs}, []string{"dkim", "check", "--json", "--config", w.config()})
		problems := map[string]string{}
		for line := range strings.Lines(out.String()) {
			var p publishedKey
			if err := json.Unmarshal([]byte(line), &p); err != nil {
				t.Fatal(err, errs.String())
			}
			problems[p.Selector] = p.Problem
		}
		return code, problems
	}
	if code, p := check(); code != exitOK || len(p) != 2 || p["2026a"]+p["2026e"] != "" {
		t.Errorf("%d %v", code, p)
	}
	old := w.zone.TXT["2026e._domainkey.example.org"]
	os.Remove(filepath.Join(w.dir, "ed.pem"))
	name, record := w.keygen("2026e", "ed25519", filepath.Join(w.dir, "ed.pem"))
	if code, p := check(); code != exitProblems || !strings.Contains(p["2026e"], "another key") || p["2026a"] != "" {
		t.Errorf("%d %v", code, p)
	}
	w.zone.TXT[name] = []string{strings.Join(record, "")}
	cfg, err := loadConfig(w.config())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.g.apply(cfg); err != nil {
		t.Fatal(err)
	}
	w.send("bob@example.org", fmt.Sprintf(ownMail, "example.org"))
	if got := w.signatures(w.hop.Wait(t, 1, patience)[0].Data); got != "2026a pass, 2026e pass" || old[0] == record[0] {
		t.Errorf("after the reload: %s", got)
	}
	if err := os.Chmod(filepath.Join(w.dir, "ed.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.g.apply(cfg); err == nil || !strings.Contains(err.Error(), "0644") {
		t.Errorf("a key for everybody: %v", err)
	}
}

func parseTestKey(t *testing.T, text []byte) crypto.Signer {
	t.Helper()
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(crypto.Signer)
}

package smtpd

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// testTLS is a server configuration with a certificate of its own.
func testTLS(t testing.TB) *tls.Config {
	t.Helper()
	c, _, err := SelfSigned(t.TempDir(), "mx.example.org")
	if err != nil {
		t.Fatal(err)
	}
	return c.Config()
}

func withTLS(t testing.TB) func(*Options) {
	config := testTLS(t)
	return func(o *Options) { o.TLS = config }
}

// secure does the client's side of a handshake.
func (p *peer) secure() *peer {
	p.t.Helper()
	c := tls.Client(p.c, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		p.t.Fatal(err)
	}
	return newPeer(p.t, c)
}

func TestStartTLS(t *testing.T) {
	d := &desk{}
	_, addr := serve(t, d, ListenerOptions{}, withTLS(t))
	p := dial(t, addr)
	p.say("STARTTLS", "503")
	if got := p.say("EHLO before.example", "250"); !strings.Contains(got, "STARTTLS") {
		t.Errorf("not offered: %q", got)
	}
	p.say("STARTTLS now", "501")
	p.say("MAIL FROM:<a@client.example>", "250")
	p.say("STARTTLS", "503")
	p.say("RSET", "250")
	p.say("STARTTLS", "220")
	p = p.secure()
	// RFC 3207 section 4.2: all knowledge from before is gone.
	p.say("MAIL FROM:<a@client.example>", "503")
	if got := p.say("EHLO after.example", "250"); strings.Contains(got, "STARTTLS") {
		t.Errorf("offered again: %q", got)
	}
	p.say("STARTTLS", "503")
	p.say("MAIL FROM:<a@client.example>", "250")
	p.say("RCPT TO:<b@example.org>", "250")
	p.say("DATA", "354")
	body := strings.Repeat("0123456789\r\n", 7000)
	p.send("\r\n" + body + ".\r\n")
	p.want("250")
	p.say("QUIT", "221")
	p.wantClosed()
	if got := d.wantLetters(t, 1)[0].Data; got != "\r\n"+body {
		t.Errorf("%d octets", len(got))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var told []string
	for _, g := range d.greets {
		told = append(told, g.Helo+"/"+g.TLS.Version)
	}
	if got := strings.Join(told, " "); got != "before.example/ /TLSv1.3 after.example/TLSv1.3" {
		t.Errorf("Greet: %s", got)
	}
}

// TestStartTLSInjection: what was sent in clear behind STARTTLS is never
// served, neither before the handshake nor after it.
func TestStartTLSInjection(t *testing.T) {
	for _, injected := range []string{"NOOP\r\n", "x", "\x16\x03\x01", "MAIL FROM:<evil@client.example>\r\n"} {
		d := &desk{}
		_, addr := serve(t, d, ListenerOptions{}, withTLS(t))
		p := dial(t, addr)
		p.say("EHLO client.example", "250")
		p.send("STARTTLS\r\n" + injected)
		p.want("554 5.5.0")
		p.wantClosed()
	}
}

func TestStartTLSFails(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	_, addr := serve(t, &desk{}, ListenerOptions{}, func(o *Options) { o.TLS, o.Metrics = testTLS(t), m })
	p := dial(t, addr)
	p.say("EHLO client.example", "250")
	p.say("STARTTLS", "220")
	p.send("NOOP\r\n\r\n")
	for p.reply() != "closed" { // a TLS alert is no reply
		t.Error("it went on in clear")
	}
	waitFor(t, func() bool { return testutil.ToFloat64(m.tls[tlsFailed]) == 1 })

	_, addr = serve(t, &desk{}, ListenerOptions{}, nil)
	p = dial(t, addr)
	if got := p.say("EHLO client.example", "250"); strings.Contains(got, "STARTTLS") {
		t.Errorf("offered without a certificate: %q", got)
	}
	p.say("STARTTLS", "454 4.7.0")
}

func TestImplicitTLS(t *testing.T) {
	d := &desk{}
	lo := ListenerOptions{ImplicitTLS: true, ProxyProtocol: true, TrustedProxies: loopback}
	_, addr := serve(t, d, lo, withTLS(t))
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	// The header and the handshake's first octets in one segment.
	p := newPeer(t, &prepend{Conn: c, first: []byte("PROXY TCP4 192.0.2.9 198.51.100.1 4000 465\r\n")}).secure()
	p.want("220")
	p.envelope()
	p.say("QUIT", "221")
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.clients[0]; c.Addr != netip.MustParseAddr("192.0.2.9") || c.Port != 4000 || c.TLS.Version != "TLSv1.3" {
		t.Errorf("client %+v", c)
	}
}

// prepend sends something in front of the first write.
type prepend struct {
	net.Conn
	first []byte
}

func (p *prepend) Write(b []byte) (int, error) {
	if p.first != nil {
		_, err := p.Conn.Write(append(p.first, b...))
		p.first = nil
		return len(b), err
	}
	return p.Conn.Write(b)
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	first, made, err := SelfSigned(dir, "mx.example.org")
	if err != nil || !made {
		t.Fatal(made, err)
	}
	again, made, err := SelfSigned(dir, "mx.example.org")
	if err != nil || made || !bytes.Equal(again.current.Leaf.Raw, first.current.Leaf.Raw) {
		t.Fatal("made again", made, err)
	}
	if info, _ := os.Stat(filepath.Join(dir, "selfsigned.key")); info.Mode().Perm() != 0o600 {
		t.Errorf("key has mode %v", info.Mode())
	}
	if err := first.current.Leaf.VerifyHostname("mx.example.org"); err != nil {
		t.Error(err)
	}
	if d := time.Until(first.NotAfter()); d < 9*365*24*time.Hour {
		t.Errorf("good for %v", d)
	}
	if _, err := LoadCertificates(filepath.Join(dir, "none"), filepath.Join(dir, "none"), nil); err == nil {
		t.Error("loaded what is not there")
	}
}

// TestCertificateReload: a new certificate is seen within a second, a broken
// one changes nothing but is reported, once.
func TestCertificateReload(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	if _, _, err := SelfSigned(dir, "old.example.org"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := SelfSigned(other, "new.example.org"); err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "selfsigned.crt"), filepath.Join(dir, "selfsigned.key")
	synctest.Test(t, func(t *testing.T) {
		var reports []error
		c, err := LoadCertificates(cert, key, func(err error) { reports = append(reports, err) })
		if err != nil {
			t.Fatal(err)
		}
		name := func() string {
			got, err := c.GetCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			return got.Leaf.DNSNames[0]
		}
		if err := os.WriteFile(cert, []byte("rubbish"), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if name() != "old.example.org" {
				t.Error("the old one is gone")
			}
			time.Sleep(2 * time.Second)
		}
		if len(reports) != 1 {
			t.Errorf("reported %v", reports)
		}
		name() // looks now
		for _, f := range []string{"selfsigned.crt", "selfsigned.key"} {
			b, err := os.ReadFile(filepath.Join(other, f))
			if err = errors.Join(err, os.WriteFile(filepath.Join(dir, f), b, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if name() != "old.example.org" {
			t.Error("looked twice within a second")
		}
		time.Sleep(time.Second)
		if name() != "new.example.org" || len(reports) != 1 {
			t.Error("the new one is not in use", reports)
		}
	})
}

package dns_test

import (
	"bytes"
	"context"
	"crypto"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"mailweir/internal/dns"
	"mailweir/internal/dns/dnstest"
	"mailweir/internal/mailtest"
)

// signedZone is signed.example with signatures of a fresh key, and the key's
// DS record. One text has a signature that is wrong.
func signedZone(t *testing.T) (zone, ds string) {
	t.Helper()
	key := &wire.DNSKEY{
		Hdr:   wire.RR_Header{Name: "signed.example.", Rrtype: wire.TypeDNSKEY, Class: wire.ClassINET, Ttl: 300},
		Flags: 257, Protocol: 3, Algorithm: wire.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	out.WriteString(sign(t, key, private, key.String()))
	for _, line := range []string{
		"signed.example. 300 IN SOA ns.signed.example. h.signed.example. 1 60 60 60 60",
		"signed.example. 300 IN NS ns.signed.example.",
		"ns.signed.example. 300 IN A 127.0.0.1",
		`signed.example. 300 IN TXT "here"`,
		"signed.example. 300 IN NSEC bad.signed.example. NS SOA TXT RRSIG NSEC DNSKEY",
		"bad.signed.example. 300 IN NSEC ns.signed.example. TXT RRSIG NSEC",
		"ns.signed.example. 300 IN NSEC signed.example. A RRSIG NSEC",
	} {
		out.WriteString(sign(t, key, private, line))
	}
	bad := sign(t, key, private, `bad.signed.example. 300 IN TXT "here"`)
	out.WriteString(strings.Replace(bad, `"here"`, `"changed"`, 1))
	return out.String(), key.ToDS(wire.SHA256).String()
}

func sign(t *testing.T, key *wire.DNSKEY, private crypto.PrivateKey, line string) string {
	t.Helper()
	rr, err := wire.NewRR(line)
	if err != nil {
		t.Fatal(err)
	}
	sig := &wire.RRSIG{
		Hdr:       wire.RR_Header{Name: rr.Header().Name, Rrtype: wire.TypeRRSIG, Class: wire.ClassINET, Ttl: 300},
		Algorithm: key.Algorithm, KeyTag: key.KeyTag(), SignerName: key.Hdr.Name,
		Inception: uint32(time.Now().Add(-time.Hour).Unix()), Expiration: uint32(time.Now().Add(time.Hour).Unix()),
	}
	if err := sig.Sign(private.(crypto.Signer), []wire.RR{rr}); err != nil {
		t.Fatal(err)
	}
	return rr.String() + "\n" + sig.String() + "\n"
}

const plainZone = `
plain.example.     300 IN SOA ns.plain.example. h.plain.example. 1 60 60 60 60
plain.example.     300 IN NS  ns.plain.example.
plain.example.     300 IN TXT "here"
plain.example.     300 IN MX  10 mx.plain.example.
mx.plain.example.  300 IN A   192.0.2.1
big.plain.example. 300 IN TXT %s
alias.plain.example. 300 IN CNAME plain.example.
a\032b.plain.example. 300 IN TXT "a name with a space"
`

// startUnbound runs a real resolver on loopback, in clear text and over TLS.
func startUnbound(t *testing.T, forward string) (clear, secure string, ca []byte) {
	t.Helper()
	path, err := exec.LookPath("unbound")
	if err != nil {
		mailtest.SkipHarness(t, "unbound is not installed")
	}
	dir := t.TempDir()
	signed, ds := signedZone(t)
	cert, key, ca := dnstest.KeyPair(t)
	clear, secure = freePort(t), freePort(t)
	_, tlsPort, _ := net.SplitHostPort(secure)
	host, port, _ := net.SplitHostPort(forward)
	files := map[string]string{
		"signed.zone": signed, "cert.pem": string(cert), "key.pem": string(key),
		"plain.zone": fmt.Sprintf(plainZone, strings.Repeat(`"`+longText+`" `, 40)),
		"unbound.conf": fmt.Sprintf(`
server:
  directory: "%[1]s"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  do-ip6: no
  interface: %[2]s
  interface: %[3]s
  tls-port: %[4]s
  tls-service-pem: "cert.pem"
  tls-service-key: "key.pem"
  do-not-query-localhost: no
  module-config: "validator iterator"
  trust-anchor: "%[5]s"
auth-zone:
  name: "signed.example"
  zonefile: "signed.zone"
  for-downstream: no
auth-zone:
  name: "plain.example"
  zonefile: "plain.zone"
  for-downstream: no
forward-zone:
  name: "lies.example"
  forward-addr: %[6]s
`, dir, strings.Replace(clear, ":", "@", 1), strings.Replace(secure, ":", "@", 1), tlsPort, ds, host+"@"+port),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	cmd := exec.Command(path, "-d", "-c", filepath.Join(dir, "unbound.conf"))
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("unbound:\n%s", log.String())
		}
	})
	awaitPort(t, secure)
	return clear, secure, ca
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func awaitPort(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody listens on %s: %v", addr, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestUnbound asks a real resolver, in clear text and over TLS: what it
// validates, what it refuses to believe, what is not there, what is large,
// and what fails behind it.
func TestUnbound(t *testing.T) {
	liar := dnstest.Start(t, "x.lies.example TXT \"here\"\n!servfail down.lies.example\n!servfail down.lies.example DNSKEY")
	clear, secure, ca := startUnbound(t, liar)
	for what, o := range map[string]dns.Options{
		"clear": {Servers: []string{clear}},
		"TLS":   {Servers: []string{"tls://" + secure + "#" + dnstest.TLSName}, Roots: roots(t, ca)},
	} {
		t.Run(what, func(t *testing.T) {
			o.Timeout = 5 * time.Second
			r := secured(t, o)
			for _, c := range []struct {
				name, want string // the text, "" for an absence, "!" for a temporary failure
				validated  bool
			}{
				{"signed.example", "here", true},
				{"nothing.signed.example", "", true},
				{"bad.signed.example", "!", false},
				{"plain.example", "here", false},
				{"nothing.plain.example", "", false},
				{"mx.plain.example", "", false},
				{"alias.plain.example", "here", false},
				{"a b.plain.example", "a name with a space", false},
				{"big.plain.example", strings.Repeat(longText, 40), false},
				{"x.lies.example", "here", false},
				{"down.lies.example", "!", false},
			} {
				ctx, answer := dns.Observe(context.Background())
				txts, err := r.LookupTXT(ctx, c.name)
				got := strings.Join(txts, "|")
				if dns.IsTemporary(err) {
					got = "!"
				}
				if got != c.want || answer.All() != c.validated {
					t.Errorf("%s: %.50q validated %v, %v", c.name, got, answer.All(), err)
				}
			}
			if mx, err := r.LookupMX(context.Background(), "plain.example"); err != nil || len(mx) != 1 || mx[0].Host != "mx.plain.example" {
				t.Errorf("%v %v", mx, err)
			}
		})
	}
	wrong := secured(t, dns.Options{Servers: []string{"tls://" + secure + "#somebody.else"}, Roots: roots(t, ca)})
	if _, err := wrong.LookupTXT(context.Background(), "plain.example"); !dns.IsTemporary(err) {
		t.Error("a certificate for another name:", err)
	}
}

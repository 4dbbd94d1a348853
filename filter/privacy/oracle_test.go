package privacy

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailweir/internal/mailtest"
	"mailweir/mail"
)

// TestSignaturesSurvive: dkimpy signs messages that tell a client, we redact
// them, and dkimpy and OpenDKIM verify what is left: what a signature does not
// cover may go, what it covers stays.
func TestSignaturesSurvive(t *testing.T) {
	if exec.Command(debianPython, "-c", "import dkim").Run() != nil {
		t.Skip("the oracle is not there: needs the Debian package python3-dkim")
	}
	dir := t.TempDir()
	record := writeKey(t, dir)
	const messages = 24
	for i := range messages {
		m := mailtest.NewCanary(uint64(i), 11)
		m.Fields = slices.DeleteFunc(m.Fields, func(f mailtest.CanaryField) bool {
			return strings.HasPrefix(f.Text, "this is no field") || strings.HasPrefix(f.Text, "From:")
		})
		m.Add("From: Anna <anna@example.org>", "", false)
		m.Add("Received-SPF: pass client-ip="+m.Addr.String(), "", true) // covered in every second one
		write(t, filepath.Join(dir, fmt.Sprintf("%d.plain", i)), []byte(m.Head()+"See "+m.Addr.String()+"\r\n"))
	}
	python(t, dir, signScript, messages)
	for i := range messages {
		raw, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.signed", i)))
		if err != nil {
			t.Fatal(err)
		}
		n, _ := mail.HeaderLength(raw)
		h := mail.ParseHeader(raw[:n])
		r := Redact(&h, nil, Options{Class: All})
		if r.Head == nil {
			t.Fatalf("message %d was not redacted:\n%s", i, raw)
		}
		write(t, filepath.Join(dir, fmt.Sprintf("%d.eml", i)), append(r.Head, raw[n:]...))
	}
	if out := python(t, dir, verifyScript, messages); !strings.Contains(out, "all valid") {
		t.Errorf("dkimpy: %s", out)
	}
	openDKIM(t, dir, record, messages)
}

func writeKey(t *testing.T, dir string) (record string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	record = "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public)
	write(t, filepath.Join(dir, "record"), []byte(record))
	return record
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func python(t *testing.T, dir, script string, n int) string {
	t.Helper()
	cmd := exec.Command(debianPython, "-c", script, fmt.Sprint(n))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// debianPython has the modules of Debian packages.
const debianPython = "/usr/bin/python3"

const signScript = `
import dkim, sys
key = open("key.pem", "rb").read()
for i in range(int(sys.argv[1])):
    m = open("%d.plain" % i, "rb").read()
    covered = [b"from", b"subject", b"date", b"message-id"] + ([b"received-spf"] if i % 2 else [])
    sig = dkim.sign(m, b"s", b"example.org", key, include_headers=covered, canonicalize=(b"relaxed", b"simple") if i % 3 else (b"simple", b"simple"))
    open("%d.signed" % i, "wb").write(sig + m)
`

const verifyScript = `
import dkim, sys
record = open("record", "rb").read()
bad = [i for i in range(int(sys.argv[1])) if not dkim.verify(open("%d.eml" % i, "rb").read(), dnsfunc=lambda name, timeout=5: record)]
print("invalid: %s" % bad if bad else "all valid")
`

func openDKIM(t *testing.T, dir, record string, messages int) {
	t.Helper()
	bin, err := exec.LookPath("opendkim")
	if err != nil {
		t.Log("no opendkim")
		return
	}
	write(t, filepath.Join(dir, "keys"), []byte("s._domainkey.example.org "+record+"\n"))
	write(t, filepath.Join(dir, "conf"), fmt.Appendf(nil, "Mode v\nTestPublicKeys %s\nOn-Default reject\nAlwaysAddARHeader yes\n", filepath.Join(dir, "keys")))
	for i := range messages {
		out, _ := exec.Command(bin, "-x", filepath.Join(dir, "conf"), "-t", filepath.Join(dir, fmt.Sprintf("%d.eml", i)), "-vv").CombinedOutput()
		if !bytes.Contains(out, []byte("dkim=pass")) && !bytes.Contains(out, []byte("verification (s=s d=example.org, 2048-bit key) succeeded")) {
			t.Errorf("OpenDKIM, message %d: %s", i, out)
			return
		}
	}
}

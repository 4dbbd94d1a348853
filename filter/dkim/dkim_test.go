package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"maps"
	"sync"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"mailweir/internal/dns"
	"mailweir/mail"
)

// testKeys are made once; tests sign with go-msgauth, which shares no code
// with the verifier.
type testKeys struct {
	rsa     *rsa.PrivateKey
	small   *rsa.PrivateKey // 1024 bits: cheap to sign with
	ed25519 ed25519.PrivateKey
	zone    map[string][]string
}

// newTestKeys returns the keys of this run with a zone of the test's own.
func newTestKeys(t testing.TB) *testKeys {
	t.Helper()
	k := makeKeys()
	return &testKeys{k.rsa, k.small, k.ed25519, maps.Clone(k.zone)}
}

var makeKeys = sync.OnceValue(func() *testKeys {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		panic(err)
	}
	_, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		panic(err)
	}
	bare := x509.MarshalPKCS1PublicKey(&small.PublicKey)
	b64 := base64.StdEncoding.EncodeToString
	return &testKeys{k, small, e, map[string][]string{
		"rsa._domainkey.example.org":   {"v=DKIM1; k=rsa; p=" + b64(der)},
		"small._domainkey.example.org": {"p=" + b64(bare)},
		"ed._domainkey.example.org":    {"v=DKIM1; k=ed25519; p=" + b64(e.Public().(ed25519.PublicKey))},
	}}
})

func (k *testKeys) resolver() *dns.Fake { return &dns.Fake{TXT: k.zone} }

// sign puts a signature on top of message.
func (k *testKeys) sign(t testing.TB, message []byte, change func(*msgauth.SignOptions)) []byte {
	t.Helper()
	o := &msgauth.SignOptions{
		Domain: "example.org", Selector: "rsa", Signer: k.rsa, Hash: crypto.SHA256,
		HeaderCanonicalization: "relaxed", BodyCanonicalization: "relaxed",
	}
	if change != nil {
		change(o)
	}
	switch o.Selector {
	case "ed":
		o.Signer = k.ed25519
	case "small":
		o.Signer = k.small
	}
	var out bytes.Buffer
	if err := msgauth.Sign(&out, bytes.NewReader(message), o); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var simpleMessage = []byte("From: Joe <joe@example.org>\r\nTo: a@example.net\r\nSubject: hi \r\n\tthere\r\n\r\n" +
	"Hello  world \r\n\ttab\r\n\r\n\r\n")

func TestSignAndVerify(t *testing.T) {
	keys := newTestKeys(t)
	for _, selector := range []string{"rsa", "ed"} {
		for _, header := range []string{"simple", "relaxed"} {
			for _, body := range []string{"simple", "relaxed"} {
				t.Run(selector+" "+header+"/"+body, func(t *testing.T) {
					signed := keys.sign(t, simpleMessage, func(o *msgauth.SignOptions) {
						o.Selector = selector
						o.HeaderCanonicalization = msgauth.Canonicalization(header)
						o.BodyCanonicalization = msgauth.Canonicalization(body)
					})
					got := Verify(context.Background(), keys.resolver(), signed, time.Now())
					if len(got) != 1 || got[0].Status != Pass {
						t.Fatalf("%+v", got)
					}
				})
			}
		}
	}
}

func (k *testKeys) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k.small)})
}

func split(m []byte) (*mail.Header, []byte) {
	n, _ := mail.HeaderLength(m)
	h := mail.ParseHeader(m[:n])
	return &h, m[n:]
}

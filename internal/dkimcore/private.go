package dkimcore

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	"mailweir/mail"
)

// PrivateKey signs for a domain. It is safe for concurrent use.
type PrivateKey struct {
	Domain    string // d=, canonical
	Selector  string // s=
	Algorithm string // a=

	signer crypto.Signer
}

// maxKeyFile is far above the PEM form of the longest key that is taken.
const maxKeyFile = 64 << 10

// LoadPrivateKey reads a key in PEM form: PKCS #8, or PKCS #1 for RSA. A file
// that everybody can read is refused: whoever has the key can sign as domain.
func LoadPrivateKey(domain, selector, file string) (*PrivateKey, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return nil, fmt.Errorf("%s: mode %04o lets everybody at a private key: it needs 0600, or 0640 for a group", file, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	signer, err := parsePrivate(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	k, err := NewPrivateKey(domain, selector, signer)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return k, nil
}

func parsePrivate(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM block in it")
	}
	if block.Type == "RSA PRIVATE KEY" {
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	if block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("it holds a %s, not a PRIVATE KEY without a passphrase", block.Type)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errUnsigning
	}
	return signer, nil
}

var errUnsigning = errors.New("DKIM signs with RSA and Ed25519 keys only")

// NewPrivateKey makes a key of one that is in memory. RFC 8301 section 3.2: RSA
// keys have 1024 to 4096 bits.
func NewPrivateKey(domain, selector string, signer crypto.Signer) (*PrivateKey, error) {
	k := &PrivateKey{Domain: mail.CanonicalDomain(domain), Selector: selector, signer: signer}
	switch s := signer.(type) {
	case *rsa.PrivateKey:
		k.Algorithm = "rsa-sha256"
		if n := s.N.BitLen(); n < 1024 || n > 4096 {
			return nil, fmt.Errorf("an RSA key of %d bits: verifiers take 1024 to 4096, and 2048 is best", n)
		}
	case ed25519.PrivateKey:
		k.Algorithm = "ed25519-sha256"
	default:
		return nil, errUnsigning
	}
	return k, nil
}

// Name is where the public key belongs: "selector._domainkey.domain".
func (k *PrivateKey) Name() string {
	return mail.CanonicalDomain(k.Selector) + "._domainkey." + k.Domain
}

// Record is the key record to publish (RFC 6376 section 3.6.1, RFC 8463
// section 4).
func (k *PrivateKey) Record() string {
	if pub, ok := k.signer.Public().(ed25519.PublicKey); ok {
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub)
	}
	der, err := x509.MarshalPKIXPublicKey(k.signer.Public())
	if err != nil {
		panic(err) // never of an RSA key that could be read
	}
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
}

// Matches reports that a key record holds the public half of k.
func (k *PrivateKey) Matches(pub *Key) bool {
	switch own := k.signer.Public().(type) {
	case ed25519.PublicKey:
		return pub.ed25519 != nil && own.Equal(pub.ed25519)
	case *rsa.PublicKey:
		return pub.rsa != nil && own.Equal(pub.rsa)
	}
	return false
}

// sign signs a hash; Ed25519 signs it as if it were the message (RFC 8463
// section 3).
func (k *PrivateKey) sign(digest []byte) []byte {
	opts := crypto.SHA256
	if k.Algorithm == "ed25519-sha256" {
		opts = crypto.Hash(0)
	}
	sig, err := k.signer.Sign(rand.Reader, digest, opts)
	if err != nil {
		panic(err) // of keys that NewPrivateKey has taken only without randomness
	}
	return sig
}

// AppendField appends a signature field of that name, with its line end. tags
// are all its tags but b=, which comes last and is made over what signed has
// been given and the field itself; signed is used up.
func (k *PrivateKey) AppendField(dst []byte, name, tags string, signed hash.Hash) []byte {
	body := []byte(" " + tags + "\r\n\tb=")
	signed.Write(withoutCRLF(AppendRelaxed(nil, strings.ToLower(name), body)))
	dst = append(append(append(dst, name...), ':'), body...)
	value := base64.StdEncoding.EncodeToString(k.sign(signed.Sum(nil)))
	for len(value) > signatureWidth {
		dst = append(append(dst, value[:signatureWidth]...), "\r\n\t "...)
		value = value[signatureWidth:]
	}
	return append(append(dst, value...), "\r\n"...)
}

// signatureWidth keeps lines of b= below the 78 of RFC 5322 section 2.1.1.
const signatureWidth = 64

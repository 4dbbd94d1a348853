package dkimcore

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"
)

// Limits of keys.
const (
	maxKeyRecord = 8 << 10
	maxRSABits   = 8192 // RFC 8301 section 3.2 asks for 4096
)

// Key is a key record (RFC 6376 section 3.6.1).
type Key struct {
	Bits    int
	Testing bool // t=y
	Strict  bool // t=s: i= must have d= itself as its domain

	kind     string // k=
	rsa      *rsa.PublicKey
	ed25519  ed25519.PublicKey
	services []string
	hashes   []string
}

// ParseKey parses a key record. Values compare with case (RFC 6376 section 3.2).
// Its error is a reason for a permerror; the key
// that comes with it has what could be read.
func ParseKey(txt string) (*Key, error) {
	if len(txt) > maxKeyRecord {
		return nil, errors.New("key record too large")
	}
	tags, err := ParseTags(txt)
	if err != nil {
		return nil, errors.New("malformed key record")
	}
	// Section 3.6.1 wants v= to be the first tag. All verifiers that we know take
	// it anywhere: to insist would only fail honest mail.
	if v, ok := Lookup(tags, "v"); ok && v.Value != "DKIM1" {
		return nil, errors.New("key record of another version")
	}
	k := &Key{kind: "rsa"}
	if t, ok := Lookup(tags, "k"); ok {
		k.kind = t.Value
	}
	if t, ok := Lookup(tags, "t"); ok {
		flags := List(t.Value)
		k.Testing, k.Strict = slices.Contains(flags, "y"), slices.Contains(flags, "s")
	}
	if t, ok := Lookup(tags, "s"); ok {
		k.services = List(t.Value)
	}
	if t, ok := Lookup(tags, "h"); ok {
		k.hashes = List(t.Value)
	}
	p, ok := Lookup(tags, "p")
	if !ok {
		return nil, errors.New("key record without p=")
	}
	if p.Value == "" {
		return nil, errors.New("key revoked")
	}
	raw, err := DecodeBase64(p.Value)
	if err != nil {
		return nil, errors.New("malformed p=")
	}
	return k, k.setPublic(raw)
}

func (k *Key) setPublic(raw []byte) error {
	switch k.kind {
	case "ed25519":
		if len(raw) != ed25519.PublicKeySize {
			return errors.New("malformed Ed25519 key")
		}
		k.ed25519, k.Bits = raw, 8*len(raw)
		return nil
	case "rsa":
		return k.setRSA(raw)
	}
	return errors.New("unknown key type")
}

// setRSA takes a SubjectPublicKeyInfo, or the bare RSAPublicKey that erratum
// 3017 of RFC 6376 lets pass as well.
func (k *Key) setRSA(raw []byte) error {
	var public any
	public, err := x509.ParsePKIXPublicKey(raw)
	if err != nil {
		if public, err = x509.ParsePKCS1PublicKey(raw); err != nil {
			return errors.New("malformed RSA key")
		}
	}
	pub, ok := public.(*rsa.PublicKey)
	if !ok {
		return errors.New("not an RSA key")
	}
	k.rsa, k.Bits = pub, pub.N.BitLen()
	if k.Bits < 1024 { // RFC 8301 section 3.2
		return errors.New("RSA key shorter than 1024 bits")
	}
	if k.Bits > maxRSABits {
		return errors.New("RSA key too long")
	}
	return nil
}

// IsRSA tells RSA keys from those whose size is fixed.
func (k *Key) IsRSA() bool { return k.rsa != nil }

// Allows checks what the key record says about the signatures it is for.
func (k *Key) Allows(s *Signature) error {
	if k.kind != s.keyType {
		return errors.New("key is for another algorithm")
	}
	return k.Usable()
}

// Usable tells whether any signature of mail may use the key: all are made with
// SHA-256.
func (k *Key) Usable() error {
	switch {
	case k.hashes != nil && !slices.Contains(k.hashes, "sha256"):
		return errors.New("key is for another hash algorithm")
	case k.services != nil && !slices.Contains(k.services, "*") && !slices.Contains(k.services, "email"):
		return errors.New("key is for another service")
	}
	return nil
}

// verify checks sig over the hash of the signed header.
func (k *Key) verify(digest, sig []byte) bool {
	if k.ed25519 != nil {
		return ed25519.Verify(k.ed25519, digest, sig) // RFC 8463 section 3: over the digest
	}
	return rsa.VerifyPKCS1v15(k.rsa, crypto.SHA256, digest, sig) == nil
}

package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"

	"mailweir/internal/dns"
	"mailweir/mail"
)

// key is a key record (RFC 6376 section 3.6.1).
type key struct {
	kind     string // k=
	rsa      *rsa.PublicKey
	ed25519  ed25519.PublicKey
	bits     int
	testing  bool // t=y
	strict   bool // t=s: i= must have d= itself as its domain
	services []string
	hashes   []string
}

// parseKey parses a key record. Its error is a reason for a permerror.
func parseKey(txt string) (*key, error) {
	if len(txt) > maxKeyRecord {
		return nil, errors.New("key record too large")
	}
	tags, err := parseTags(txt)
	if err != nil {
		return nil, errors.New("malformed key record")
	}
	if v, ok := lookup(tags, "v"); ok && (v.value != "DKIM1" || tags[0].name != "v") {
		return nil, errors.New("key record of another version")
	}
	k := &key{kind: "rsa"}
	if t, ok := lookup(tags, "k"); ok {
		k.kind = strings.ToLower(t.value)
	}
	if t, ok := lookup(tags, "t"); ok {
		flags := list(t.value)
		k.testing, k.strict = slices.Contains(flags, "y"), slices.Contains(flags, "s")
	}
	if t, ok := lookup(tags, "s"); ok {
		k.services = list(strings.ToLower(t.value))
	}
	if t, ok := lookup(tags, "h"); ok {
		k.hashes = list(strings.ToLower(t.value))
	}
	p, ok := lookup(tags, "p")
	if !ok {
		return nil, errors.New("key record without p=")
	}
	if p.value == "" {
		return nil, errors.New("key revoked")
	}
	raw, err := decodeBase64(p.value)
	if err != nil {
		return nil, errors.New("malformed p=")
	}
	return k, k.setPublic(raw)
}

func (k *key) setPublic(raw []byte) error {
	switch k.kind {
	case "ed25519":
		if len(raw) != ed25519.PublicKeySize {
			return errors.New("malformed Ed25519 key")
		}
		k.ed25519, k.bits = raw, 8*len(raw)
		return nil
	case "rsa":
		return k.setRSA(raw)
	}
	return errors.New("unknown key type")
}

// setRSA takes a SubjectPublicKeyInfo, or the bare RSAPublicKey that erratum
// 3017 of RFC 6376 lets pass as well.
func (k *key) setRSA(raw []byte) error {
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
	k.rsa, k.bits = pub, pub.N.BitLen()
	if k.bits < 1024 { // RFC 8301 section 3.2
		return errors.New("RSA key shorter than 1024 bits")
	}
	if k.bits > maxRSABits {
		return errors.New("RSA key too long")
	}
	return nil
}

// allows checks what the key record says about the signatures it is for.
func (k *key) allows(s *signature) error {
	switch {
	case k.kind != s.keyType:
		return errors.New("key is for another algorithm")
	case k.hashes != nil && !slices.Contains(k.hashes, "sha256"):
		return errors.New("key is for another hash algorithm")
	case k.services != nil && !slices.Contains(k.services, "*") && !slices.Contains(k.services, "email"):
		return errors.New("key is for another service")
	case k.strict && s.identityDomain() != s.Domain:
		return errors.New("key has t=s and i= is a subdomain")
	}
	return nil
}

// verify checks sig over the hash of the signed header.
func (k *key) verify(digest, sig []byte) bool {
	if k.ed25519 != nil {
		return ed25519.Verify(k.ed25519, digest, sig) // RFC 8463 section 3: over the digest
	}
	return rsa.VerifyPKCS1v15(k.rsa, crypto.SHA256, digest, sig) == nil
}

// keyFetch is the look-ups of one message's keys: one goroutine a distinct
// name, all of them ended by stop.
type keyFetch struct {
	cancel context.CancelFunc
	all    []*fetched
	group  sync.WaitGroup
}

// fetched is the answer for one name. It may be read once done is closed.
type fetched struct {
	name string
	done chan struct{}
	txts []string
	err  error

	// The record is parsed by whoever reads it first, so that the goroutine
	// of the look-up needs but a small stack.
	parsed bool
	key    *key
	reason string
}

func fetchKeys(ctx context.Context, r Resolver, sigs []*signature) *keyFetch {
	ctx, cancel := context.WithCancel(ctx)
	f := &keyFetch{cancel: cancel}
	for _, s := range sigs {
		name := mail.CanonicalDomain(s.Selector) + "._domainkey." + s.Domain
		i := slices.IndexFunc(f.all, func(k *fetched) bool { return k.name == name })
		if i < 0 {
			i = len(f.all)
			k := &fetched{name: name, done: make(chan struct{})}
			f.all = append(f.all, k)
			f.group.Go(func() { k.fetch(ctx, r) })
		}
		s.key = f.all[i]
	}
	return f
}

func (f *fetched) fetch(ctx context.Context, r Resolver) {
	defer close(f.done)
	f.txts, f.err = r.LookupTXT(ctx, f.name)
}

// wait waits for all keys, or for the end of ctx.
func (f *keyFetch) wait(ctx context.Context) {
	for _, k := range f.all {
		select {
		case <-k.done:
		case <-ctx.Done():
			return
		}
	}
}

// stop ends the look-ups and waits for their goroutines, which return as soon
// as their context has ended.
func (f *keyFetch) stop() {
	f.cancel()
	f.group.Wait()
}

var errLate = errors.New("key look-up not finished in time")

// result is the key once it is there, or why there is none; a look-up that has
// not come back is a temporary failure, and err is one.
func (f *fetched) result() (k *key, reason string, err error) {
	select {
	case <-f.done:
	default:
		return nil, "", errLate
	}
	if f.err != nil && !dns.IsNotFound(f.err) {
		return nil, "", f.err
	}
	if !f.parsed {
		f.parse()
	}
	return f.key, f.reason, nil
}

func (f *fetched) parse() {
	f.parsed = true
	switch {
	case f.err != nil || len(f.txts) == 0:
		f.reason = "no key record"
	case len(f.txts) > 1:
		// Section 3.6.2.2 leaves this undefined: a verifier that picks one
		// would judge the same mail differently from day to day.
		f.reason = "several key records"
	default:
		var err error
		if f.key, err = parseKey(f.txts[0]); err != nil {
			f.reason = err.Error()
		}
	}
}

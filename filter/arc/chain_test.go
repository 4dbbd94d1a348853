package arc

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"mailweir/internal/dns"
)

// testKeys are made once.
type testKeys struct {
	rsa     *rsa.PrivateKey // 1024 bits: cheap to sign with
	ed25519 ed25519.PrivateKey
	zone    map[string][]string
}

var keys = sync.OnceValue(func() *testKeys {
	r, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		panic(err)
	}
	pub, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKIXPublicKey(r.Public())
	if err != nil {
		panic(err)
	}
	b64 := base64.StdEncoding.EncodeToString
	edKey := "v=DKIM1; k=ed25519; p=" + b64(pub)
	return &testKeys{r, e, map[string][]string{
		"rsa._domainkey.example.org": {"v=DKIM1; k=rsa; p=" + b64(der)},
		"ed._domainkey.example.org":  {edKey},
		"ed._domainkey.example.net":  {edKey},
		"two._domainkey.example.org": {edKey, edKey},
		"old._domainkey.example.org": {"v=DKIM1; p="},
	}}
})

func resolver() *dns.Fake {
	return &dns.Fake{TXT: keys().zone, Fail: map[string]bool{"down._domainkey.example.org": true}}
}

func (k *testKeys) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k.rsa)})
}

// chain seals a message the long way: by the letter of RFC 8617 section 5.1,
// with nothing of the validator's code.
type chain struct {
	sets   []draft
	fields string
	body   string
}

// draft is one set, without the line ends. Tests change it before the two
// signatures are made, so that what is wrong is all that is wrong.
type draft struct {
	results, message, seal string
	cover                  []draft // what the seal signs besides its own set
	simple                 bool    // the message is signed as simple/simple
}

const (
	goodFields = "From: Joe <joe@example.org>\r\nTo: list@example.org\r\nSubject: hi\r\n"
	goodBody   = "Hello  world \r\nbye\r\n"
)

func newChain() *chain { return &chain{fields: goodFields, body: goodBody} }

// grow adds n sets.
func (c *chain) grow(n int) *chain {
	for range n {
		c.add(nil)
	}
	return c
}

// add puts one set on top.
func (c *chain) add(edit func(*draft)) *chain {
	i, cv := len(c.sets)+1, "pass"
	if i == 1 {
		cv = "none"
	}
	d := draft{
		results: fmt.Sprintf(" i=%d; lists.example.org;\r\n spf=pass smtp.mailfrom=example.org", i),
		message: fmt.Sprintf(" i=%d; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=ed;\r\n t=12345; h=from:to:subject; bh=%s; b=", i, c.bodyHash()),
		seal:    fmt.Sprintf(" i=%d; a=ed25519-sha256; t=12345; cv=%s; d=example.org; s=ed; b=", i, cv),
		cover:   c.sets,
	}
	if edit != nil {
		edit(&d)
	}
	if d.simple {
		d.message += sign(goodFields + "ARC-Message-Signature:" + d.message) // h=from:to:subject
	} else {
		d.message += sign(c.signedFields(d) + relaxed("ARC-Message-Signature", d.message, ""))
	}
	var covered strings.Builder
	for _, s := range append(d.cover[:len(d.cover):len(d.cover)], d) {
		covered.WriteString(relaxed("ARC-Authentication-Results", s.results, "\r\n"))
		covered.WriteString(relaxed("ARC-Message-Signature", s.message, "\r\n"))
		if s.seal != d.seal {
			covered.WriteString(relaxed("ARC-Seal", s.seal, "\r\n"))
		}
	}
	d.seal += sign(covered.String() + relaxed("ARC-Seal", d.seal, ""))
	c.sets = append(c.sets, d)
	return c
}

var hTag = regexp.MustCompile(`[; ]h=([^;]*);`)

// signedFields are the fields of h=, each taken once from the bottom.
func (c *chain) signedFields(d draft) string {
	h := hTag.FindStringSubmatch(d.message)
	if h == nil {
		return ""
	}
	left := strings.SplitAfter("ARC-Authentication-Results:"+d.results+"\r\n"+c.header(), "\r\n")
	var out strings.Builder
	for _, name := range strings.Split(h[1], ":") {
		name = strings.TrimSpace(name)
		for i := len(left) - 1; i >= 0; i-- {
			if n, value, ok := strings.Cut(left[i], ":"); ok && strings.EqualFold(n, name) {
				for k := i + 1; k < len(left) && strings.HasPrefix(left[k], " "); k++ {
					value += left[k]
				}
				out.WriteString(relaxed(n, value, "\r\n"))
				left[i] = ""
				break
			}
		}
	}
	return out.String()
}

var white = regexp.MustCompile(`[ \t]+`)

func relaxed(name, value, end string) string {
	value = white.ReplaceAllString(strings.ReplaceAll(value, "\r\n", ""), " ")
	return strings.ToLower(name) + ":" + strings.TrimSpace(value) + end
}

func (c *chain) bodyHash() string {
	lines := strings.Split(c.body, "\r\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(white.ReplaceAllString(l, " "), " ")
	}
	sum := sha256.Sum256([]byte(strings.TrimRight(strings.Join(lines, "\r\n"), "\r\n") + "\r\n"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// sign makes an Ed25519 signature (RFC 8463 section 3).
func sign(text string) string {
	digest := sha256.Sum256([]byte(text))
	sig, err := keys().ed25519.Sign(nil, digest[:], crypto.Hash(0))
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
}

// header is the header section so far, without the empty line.
func (c *chain) header() string {
	var b strings.Builder
	for i := len(c.sets) - 1; i >= 0; i-- {
		s := c.sets[i]
		b.WriteString("ARC-Seal:" + s.seal + "\r\n")
		b.WriteString("ARC-Message-Signature:" + s.message + "\r\n")
		b.WriteString("ARC-Authentication-Results:" + s.results + "\r\n")
	}
	return b.String() + c.fields
}

func (c *chain) String() string { return c.header() + "\r\n" + c.body }

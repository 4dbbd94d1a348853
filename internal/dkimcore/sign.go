package dkimcore

import (
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailweir/mail"
)

// Signer has the keys of the domains that we sign for. It is never changed:
// a reload makes another one.
type Signer struct{ keys []*PrivateKey }

// NewSigner makes a signer of keys.
func NewSigner(keys []*PrivateKey) *Signer { return &Signer{keys} }

// Keys are those to sign mail of an author domain with: the keys of the domain
// itself, else those of the nearest one above it, whose signature is aligned
// too (RFC 9989 section 4.4.1). Nil for none.
func (s *Signer) Keys(author string) []*PrivateKey {
	if s == nil {
		return nil
	}
	var out []*PrivateKey
	nearest := ""
	for _, k := range s.keys {
		if !mail.WithinDomain(author, k.Domain) || len(k.Domain) < len(nearest) {
			continue
		}
		if len(k.Domain) > len(nearest) {
			nearest, out = k.Domain, nil
		}
		out = append(out, k)
	}
	return out
}

// signedFields are what a signature covers (RFC 6376 section 5.4.1): what a
// reader is shown and what says how to read the rest. Each is signed once more
// than it is there, so that nobody can add another.
var signedFields = []string{
	"From", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding",
}

// presentFields are signed where they are there: mailing lists add their own.
var presentFields = []string{
	"Sender", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Date", "Resent-Message-ID",
	"List-Id", "List-Post", "List-Unsubscribe", "List-Unsubscribe-Post", "Auto-Submitted",
}

// maxRepeats bounds how many fields of one name are signed.
const maxRepeats = 8

// HashBody hashes a whole body under relaxed canonicalisation.
func HashBody(c mail.Content) (*BodyHash, error) {
	h := NewBodyHash(true)
	if b, ok := c.(mail.Bytes); ok {
		h.Write(b)
		return h, nil
	}
	r, err := c.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	_, err = io.Copy(writer{h}, r)
	return h, err
}

type writer struct{ h *BodyHash }

func (w writer) Write(p []byte) (int, error) { w.h.Write(p); return len(p), nil }

// AppendSignatures appends a DKIM-Signature for each key, relaxed/relaxed, over
// a header section and a body that HashBody has hashed.
func AppendSignatures(dst []byte, keys []*PrivateKey, h *mail.Header, body *BodyHash, now time.Time) []byte {
	fields := Select(h)
	for _, k := range keys {
		tags := "v=1; a=" + k.Algorithm + "; c=relaxed/relaxed; d=" + k.Domain + "; s=" + k.Selector +
			";\r\n\tt=" + strconv.FormatInt(now.Unix(), 10) + fields.Tags(body)
		dst = k.AppendField(dst, "DKIM-Signature", tags, fields.Hash())
	}
	return dst
}

// Selection is the fields that a signature is to cover.
type Selection struct {
	names  []string // for h=
	signed []byte   // canonical
}

// Select finds signedFields, presentFields and fields of more names, bottom
// first as verifiers do, with one mention more for each of signedFields.
func Select(h *mail.Header, more ...string) *Selection {
	s := &Selection{}
	index := IndexFields(h)
	for _, name := range slices.Concat(signedFields, presentFields, more) {
		lower := strings.ToLower(name)
		i, n := index.lowest(lower), 0
		for ; i != none && n < maxRepeats; i, n = index.prev[i], n+1 {
			s.names = append(s.names, name)
			s.signed = AppendRelaxed(s.signed, lower, h.Fields[i].Body())
		}
		if i == none && slices.Contains(signedFields, name) {
			s.names = append(s.names, name)
		}
	}
	return s
}

// Tags are "; h=...; bh=...;", folded.
func (s *Selection) Tags(body *BodyHash) string {
	var b strings.Builder
	b.WriteString("; h=")
	column := 20
	for i, name := range s.names {
		if i > 0 {
			b.WriteByte(':')
		}
		if column += len(name) + 1; column > 76 {
			b.WriteString("\r\n\t")
			column = 8 + len(name) + 1
		}
		b.WriteString(name)
	}
	b.WriteString(";\r\n\tbh=" + base64.StdEncoding.EncodeToString(body.Sum()) + ";")
	return b.String()
}

// Hash is a new hash of the fields.
func (s *Selection) Hash() hash.Hash {
	h := sha256.New()
	h.Write(s.signed)
	return h
}

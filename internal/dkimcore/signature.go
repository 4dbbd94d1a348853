// Package dkimcore is what the signatures of DKIM (RFC 6376) and of ARC (RFC
// 8617, which builds on it) have in common: tag lists, both canonicalisations,
// key records and their look-up, and the verification itself. What the two do
// with it stands in filter/dkim and filter/arc.
package dkimcore

import (
	"crypto/sha256"
	"crypto/subtle"
	"hash"
	"strconv"
	"strings"
	"time"

	"mailweir/mail"
)

// MaxSignature is how many octets a signature field may have.
const MaxSignature = 16 << 10

// Signature is a signature field: DKIM-Signature (RFC 6376 section 3.5),
// ARC-Message-Signature or ARC-Seal (RFC 8617 section 4.1). Its Read methods
// return what is wrong with it, for people, or "".
type Signature struct {
	Domain    string   // d=, canonical
	Selector  string   // s=
	Fields    []string // h=, lower case
	Algorithm string   // a=
	Encoded   string   // b=, without white space

	keyType       string // "rsa", "ed25519"
	headerRelaxed bool
	bodyRelaxed   bool
	digest        []byte // bh=
	sig           []byte // b=
	length        int64  // l=, -1 without
	key           *fetched

	field mail.Field
	value string // the field's body, folding and all
	blank [2]int // where the value of b= stands in value
}

// Parse splits a field into its tags.
func (s *Signature) Parse(f mail.Field) (tags []Tag, reason string) {
	s.field, s.length = f, -1
	if len(f.Raw) > MaxSignature {
		return nil, "signature field too large"
	}
	s.value = string(f.Body())
	tags, err := ParseTags(s.value)
	if err != nil {
		return nil, err.Error()
	}
	return tags, ""
}

// Value is the field's body, as it came.
func (s *Signature) Value() string { return s.value }

// ReadSigner reads what tells the signature from others, whatever else is wrong
// with it: d=, s=, a= and the text of b=.
func (s *Signature) ReadSigner(tags []Tag) {
	d, _ := Lookup(tags, "d")
	sel, _ := Lookup(tags, "s")
	a, _ := Lookup(tags, "a")
	b, _ := Lookup(tags, "b")
	s.Algorithm, s.Encoded = Squeeze(a.Value), Squeeze(b.Value)
	// Signers fold where the grammar does not let them, so white space goes.
	s.Domain, s.Selector = mail.CanonicalDomain(Squeeze(d.Value)), Squeeze(sel.Value)
}

// CheckSigner tells whether d= and s= make a name that DNS can be asked for.
func (s *Signature) CheckSigner() string {
	if !validName(s.Domain) || !strings.Contains(s.Domain, ".") {
		return "missing or impossible d="
	}
	if !validName(s.Selector) {
		return "missing or impossible s="
	}
	if len(s.Domain)+len(s.Selector)+len("._domainkey.") > 253 {
		return "d= and s= too long"
	}
	return ""
}

// validName is the test for d= and s=: labels that DNS can hold, U-labels
// included (RFC 8616).
func validName(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := 0; i < len(label); i++ {
			c := label[i]
			if !isAlpha(c) && (c < '0' || c > '9') && c != '-' && c != '_' && c < 0x80 {
				return false
			}
		}
	}
	return true
}

// ReadFields reads h=.
func (s *Signature) ReadFields(tags []Tag) {
	if h, ok := Lookup(tags, "h"); ok {
		s.Fields = List(strings.ToLower(h.Value))
	}
}

// ReadSignature reads a= and b=, after ReadSigner.
func (s *Signature) ReadSignature(tags []Tag) string {
	b, ok := Lookup(tags, "b")
	s.blank = [2]int{b.Start, b.End}
	switch s.Algorithm {
	case "rsa-sha256":
		s.keyType = "rsa"
	case "ed25519-sha256":
		s.keyType = "ed25519"
	case "rsa-sha1":
		return "rsa-sha1 is no longer acceptable" // RFC 8301 section 3.1
	case "":
		return "missing a="
	default:
		return "unknown algorithm"
	}
	if !ok {
		return "missing b="
	}
	// A value of the wrong length is a mismatch, not an error of syntax.
	var err error
	if s.sig, err = DecodeBase64(s.Encoded); err != nil {
		return "malformed b="
	}
	return ""
}

// ReadDigest reads bh=.
func (s *Signature) ReadDigest(tags []Tag) string {
	bh, ok := Lookup(tags, "bh")
	if !ok {
		return "missing bh="
	}
	var err error
	if s.digest, err = DecodeBase64(bh.Value); err != nil {
		return "malformed bh="
	}
	return ""
}

// ReadForm reads c=, l= and q=. Values compare with case, here and in a=
// (RFC 6376 section 3.2).
func (s *Signature) ReadForm(tags []Tag) string {
	if c, ok := Lookup(tags, "c"); ok {
		header, body, both := strings.Cut(Squeeze(c.Value), "/")
		if !both {
			body = "simple"
		}
		if !validForm(header) || !validForm(body) {
			return "unknown canonicalisation"
		}
		s.headerRelaxed, s.bodyRelaxed = header == "relaxed", body == "relaxed"
	}
	if l, ok := Lookup(tags, "l"); ok {
		n, err := strconv.ParseUint(Squeeze(l.Value), 10, 62)
		if err != nil {
			return "malformed l="
		}
		s.length = int64(n)
	}
	if q, ok := Lookup(tags, "q"); ok {
		for _, method := range List(q.Value) {
			if method == "dns/txt" {
				return ""
			}
		}
		return "unknown query method"
	}
	return ""
}

func validForm(s string) bool { return s == "simple" || s == "relaxed" }

// CheckTimes checks x= against t= and the clock. A t= in the future is let
// pass, as the RFC permits: clocks differ.
func CheckTimes(tags []Tag, now time.Time) string {
	t, hasTime := Lookup(tags, "t")
	signed, err := parseTime(t.Value)
	if hasTime && err != nil {
		return "malformed t="
	}
	x, ok := Lookup(tags, "x")
	if !ok {
		return ""
	}
	expires, err := parseTime(x.Value)
	if err != nil {
		return "malformed x="
	}
	if hasTime && expires <= signed { // section 3.5: it must be greater
		return "x= is not after t="
	}
	if now.Unix() > expires {
		return "signature expired"
	}
	return ""
}

// parseTime reads seconds; RFC 6376 allows 12 digits and asks for more to be
// taken as infinity.
func parseTime(s string) (int64, error) {
	s = Squeeze(s)
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil && len(s) > 18 && strings.Trim(s, "0123456789") == "" {
		return 1<<63 - 1, nil
	}
	return int64(n), err
}

// Relax puts relaxed/relaxed in place of what c= says.
func (s *Signature) Relax() { s.headerRelaxed, s.bodyRelaxed = true, true }

// WantBody asks for the hash that the signature is about.
func (s *Signature) WantBody(b *Bodies) { b.Want(s.bodyRelaxed) }

// Verify checks the body hash and the signature (RFC 6376 section 6.1.3). The
// signature is the field of h at index self. It returns why it is no pass.
func (s *Signature) Verify(k *Key, b *Bodies, h *mail.Header, names *FieldIndex, self int) string {
	body := b.of(s.bodyRelaxed)
	digest := body.Sum()
	if s.length >= 0 && s.length != body.size {
		// A pass would vouch for octets that nobody signed (section 8.2).
		return "l= does not cover the whole body"
	}
	if subtle.ConstantTimeCompare(digest, s.digest) != 1 {
		return "body hash does not match"
	}
	if !s.VerifyDigest(k, s.headerHash(h, names, self)) {
		return "signature does not match"
	}
	return ""
}

// VerifyDigest checks the signature over a hash of the header.
func (s *Signature) VerifyDigest(k *Key, digest []byte) bool { return k.verify(digest, s.sig) }

// headerHash hashes the fields that h= names (section 3.7): each mention of a
// name takes the next one up from the bottom, mentions past the top count as
// an empty string, and the signature itself, with b= empty, comes last.
func (s *Signature) headerHash(h *mail.Header, names *FieldIndex, self int) []byte {
	hash := sha256.New()
	buf := make([]byte, 0, 1024)
	used := make(map[string]int, len(s.Fields)) // the field that is next
	for _, name := range s.Fields {
		i, begun := used[name]
		if !begun {
			i = names.lowest(name)
		}
		if i != none && i == self {
			i = names.prev[i] // the signature under test never signs itself
		}
		if i == none {
			used[name] = none
			continue
		}
		used[name] = names.prev[i]
		buf = s.putField(hash, buf, h.Fields[i], name)
	}
	s.putSelf(hash, buf)
	return hash.Sum(nil)
}

func (s *Signature) putField(w hash.Hash, buf []byte, f mail.Field, name string) []byte {
	if !s.headerRelaxed {
		w.Write(f.Raw)
		return buf
	}
	buf = AppendRelaxed(buf[:0], name, f.Body())
	w.Write(buf)
	return buf
}

// putSelf adds the signature field without the value of b= and without its
// line end.
func (s *Signature) putSelf(w hash.Hash, buf []byte) {
	if s.headerRelaxed {
		w.Write(s.AppendBlank(buf[:0]))
		return
	}
	w.Write(s.field.Raw[:len(s.field.Raw)-len(s.value)])
	w.Write(withoutCRLF(s.withoutSignature()))
}

// AppendBlank appends the field under relaxed canonicalisation, without the
// value of b= and without its line end: as a signature signs itself.
func (s *Signature) AppendBlank(dst []byte) []byte {
	return withoutCRLF(AppendRelaxed(dst, strings.ToLower(s.field.Name()), s.withoutSignature()))
}

func (s *Signature) withoutSignature() []byte {
	return append([]byte(s.value[:s.blank[0]]), s.value[s.blank[1]:]...)
}

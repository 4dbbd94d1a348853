package dkim

import (
	"strconv"
	"strings"
	"time"

	"mailweir/mail"
)

// signature is one DKIM-Signature field (RFC 6376 section 3.5).
type signature struct {
	Result
	field         mail.Field
	value         string // the field's body, folding and all
	blank         [2]int // where the value of b= stands in value
	headerRelaxed bool
	bodyRelaxed   bool
	keyType       string // "rsa", "ed25519"
	digest        []byte // bh=
	sig           []byte // b=
	length        int64  // l=, -1 without
	key           *fetched
}

// end settles the result. Only the first call counts.
func (s *signature) end(status Status, reason string) {
	if s.Status == "" {
		s.Status, s.Reason = status, reason
	}
}

func (s *signature) done() bool { return s.Status != "" }

// parseSignature parses and checks all of a signature that needs no key. What
// is wrong with it becomes its result.
func parseSignature(f mail.Field, index int, now time.Time) *signature {
	s := &signature{field: f, length: -1}
	s.Index = index
	if len(f.Raw) > MaxSignature {
		s.end(PermError, "signature field too large")
		return s
	}
	s.value = string(f.Body())
	tags, err := parseTags(s.value)
	if err != nil {
		s.end(PermError, err.Error())
		return s
	}
	for _, step := range []func([]tag) string{s.readNames, s.readCrypto, s.readForm} {
		if reason := step(tags); reason != "" {
			s.end(PermError, reason)
			return s
		}
	}
	if reason := checkTimes(tags, now); reason != "" {
		s.end(PermError, reason)
	}
	return s
}

// readNames reads who signs, and what: d=, s=, i= and h=.
func (s *signature) readNames(tags []tag) string {
	d, _ := lookup(tags, "d")
	sel, _ := lookup(tags, "s")
	// Signers fold where the grammar does not let them, so white space goes.
	s.Domain, s.Selector = mail.CanonicalDomain(squeeze(d.value)), squeeze(sel.value)
	if h, ok := lookup(tags, "h"); ok {
		s.Fields = list(strings.ToLower(h.value))
	}
	if i, ok := lookup(tags, "i"); ok {
		s.Identity = squeeze(i.value)
	}
	if v, _ := lookup(tags, "v"); v.value != "1" {
		return "unknown or missing version"
	}
	if !validName(s.Domain) || !strings.Contains(s.Domain, ".") {
		return "missing or impossible d="
	}
	if !validName(s.Selector) {
		return "missing or impossible s="
	}
	if len(s.Domain)+len(s.Selector)+len("._domainkey.") > 253 {
		return "d= and s= too long"
	}
	if s.Identity != "" && !underDomain(s.identityDomain(), s.Domain) {
		return "i= is not within d="
	}
	for _, name := range s.Fields {
		if name == "from" {
			return ""
		}
	}
	return "From is not signed"
}

// identityDomain is the domain of i=, which defaults to d=.
func (s *signature) identityDomain() string {
	if s.Identity == "" {
		return s.Domain
	}
	at := strings.LastIndexByte(s.Identity, '@')
	if at < 0 {
		return ""
	}
	return mail.CanonicalDomain(s.Identity[at+1:])
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

// readCrypto reads a=, b= and bh=.
func (s *signature) readCrypto(tags []tag) string {
	a, _ := lookup(tags, "a")
	s.Algorithm = strings.ToLower(squeeze(a.value))
	b, ok := lookup(tags, "b")
	s.blank = [2]int{b.start, b.end}
	s.Signature = squeeze(b.value)
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
	bh, hasDigest := lookup(tags, "bh")
	if !ok || !hasDigest {
		return "missing b= or bh="
	}
	// A value of the wrong length is a mismatch, not an error of syntax.
	var err error
	if s.sig, err = decodeBase64(s.Signature); err != nil {
		return "malformed b="
	}
	if s.digest, err = decodeBase64(bh.value); err != nil {
		return "malformed bh="
	}
	return ""
}

// readForm reads c=, l= and q=.
func (s *signature) readForm(tags []tag) string {
	if c, ok := lookup(tags, "c"); ok {
		header, body, _ := strings.Cut(strings.ToLower(squeeze(c.value)), "/")
		if body == "" {
			body = "simple"
		}
		if !validForm(header) || !validForm(body) {
			return "unknown canonicalisation"
		}
		s.headerRelaxed, s.bodyRelaxed = header == "relaxed", body == "relaxed"
	}
	if l, ok := lookup(tags, "l"); ok {
		n, err := strconv.ParseUint(squeeze(l.value), 10, 62)
		if err != nil {
			return "malformed l="
		}
		s.length = int64(n)
	}
	if q, ok := lookup(tags, "q"); ok {
		for _, method := range list(strings.ToLower(q.value)) {
			if method == "dns/txt" {
				return ""
			}
		}
		return "unknown query method"
	}
	return ""
}

func validForm(s string) bool { return s == "simple" || s == "relaxed" }

// checkTimes checks x= against t= and the clock. A t= in the future is let
// pass, as the RFC permits: clocks differ.
func checkTimes(tags []tag, now time.Time) string {
	t, hasTime := lookup(tags, "t")
	signed, err := parseTime(t.value)
	if hasTime && err != nil {
		return "malformed t="
	}
	x, ok := lookup(tags, "x")
	if !ok {
		return ""
	}
	expires, err := parseTime(x.value)
	if err != nil {
		return "malformed x="
	}
	if hasTime && expires < signed {
		return "x= is before t="
	}
	if now.Unix() > expires {
		return "signature expired"
	}
	return ""
}

// parseTime reads seconds; RFC 6376 allows 12 digits and asks for more to be
// taken as infinity.
func parseTime(s string) (int64, error) {
	s = squeeze(s)
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil && len(s) > 18 && strings.Trim(s, "0123456789") == "" {
		return 1<<63 - 1, nil
	}
	return int64(n), err
}

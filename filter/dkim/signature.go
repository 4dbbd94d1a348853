package dkim

import (
	"slices"
	"strings"
	"time"

	"mailweir/internal/dkimcore"
	"mailweir/mail"
)

// signature is one DKIM-Signature field (RFC 6376 section 3.5) and what is
// known about it so far.
type signature struct {
	dkimcore.Signature
	index    int
	identity string // i=, "" without
	keyBits  int
	testing  bool
	status   Status
	reason   string
	err      error
}

// end settles the result. Only the first call counts.
func (s *signature) end(status Status, reason string) {
	if s.status == "" {
		s.status, s.reason = status, reason
	}
}

func (s *signature) done() bool { return s.status != "" }

func (s *signature) result() Result {
	return Result{
		Status: s.status, Domain: s.Domain, Selector: s.Selector, Identity: s.identity,
		Algorithm: s.Algorithm, Signature: s.Encoded, Fields: s.Fields, Index: s.index,
		KeyBits: s.keyBits, Testing: s.testing, Reason: s.reason, Err: s.err,
	}
}

// parseSignature parses and checks all of a signature that needs no key. What
// is wrong with it becomes its result.
func parseSignature(f mail.Field, index int, now time.Time) *signature {
	s := &signature{index: index}
	tags, reason := s.Parse(f)
	if reason != "" {
		s.end(PermError, reason)
		return s
	}
	for _, step := range []func([]dkimcore.Tag) string{s.readNames, s.ReadSignature, s.ReadDigest, s.ReadForm} {
		if reason := step(tags); reason != "" {
			s.end(PermError, reason)
			return s
		}
	}
	if reason := dkimcore.CheckTimes(tags, now); reason != "" {
		s.end(PermError, reason)
	}
	return s
}

// readNames reads who signs, and what: d=, s=, i= and h=.
func (s *signature) readNames(tags []dkimcore.Tag) string {
	s.ReadSigner(tags)
	s.ReadFields(tags)
	i, identified := dkimcore.Lookup(tags, "i")
	s.identity = dkimcore.Squeeze(i.Value)
	if v, _ := dkimcore.Lookup(tags, "v"); v.Value != "1" {
		return "unknown or missing version"
	}
	if reason := s.CheckSigner(); reason != "" {
		return reason
	}
	if identified && !strings.Contains(s.identity, "@") {
		return "malformed i=" // an empty value is not the default (section 3.2)
	}
	if !mail.WithinDomain(s.identityDomain(), s.Domain) {
		return "i= is not within d="
	}
	if !slices.Contains(s.Fields, "from") {
		return "From is not signed"
	}
	return ""
}

// identityDomain is the domain of i=, which defaults to d=.
func (s *signature) identityDomain() string {
	if s.identity == "" {
		return s.Domain
	}
	at := strings.LastIndexByte(s.identity, '@')
	if at < 0 {
		return ""
	}
	return mail.CanonicalDomain(s.identity[at+1:])
}

// check settles one signature (RFC 6376 section 6.1).
func (v *Verification) check(s *signature, names *dkimcore.FieldIndex) {
	k, reason, err := s.Key()
	if err != nil {
		s.err = err
		s.end(TempError, "key look-up failed")
		return
	}
	if k != nil {
		s.keyBits, s.testing = k.Bits, k.Testing
	}
	if reason != "" {
		s.end(PermError, reason)
		return
	}
	if err := k.Allows(&s.Signature); err != nil {
		s.end(PermError, err.Error())
		return
	}
	if k.Strict && s.identityDomain() != s.Domain {
		s.end(PermError, "key has t=s and i= is a subdomain")
		return
	}
	if reason := s.Verify(k, v.bodies, v.header, names, s.index); reason != "" {
		s.end(Fail, reason)
		return
	}
	s.end(Pass, "")
}

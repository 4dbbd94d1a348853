package smtpd

import (
	"slices"
	"time"

	"mailweir/filter"
	"mailweir/filter/dmarc"
	"mailweir/filter/privacy"
	"mailweir/internal/dkimcore"
	"mailweir/mail"
)

// signing is what the signatures of one message need, found out once.
type signing struct {
	keys   []*dkimcore.PrivateKey // none: it is not signed
	always bool                   // also where no signature was broken
	body   *dkimcore.BodyHash
}

// newSigning decides whether a message is signed in the name of its author. It
// is, when it comes from one of our own clients, or has proven by a signature
// of the author's organization that it is ours and redaction has to break that
// signature. Mail of strangers never is, whatever From says.
func newSigning(signer *dkimcore.Signer, client *mail.Client, j *filter.Judgement) signing {
	if signer == nil {
		return signing{}
	}
	a := dmarc.ParseAuthors(j.Header)
	if a.Fields != 1 || len(a.Domains) != 1 || a.Malformed {
		return signing{}
	}
	keys := signer.Keys(a.Domains[0])
	if len(keys) == 0 {
		return signing{}
	}
	signed := slices.ContainsFunc(j.Facts.DKIM, func(d filter.DKIMFacts) bool {
		return d.Result == "pass" && d.Domain == keys[0].Domain
	})
	switch {
	case signed:
		return signing{keys: keys}
	case client.Own:
		return signing{keys: keys, always: true}
	}
	return signing{}
}

// needed tells whether a header section with these edits has to be signed.
func (s *signing) needed(header *mail.Header, dkim []filter.DKIMFacts, edits []privacy.Edit) bool {
	return len(s.keys) > 0 && (s.always || !intact(s.keys[0].Domain, header, dkim, edits))
}

// intact reports that a signature of domain that passed survives the edits.
func intact(domain string, header *mail.Header, dkim []filter.DKIMFacts, edits []privacy.Edit) bool {
	return slices.ContainsFunc(dkim, func(d filter.DKIMFacts) bool {
		return d.Result == "pass" && d.Domain == domain && !slices.ContainsFunc(edits, func(e privacy.Edit) bool {
			return e.Kind != privacy.KeptSigned && (e.Field == d.SignatureIndex || slices.ContainsFunc(d.Fields, header.Fields[e.Field].Is))
		})
	})
}

// append adds the signatures over a header section, and over the body, which
// is hashed once for all sections.
func (s *signing) append(b []byte, header *mail.Header, body mail.Content, now time.Time) ([]byte, error) {
	if s.body == nil {
		hash, err := dkimcore.HashBody(body)
		if err != nil {
			return b, err
		}
		s.body = hash
	}
	return dkimcore.AppendSignatures(b, s.keys, header, s.body, now), nil
}

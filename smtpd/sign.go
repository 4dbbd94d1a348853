package smtpd

import (
	"slices"
	"strings"

	"mailweir/filter"
	"mailweir/filter/authres"
	"mailweir/filter/dmarc"
	"mailweir/filter/privacy"
	"mailweir/internal/dkimcore"
	"mailweir/mail"
)

// signing is what the signatures of one message need, found out once.
type signing struct {
	keys   []*dkimcore.PrivateKey // none: it is not signed
	always bool                   // also where no signature was broken
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

// change is how a header section differs from the one that came.
type change struct {
	redacted  []privacy.Edit
	rewritten []string // by rules: lower-case names
}

// needed tells whether a header section with these changes has to be signed.
func (s *signing) needed(header *mail.Header, dkim []filter.DKIMFacts, c change) bool {
	return len(s.keys) > 0 && (s.always || !intact(s.keys[0].Domain, header, dkim, c))
}

// intact reports that a signature of domain that passed survives the changes.
func intact(domain string, header *mail.Header, dkim []filter.DKIMFacts, c change) bool {
	return slices.ContainsFunc(dkim, func(d filter.DKIMFacts) bool {
		return d.Result == "pass" && d.Domain == domain && !slices.ContainsFunc(c.redacted, func(e privacy.Edit) bool {
			return e.Kind != privacy.KeptSigned && (e.Field == d.SignatureIndex || slices.ContainsFunc(d.Fields, header.Fields[e.Field].Is))
		}) && !slices.ContainsFunc(c.rewritten, func(name string) bool { return slices.Contains(d.Fields, name) })
	})
}

// signatures appends our signatures over a header section, where it needs them.
func (h *heads) signatures(b []byte, header *mail.Header, c change) []byte {
	if !h.sign.needed(h.j.Header, h.j.Facts.DKIM, c) {
		return b
	}
	body := h.bodyHash()
	if body == nil {
		return b
	}
	if h.signed == nil {
		for _, k := range h.sign.keys {
			h.signed = append(h.signed, k.Name())
		}
	}
	return dkimcore.AppendSignatures(b, h.sign.keys, header, body, h.tx.env.Arrived)
}

// seal appends our ARC Set, when we seal. Where redaction has masked a field of
// an older set there is no chain any more that one could be added to.
func (h *heads) seal(b []byte, header *mail.Header, edits []privacy.Edit, o authres.Options) []byte {
	s := h.tx.s.set.Sealer
	if s == nil || slices.ContainsFunc(edits, masksARC) {
		return b
	}
	body := h.bodyHash()
	if body == nil {
		return b
	}
	return s.AppendSet(b, header, body, &h.j.Facts.ARC, func(instance int) []byte {
		return authres.AppendARC(nil, instance, h.tx.s.set.Hostname, h.j.Facts.Auth, o)
	}, h.tx.env.Arrived)
}

func masksARC(e privacy.Edit) bool {
	return e.Kind != privacy.KeptSigned && strings.HasPrefix(strings.ToLower(e.Name), "arc-")
}

// bodyHash hashes the body, once for all header sections. Nil when it cannot be
// read: then the message is not stored either.
func (h *heads) bodyHash() *dkimcore.BodyHash {
	if h.hash == nil && h.err == nil {
		h.hash, h.err = dkimcore.HashBody(h.body)
	}
	if h.err != nil {
		return nil
	}
	return h.hash
}

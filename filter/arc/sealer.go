package arc

import (
	"crypto/sha256"
	"hash"
	"strconv"
	"time"

	"mailweir/filter"
	"mailweir/internal/dkimcore"
	"mailweir/mail"
)

// Sealer adds ARC Sets to what is relayed (section 5.1). It is safe for
// concurrent use.
type Sealer struct{ key *dkimcore.PrivateKey }

// NewSealer seals with key.
func NewSealer(key *dkimcore.PrivateKey) *Sealer { return &Sealer{key} }

// AppendSet appends our set for a message with this header section and body, as
// they are relayed. chain is what was found out about it as it came, and results
// makes the ARC-Authentication-Results field for an instance. Nothing is appended where a set would be of no
// use: behind cv=fail, behind instance 50, after a chain that only DNS kept
// from being checked, beside ARC fields that belong to no set, or where
// redaction had to take a field out of one.
func (s *Sealer) AppendSet(dst []byte, h *mail.Header, body *dkimcore.BodyHash, chain *filter.ARCFacts, results func(instance int) []byte, now time.Time) []byte {
	sets, reason := collect(h, now)
	cv := chain.Result
	n := 1
	if len(sets) > 0 {
		n = sets[len(sets)-1].instance + 1
	}
	switch {
	case cv == "" || chain.Temporary || n > MaxSets,
		cv == string(None) && hasARC(h),
		cv == string(Pass) && (reason != "" || len(sets) == 0 || checkStructure(sets) != ""),
		len(sets) > 0 && sets[len(sets)-1].ended():
		return dst
	case cv == string(Fail):
		sets = nil // section 5.1.2: then a seal covers its own set only
	}
	common := "i=" + strconv.Itoa(n) + "; a=" + s.key.Algorithm
	who := "; d=" + s.key.Domain + "; s=" + s.key.Selector + ";\r\n\tt=" + strconv.FormatInt(now.Unix(), 10)
	fields := dkimcore.Select(h, "DKIM-Signature")
	evidence := results(n)
	message := s.key.AppendField(nil, "ARC-Message-Signature", common+"; c=relaxed/relaxed"+who+fields.Tags(body), fields.Hash())
	seal := s.key.AppendField(dst, "ARC-Seal", common+"; cv="+cv+who+";", sealed(sets, evidence, message))
	return append(append(seal, message...), evidence...)
}

func hasARC(h *mail.Header) bool {
	for _, f := range h.Fields {
		if f.Is("ARC-Seal") || f.Is("ARC-Message-Signature") || f.Is("ARC-Authentication-Results") {
			return true
		}
	}
	return false
}

// ended reports that the set's sealer has declared the chain broken.
func (s *set) ended() bool { return s.seal != nil && s.seal.cv == string(Fail) }

// sealed is the hash of what a seal covers besides itself (section 5.1.1): the
// sets before, in order, and the rest of its own.
func sealed(sets []*set, results, message []byte) hash.Hash {
	var buf []byte
	for _, s := range sets {
		buf = dkimcore.AppendRelaxed(buf, "arc-authentication-results", s.results.Body())
		buf = dkimcore.AppendRelaxed(buf, "arc-message-signature", s.message.Body())
		buf = dkimcore.AppendRelaxed(buf, "arc-seal", s.seal.Body())
	}
	own := mail.ParseHeader(append(append([]byte{}, results...), message...))
	buf = dkimcore.AppendRelaxed(buf, "arc-authentication-results", own.Fields[0].Body())
	buf = dkimcore.AppendRelaxed(buf, "arc-message-signature", own.Fields[1].Body())
	h := sha256.New()
	h.Write(buf)
	return h
}

package arc

import (
	"crypto/sha256"
	"hash"

	"mailweir/internal/dkimcore"
)

// sealDigests are the hashes that the seals sign (section 5.1.1): all sets up
// to and with their own, in the order of their instances, under relaxed
// canonicalisation, the seal itself without its b=. They share their
// beginnings, so that one pass over the fields makes them all.
func (v *Validation) sealDigests() [][]byte {
	running := sha256.New().(hash.Cloner)
	out := make([][]byte, len(v.sets))
	var buf []byte
	for i, s := range v.sets {
		buf = dkimcore.AppendRelaxed(buf[:0], "arc-authentication-results", s.results.Body())
		buf = dkimcore.AppendRelaxed(buf, "arc-message-signature", s.message.Body())
		running.Write(buf)
		out[i] = sumWith(running, s.seal.AppendBlank(nil))
		buf = dkimcore.AppendRelaxed(buf[:0], "arc-seal", s.seal.Body())
		running.Write(buf)
	}
	return out
}

// sumWith is the hash as it would be after tail, which it leaves as it is.
func sumWith(h hash.Cloner, tail []byte) []byte {
	c, err := h.Clone()
	if err != nil {
		panic(err) // never of sha256
	}
	c.Write(tail)
	return c.Sum(nil)
}

package dkim

import (
	"crypto/sha256"
	"crypto/subtle"
	"hash"
	"strings"

	"mailweir/mail"
)

// check settles one signature (RFC 6376 section 6.1).
func (v *Verification) check(s *signature, names fieldIndex) {
	k, reason, err := s.key.result()
	if err != nil {
		s.Err = err
		s.end(TempError, "key look-up failed")
		return
	}
	if k != nil {
		s.KeyBits, s.Testing = k.bits, k.testing
	}
	if reason != "" {
		s.end(PermError, reason)
		return
	}
	if err := k.allows(s); err != nil {
		s.end(PermError, err.Error())
		return
	}
	body := v.simple
	if s.bodyRelaxed {
		body = v.relax
	}
	digest := body.finish()
	if s.length >= 0 && s.length != body.size {
		// A pass would vouch for octets that nobody signed (section 8.2).
		s.end(Fail, "l= does not cover the whole body")
		return
	}
	if subtle.ConstantTimeCompare(digest, s.digest) != 1 {
		s.end(Fail, "body hash does not match")
		return
	}
	if !k.verify(v.headerHash(s, names), s.sig) {
		s.end(Fail, "signature does not match")
		return
	}
	s.end(Pass, "")
}

// fieldIndex has the positions of the fields of each lower-case name, bottom
// first, because that is the order in which signatures take them.
type fieldIndex map[string][]int

func indexFields(h *mail.Header) fieldIndex {
	index := make(fieldIndex, len(h.Fields))
	for i := len(h.Fields) - 1; i >= 0; i-- {
		if name := strings.ToLower(h.Fields[i].Name()); name != "" {
			index[name] = append(index[name], i)
		}
	}
	return index
}

// headerHash hashes the fields that h= names (section 3.7): each mention of a
// name takes the next one up from the bottom, mentions past the top count as
// an empty string, and the signature itself, with b= empty, comes last.
func (v *Verification) headerHash(s *signature, names fieldIndex) []byte {
	hash := sha256.New()
	buf := make([]byte, 0, 1024)
	used := make(map[string]int, len(s.Fields))
	for _, name := range s.Fields {
		at := names[name]
		n := used[name]
		if n < len(at) && at[n] == s.Index {
			n++ // the signature under test never signs itself
		}
		if n >= len(at) {
			continue
		}
		used[name] = n + 1
		buf = v.putField(hash, buf, s, v.header.Fields[at[n]], name)
	}
	s.putSelf(hash, buf)
	return hash.Sum(nil)
}

func (v *Verification) putField(w hash.Hash, buf []byte, s *signature, f mail.Field, name string) []byte {
	if !s.headerRelaxed {
		w.Write(f.Raw)
		return buf
	}
	buf = appendRelaxed(buf[:0], name, f.Body())
	w.Write(buf)
	return buf
}

// putSelf adds the signature field without the value of b= and without its
// line end.
func (s *signature) putSelf(w hash.Hash, buf []byte) {
	body := append([]byte(s.value[:s.blank[0]]), s.value[s.blank[1]:]...)
	if s.headerRelaxed {
		w.Write(withoutCRLF(appendRelaxed(buf[:0], "dkim-signature", body)))
		return
	}
	name := s.field.Raw[:len(s.field.Raw)-len(s.value)]
	w.Write(name)
	w.Write(withoutCRLF(body))
}

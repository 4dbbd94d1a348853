package privacy

import (
	"bytes"

	"mailweir/filter"
	"mailweir/mail"
)

// signed tells which fields a DKIM signature covers. Of a name that h= gives n
// times the lowest n fields are covered (RFC 6376 section 5.4.2): one that was
// put on top of them later is not.
type signed map[string]int // lower-case name -> index of the topmost covered field

func (s signed) covers(name []byte, field int) bool {
	first, ok := s[string(name)]
	return ok && field >= first
}

// newSigned reads the signatures of h. One counts unless it is known to have
// failed: what could not be checked, here or at all, may be valid elsewhere.
func newSigned(h *mail.Header, dkim []filter.DKIMFacts) signed {
	var covered map[string]int // name -> how many fields
	for i, f := range h.Fields {
		if !f.Is("DKIM-Signature") {
			continue
		}
		facts := factsOf(dkim, i)
		if facts != nil && facts.Result == "fail" {
			continue
		}
		covered = addNames(covered, signedNames(f.Body()))
	}
	if covered == nil {
		return nil
	}
	return topmost(h, covered)
}

func factsOf(dkim []filter.DKIMFacts, field int) *filter.DKIMFacts {
	for i := range dkim {
		if dkim[i].SignatureIndex == field {
			return &dkim[i]
		}
	}
	return nil
}

// addNames raises the counts of covered to those of one signature, for the
// names that matter here: most signatures have none of them.
func addNames(covered map[string]int, names [][]byte) map[string]int {
	var counts map[string]int
	for _, n := range names {
		if !edited(n) {
			continue
		}
		if counts == nil {
			counts = map[string]int{}
		}
		counts[string(n)]++
	}
	if covered == nil {
		return counts
	}
	for n, count := range counts {
		covered[n] = max(covered[n], count)
	}
	return covered
}

// edited reports a lower-case name that Redact may touch.
func edited(name []byte) bool {
	if t, ok := clientFields[string(name)]; ok {
		return t != untouched || string(name) == "received"
	}
	return judgeName(name, name) != untouched
}

// signedNames are the names in h= of a DKIM-Signature body, in lower case.
func signedNames(body []byte) [][]byte {
	for tag := range bytes.SplitSeq(body, []byte(";")) {
		name, value, found := bytes.Cut(tag, []byte("="))
		if !found || !bytes.Equal(bytes.TrimSpace(name), []byte("h")) {
			continue
		}
		names := bytes.Split(bytes.ToLower(value), []byte(":"))
		for i := range names {
			names[i] = bytes.TrimSpace(names[i])
		}
		return names
	}
	return nil
}

// topmost goes through h from below and takes as many fields of each name as
// are covered.
func topmost(h *mail.Header, left map[string]int) signed {
	s := make(signed, len(left))
	for i := len(h.Fields) - 1; i >= 0; i-- {
		var buf [longestName]byte
		name := lowerName(&buf, nameOf(h.Fields[i]))
		if left[string(name)] > 0 {
			left[string(name)]--
			s[string(name)] = i
		}
	}
	return s
}

// nameOf is the field's name as it came; nil when the line is no field.
func nameOf(f mail.Field) []byte {
	n := len(f.Raw) - len(f.Body()) - 1
	if n < 0 {
		return nil
	}
	return f.Raw[:n]
}

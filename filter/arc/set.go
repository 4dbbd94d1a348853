package arc

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailweir/internal/dkimcore"
	"mailweir/mail"
)

// set is one ARC Set (section 4.2): what one sealer has added.
type set struct {
	instance int
	results  *field // ARC-Authentication-Results
	message  *signed
	seal     *seal
}

// field is a header field and its place in the header section.
type field struct {
	mail.Field
	index int
}

// signed is an ARC-Message-Signature. With a fault it cannot verify: that
// breaks the chain only in the newest set.
type signed struct {
	dkimcore.Signature
	field
	fault    string
	formless bool // it has no c=
}

// seal is an ARC-Seal.
type seal struct {
	dkimcore.Signature
	field
	cv    string
	fault string
}

// errStray is a field without an instance that could be: it belongs to no set.
var errStray = errors.New("an ARC field is malformed or has an impossible instance")

// collect gathers the sets of a message, by instance. With a field that
// belongs to no set, or that its set has already, the structure is invalid
// (section 5.2, step 3): reason says so. Where there are only such fields,
// there is no chain.
func collect(h *mail.Header, now time.Time) (sets []*set, reason string) {
	count := 0
	for i, f := range h.Fields {
		if !isARC(f) {
			continue
		}
		var err error
		if count++; count > 3*MaxSets {
			return sets, errTooMany.Error()
		}
		switch at := (field{f, i}); {
		case f.Is("ARC-Authentication-Results"):
			sets, err = addResults(sets, at)
		case f.Is("ARC-Message-Signature"):
			sets, err = addMessage(sets, at, now)
		case f.Is("ARC-Seal"):
			sets, err = addSeal(sets, at)
		}
		if err != nil {
			reason = err.Error()
			if err != errStray {
				break
			}
		}
	}
	switch {
	case len(sets) == 0 && reason == errStray.Error():
		return nil, ""
	case len(sets) > 0 && len(h.Raw) > MaxHeader:
		reason = "header section too large"
	}
	slices.SortFunc(sets, func(a, b *set) int { return a.instance - b.instance })
	return sets, reason
}

func isARC(f mail.Field) bool { return len(f.Raw) > 4 && strings.EqualFold(string(f.Raw[:4]), "arc-") }

// member is the set with that instance, a new one where there is none yet.
func member(sets []*set, instance int) ([]*set, *set, error) {
	switch {
	case instance == 0:
		return sets, nil, errStray
	case instance > MaxSets:
		return sets, nil, errTooMany
	}
	for _, s := range sets {
		if s.instance == instance {
			return sets, s, nil
		}
	}
	s := &set{instance: instance}
	return append(sets, s), s, nil
}

var errTooMany = errors.New("more sets than there may be")

func addResults(sets []*set, f field) ([]*set, error) {
	sets, s, err := member(sets, resultsInstance(f.Body()))
	if err != nil {
		return sets, err
	}
	if s.results != nil {
		return sets, fmt.Errorf("set %d has two ARC-Authentication-Results", s.instance)
	}
	s.results = &f
	return sets, nil
}

func addMessage(sets []*set, f field, now time.Time) ([]*set, error) {
	m := &signed{field: f}
	tags, n, fault := parse(&m.Signature, f.Field)
	sets, s, err := member(sets, n)
	if err != nil {
		return sets, err
	}
	if s.message != nil {
		return sets, fmt.Errorf("set %d has two ARC-Message-Signatures", n)
	}
	if m.fault = fault; fault == "" {
		m.fault = m.read(tags, now)
	}
	s.message = m
	return sets, nil
}

func addSeal(sets []*set, f field) ([]*set, error) {
	a := &seal{field: f}
	tags, n, fault := parse(&a.Signature, f.Field)
	sets, s, err := member(sets, n)
	if err != nil {
		return sets, err
	}
	if s.seal != nil {
		return sets, fmt.Errorf("set %d has two ARC-Seals", n)
	}
	if a.fault = fault; fault == "" {
		a.fault = a.read(tags)
	}
	s.seal = a
	return sets, nil
}

// parse reads what both kinds of signatures have: the tag list, whose grammar
// has no empty tags, the instance, d=, s=, a=, b= and t=.
func parse(s *dkimcore.Signature, f mail.Field) (tags []dkimcore.Tag, instance int, fault string) {
	tags, fault = s.Parse(f)
	if fault != "" {
		return nil, 0, fault
	}
	i, _ := dkimcore.Lookup(tags, "i")
	instance, rest := position([]byte(i.Value))
	if len(rest) > 0 {
		return nil, 0, errStray.Error()
	}
	if emptyTag(s.Value()) {
		return tags, instance, "empty tag"
	}
	s.ReadSigner(tags)
	if fault = s.CheckSigner(); fault != "" {
		return tags, instance, fault
	}
	if t, ok := dkimcore.Lookup(tags, "t"); ok && !isNumber(t.Value) {
		return tags, instance, "malformed t="
	}
	return tags, instance, s.ReadSignature(tags)
}

// read reads the rest of an ARC-Message-Signature (section 4.1.2): it is a
// DKIM-Signature but for v=, which is ignored, and i=.
func (m *signed) read(tags []dkimcore.Tag, now time.Time) string {
	m.ReadFields(tags)
	switch {
	case m.Fields == nil:
		return "missing h="
	case slices.Contains(m.Fields, "arc-seal"):
		// The section forbids all ARC fields, and Authentication-Results, so
		// that later hops do not break the signature. Sealers sign them all
		// the same, which does no harm as long as it verifies; a seal is the
		// one thing that the next set must be able to cover.
		return "h= names ARC-Seal"
	}
	if fault := m.ReadDigest(tags); fault != "" {
		return fault
	}
	if fault := m.ReadForm(tags); fault != "" {
		return fault
	}
	_, named := dkimcore.Lookup(tags, "c")
	m.formless = !named
	return dkimcore.CheckTimes(tags, now)
}

// read reads the rest of an ARC-Seal (section 4.1.3). cv= compares with case, as
// all values do whose description does not say otherwise (RFC 6376 section 3.2):
// that of section 3.9 is ABNF only, in which "pass" could be "PASS". Where two
// texts differ we take what the other validators take; no sealer writes it so.
func (a *seal) read(tags []dkimcore.Tag) string {
	cv, _ := dkimcore.Lookup(tags, "cv")
	a.cv = string(skipCFWS([]byte(cv.Value)))
	if _, ok := dkimcore.Lookup(tags, "h"); ok {
		return "h= is not allowed in a seal"
	}
	if a.cv != "none" && a.cv != "pass" && a.cv != "fail" {
		return "missing or unknown cv="
	}
	return ""
}

// checkStructure takes steps 1 to 3 of section 5.2. More than MaxSets sets
// cannot come here: their instances are not valid.
func checkStructure(sets []*set) string {
	if last := sets[len(sets)-1]; last.seal != nil && last.seal.cv == "fail" {
		return "the last sealer found the chain broken"
	}
	for i, s := range sets {
		switch {
		case s.instance != i+1:
			return fmt.Sprintf("set %d is missing", i+1)
		case s.results == nil || s.message == nil || s.seal == nil:
			return fmt.Sprintf("set %d is incomplete", s.instance)
		case s.seal.fault != "":
			return fmt.Sprintf("seal %d: %s", s.instance, s.seal.fault)
		case i == 0 && s.seal.cv != "none", i > 0 && s.seal.cv != "pass":
			return fmt.Sprintf("seal %d: cv=%s", s.instance, s.seal.cv)
		}
	}
	return ""
}

// sealers are the domains of the seals, as far as there are any.
func sealers(sets []*set) []string {
	var out []string
	for _, s := range sets {
		if s.seal != nil && s.seal.CheckSigner() == "" {
			out = append(out, s.seal.Domain)
		}
	}
	return out
}

// resultsInstance reads the instance at the start of ARC-Authentication-
// Results (section 4.1.1), 0 for none. What follows is evidence, and does not
// count for the validity of the chain (section 3.4).
func resultsInstance(b []byte) int {
	b = skipCFWS(b)
	if len(b) == 0 || b[0] != 'i' {
		return 0
	}
	b = skipCFWS(b[1:])
	if len(b) == 0 || b[0] != '=' {
		return 0
	}
	n, b := position(b[1:])
	if len(b) == 0 || b[0] != ';' {
		return 0
	}
	return n
}

// position reads an instance of one or two digits (section 3.9), with the CFWS
// around it. It is 0 where there is none.
func position(b []byte) (n int, rest []byte) {
	b = skipCFWS(b)
	digits := 0
	for ; digits < len(b) && '0' <= b[digits] && b[digits] <= '9'; digits++ {
		if digits == 2 {
			return 0, nil
		}
		n = 10*n + int(b[digits]-'0')
	}
	return n, skipCFWS(b[digits:])
}

// skipCFWS skips folding white space and comments (RFC 5322 section 3.2.2).
func skipCFWS(b []byte) []byte {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			i++
		case depth > 0 || bytes.IndexByte([]byte(" \t\r\n"), c) >= 0:
		default:
			return b[i:]
		}
	}
	return nil
}

// emptyTag finds a tag without a name, which the grammar of RFC 6376 section
// 3.2 does not have; one semicolon may end the list.
func emptyTag(list string) bool {
	list = strings.TrimSuffix(strings.TrimRight(list, " \t\r\n"), ";")
	for spec := range strings.SplitSeq(list, ";") {
		if strings.Trim(spec, " \t\r\n") == "" {
			return true
		}
	}
	return false
}

// isNumber tests the value of t=, in which no white space may stand.
func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

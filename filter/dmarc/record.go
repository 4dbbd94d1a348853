package dmarc

import (
	"errors"
	"strings"
)

// Policy is a Domain Owner Assessment Policy (RFC 9989 section 4.7).
type Policy string

// The policies, mildest first.
const (
	PolicyNone       Policy = "none"
	PolicyQuarantine Policy = "quarantine"
	PolicyReject     Policy = "reject"
)

// Record is a DMARC Policy Record (RFC 9989 section 4.7). Tags of RFC 7489 that
// the new RFC dropped (pct, rf, ri) are read over like any unknown tag.
type Record struct {
	Policy     Policy // p
	Subdomain  Policy // sp, "" when absent
	NonExist   Policy // np, "" when absent
	StrictDKIM bool   // adkim=s
	StrictSPF  bool   // aspf=s
	PSD        byte   // 'y', 'n' or 'u'
	Testing    bool   // t=y
	RUA        []string

	// Invalid tells that p is missing, or that p, sp or np is no policy, so that
	// none stands for all of them.
	Invalid bool

	// Void marks a record that is there, and counts for the tree walk, but
	// has no usable policy and no address to report that to: section 4.10.1
	// says that no DMARC processing applies then.
	Void bool
}

// Why a text is no record that could be used.
var (
	// ErrRecord: it is not a DMARC record at all.
	ErrRecord = errors.New("dmarc: not a DMARC record")
	// ErrDuplicate: it is one, and no name of a tag may be there twice: the whole
	// list is invalid then (RFC 6376 section 3.2, whose syntax this is).
	ErrDuplicate = errors.New("dmarc: a tag is there twice")
)

// ParseRecord parses a record. "v=DMARC1" must be its first tag; a syntax
// error behind that only costs the tag that has it, except for a duplicate.
func ParseRecord(txt string) (*Record, error) {
	first, rest, _ := strings.Cut(txt, ";")
	name, value, ok := cutTag(first)
	if !ok || txt[0] == ' ' || txt[0] == '\t' || name != "v" || value != "DMARC1" {
		return nil, ErrRecord
	}
	r := &Record{PSD: 'u'}
	seen, invalid := map[string]bool{"v": true}, false
	for part := range strings.SplitSeq(rest, ";") {
		name, value, ok := cutTag(part)
		if !ok {
			continue
		}
		if seen[name] {
			return nil, ErrDuplicate
		}
		seen[name] = true
		invalid = !r.set(name, value) || invalid
	}
	if r.Invalid = invalid || r.Policy == ""; r.Invalid {
		// Section 4.10.1: an unusable p, sp or np makes p=none, if there is
		// somebody to tell.
		r.Policy, r.Subdomain, r.NonExist = PolicyNone, "", ""
		r.Void = len(r.RUA) == 0
	}
	return r, nil
}

// cutTag splits "name = value". Names compare without case, as ABNF literals.
func cutTag(s string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(s, "=")
	name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
	return strings.ToLower(name), value, ok && name != ""
}

// set stores one tag; false means that a policy is not valid.
func (r *Record) set(name, value string) bool {
	low := strings.ToLower(value)
	switch name {
	case "p":
		return setPolicy(&r.Policy, low)
	case "sp":
		return setPolicy(&r.Subdomain, low)
	case "np":
		return setPolicy(&r.NonExist, low)
	case "adkim":
		r.StrictDKIM = low == "s"
	case "aspf":
		r.StrictSPF = low == "s"
	case "t":
		r.Testing = low == "y"
	case "psd":
		if low == "y" || low == "n" {
			r.PSD = low[0]
		}
	case "rua":
		r.RUA = reportURIs(value)
	}
	return true
}

func setPolicy(p *Policy, value string) bool {
	switch Policy(value) {
	case PolicyNone, PolicyQuarantine, PolicyReject:
		*p = Policy(value)
		return true
	}
	return false
}

// maxRUA bounds the addresses that are kept of one record.
const maxRUA = 16

// What of the addresses goes into the text of a record. RFC 9990 leaves it to
// receivers how many they support.
const (
	maxTextRUA = 4
	maxURI     = 250
)

// String is the record as text that ParseRecord reads, without what it did not
// understand, and with a bounded length: what an aggregate report needs of it.
func (r *Record) String() string {
	b := []byte("v=DMARC1; p=" + string(r.Policy))
	add := func(tag, value string) {
		if value != "" {
			b = append(append(append(append(b, "; "...), tag...), '='), value...)
		}
	}
	flag := func(tag string, on bool, value string) {
		if on {
			add(tag, value)
		}
	}
	add("sp", string(r.Subdomain))
	add("np", string(r.NonExist))
	flag("adkim", r.StrictDKIM, "s")
	flag("aspf", r.StrictSPF, "s")
	flag("psd", r.PSD != 'u', string(rune(r.PSD)))
	flag("t", r.Testing, "y")
	var uris []string
	for _, u := range r.RUA {
		if len(u) <= maxURI && len(uris) < maxTextRUA {
			uris = append(uris, u)
		}
	}
	add("rua", strings.Join(uris, ","))
	return string(b)
}

// reportURIs are the syntactically valid URIs of rua (RFC 3986 section 3): a
// scheme, a colon, and nothing that must be encoded. Whether a report can go
// there is another question.
func reportURIs(value string) []string {
	var out []string
	for uri := range strings.SplitSeq(value, ",") {
		uri = strings.Trim(uri, " \t")
		scheme, rest, ok := strings.Cut(uri, ":")
		if ok && validScheme(scheme) && !strings.ContainsFunc(rest, mustBeEncoded) && len(out) < maxRUA {
			out = append(out, uri)
		}
	}
	return out
}

func mustBeEncoded(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune("\"<>\\^`{|}", c) }

func validScheme(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i] | 0x20
		if !('a' <= c && c <= 'z') && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(s[i]))) {
			return false
		}
	}
	return s != ""
}

// forSubdomain is the policy for a subdomain of the domain that published the record.
func (r *Record) forSubdomain(exists bool) Policy {
	if !exists && r.NonExist != "" {
		return r.NonExist
	}
	if r.Subdomain != "" {
		return r.Subdomain
	}
	return r.Policy
}

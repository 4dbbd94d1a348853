package spf

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// record is a parsed policy (RFC 7208 section 4.6.1 and 12).
type record struct {
	directives []directive
	redirect   string // domain-spec of redirect=, "" without
	exp        string // domain-spec of exp=
	hasAll     bool
}

// directive is one qualified mechanism.
type directive struct {
	text   string // as published
	result Status // what a match means
	kind   mechanism
	spec   string       // domain-spec, unexpanded; "" means the current domain
	net    netip.Prefix // of ip4 and ip6
	cidr4  int          // of a and mx
	cidr6  int
}

// asks reports that the evaluation of d needs DNS (section 4.6.4).
func (d *directive) asks() bool { return d.kind != mechAll && d.kind != mechIP4 && d.kind != mechIP6 }

type mechanism uint8

const (
	mechAll mechanism = iota
	mechInclude
	mechA
	mechMX
	mechPTR
	mechIP4
	mechIP6
	mechExists
)

var mechanisms = map[string]mechanism{
	"all": mechAll, "include": mechInclude, "a": mechA, "mx": mechMX,
	"ptr": mechPTR, "ip4": mechIP4, "ip6": mechIP6, "exists": mechExists,
}

var qualifiers = map[byte]Status{'+': Pass, '-': Fail, '~': SoftFail, '?': Neutral}

const version = "v=spf1"

// isRecord tells an SPF record from other TXT records (section 4.5).
func isRecord(txt string) bool {
	return len(txt) >= len(version) && strings.EqualFold(txt[:len(version)], version) &&
		(len(txt) == len(version) || txt[len(version)] == ' ')
}

// parseRecord reads all of a record: a syntax error anywhere in it is a
// permerror (section 4.6), even behind a mechanism that would match.
func parseRecord(txt string) (*record, error) {
	for i := 0; i < len(txt); i++ {
		if txt[i] < ' ' || txt[i] > '~' {
			return nil, errors.New("record has an octet outside of printable ASCII")
		}
	}
	rec := &record{directives: make([]directive, 0, 1+strings.Count(txt, " "))}
	for term := range strings.SplitSeq(txt[len(version):], " ") {
		if term == "" {
			continue
		}
		if err := rec.addTerm(term); err != nil {
			return nil, errors.New("term " + strconv.Quote(term) + ": " + err.Error())
		}
	}
	return rec, nil
}

func (rec *record) addTerm(term string) error {
	if n := nameLength(term); n > 0 && n < len(term) && term[n] == '=' {
		return rec.addModifier(term[:n], term[n+1:])
	}
	d, err := parseDirective(term)
	if err != nil {
		return err
	}
	rec.directives = append(rec.directives, d)
	rec.hasAll = rec.hasAll || d.kind == mechAll
	return nil
}

// nameLength is the length of the modifier name that s starts with:
// ALPHA *( ALPHA / DIGIT / "-" / "_" / "." ).
func nameLength(s string) int {
	i := 0
	for i < len(s) && (isAlpha(s[i]) || i > 0 && (isDigit(s[i]) || s[i] == '-' || s[i] == '_' || s[i] == '.')) {
		i++
	}
	return i
}

func (rec *record) addModifier(name, value string) error {
	var field *string
	switch strings.ToLower(name) {
	case "redirect":
		field = &rec.redirect
	case "exp":
		field = &rec.exp
	default: // unknown modifiers are ignored, once their syntax is right (section 6)
		return checkMacros(value, false)
	}
	if *field != "" {
		return errors.New("modifier appears twice")
	}
	*field = value
	return checkDomainSpec(value)
}

func parseDirective(term string) (directive, error) {
	d := directive{text: term, result: Pass, cidr4: 32, cidr6: 128}
	if q, ok := qualifiers[term[0]]; ok {
		d.result, term = q, term[1:]
	}
	end := strings.IndexAny(term, ":/")
	if end < 0 {
		end = len(term)
	}
	kind, ok := mechanisms[strings.ToLower(term[:end])]
	if !ok {
		return d, errors.New("unknown mechanism")
	}
	d.kind = kind
	return d, d.parseArgument(term[end:])
}

// parseArgument reads what follows the mechanism's name: "", ":..." or "/...".
func (d *directive) parseArgument(arg string) (err error) {
	switch d.kind {
	case mechAll:
		if arg != "" {
			return errors.New("all has no argument")
		}
		return nil
	case mechIP4, mechIP6:
		return d.parseNetwork(arg)
	case mechA, mechMX:
		if arg, err = d.parseDualCIDR(arg); err != nil {
			return err
		}
		fallthrough
	case mechPTR:
		if arg == "" {
			return nil
		}
	}
	if arg == "" || arg[0] != ':' {
		return errors.New("no domain")
	}
	d.spec = arg[1:]
	return checkDomainSpec(d.spec)
}

// parseNetwork reads ":" ip4-network [ip4-cidr-length] or its IPv6 twin.
func (d *directive) parseNetwork(arg string) error {
	if arg == "" || arg[0] != ':' {
		return errors.New("no network")
	}
	host, bits, found := strings.Cut(arg[1:], "/")
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" || addr.Is4() != (d.kind == mechIP4) {
		return errors.New("not an address of that family")
	}
	n := addr.BitLen()
	if found {
		if n, err = parseBits(bits, n); err != nil {
			return err
		}
	}
	// IPv6 networks keep their mapped form: ip6:::ffff:1.2.3.4 is no ip4.
	d.net = netip.PrefixFrom(addr, n).Masked()
	return nil
}

// parseDualCIDR takes [ "/" n ] [ "//" n ] off the end of arg. A domain-spec
// may hold slashes itself, so only digits at the very end count.
func (d *directive) parseDualCIDR(arg string) (rest string, err error) {
	rest, bits, slashes := cutCIDR(arg)
	if slashes == 2 {
		if d.cidr6, err = parseBits(bits, 128); err != nil {
			return "", err
		}
		arg = rest
		rest, bits, slashes = cutCIDR(arg)
		if slashes != 1 {
			return arg, nil
		}
	}
	if slashes == 1 {
		if d.cidr4, err = parseBits(bits, 32); err != nil {
			return "", err
		}
		return rest, nil
	}
	return arg, nil
}

// cutCIDR splits "rest/bits" or "rest//bits" with digits only in bits.
func cutCIDR(s string) (rest, bits string, slashes int) {
	i := len(s)
	for i > 0 && isDigit(s[i-1]) {
		i--
	}
	if i == 0 || s[i-1] != '/' {
		return s, "", 0
	}
	if i >= 2 && s[i-2] == '/' {
		return s[:i-2], s[i:], 2
	}
	return s[:i-1], s[i:], 1
}

// parseBits reads a prefix length without leading zeros.
func parseBits(s string, most int) (int, error) {
	if s == "" || len(s) > 3 || len(s) > 1 && s[0] == '0' {
		return 0, errors.New("bad prefix length")
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0, errors.New("bad prefix length")
		}
		n = 10*n + int(s[i]-'0')
	}
	if n > most {
		return 0, errors.New("prefix length out of range")
	}
	return n, nil
}

// checkDomainSpec checks domain-spec of section 7.1: a macro-string that ends
// in a macro or in a dot and a top label, which is never all digits.
func checkDomainSpec(s string) error {
	if err := checkMacros(s, false); err != nil {
		return err
	}
	if s == "" {
		return errors.New("empty domain")
	}
	if endsInMacro(s) {
		return nil
	}
	s = strings.TrimSuffix(s, ".")
	dot := strings.LastIndexByte(s, '.')
	if dot < 0 || !validTopLabel(s[dot+1:]) {
		return errors.New("domain has no top-level label")
	}
	return nil
}

func validTopLabel(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	alpha := false
	for i := 0; i < len(s); i++ {
		if !isAlpha(s[i]) && !isDigit(s[i]) && s[i] != '-' {
			return false
		}
		alpha = alpha || !isDigit(s[i])
	}
	return alpha
}

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

package spf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"mailweir/internal/dns"
)

// evaluation is the state of one Check: the counters span every record that
// include and redirect lead to.
type evaluation struct {
	ctx    context.Context
	dns    Resolver
	args   Args
	ip     netip.Addr
	local  string
	sender string // domain of the identity, %{o}

	lookups int
	voids   int
	missing []string // names of the voids
	begun   int      // look-ups begun ahead of their turn
	names   []string // forward-confirmed names of ip
	named   bool     // names was looked up
	nameErr error    // of that look-up
	problem string
	err     error
}

// outcome is the result of one check_host.
type outcome struct {
	status    Status
	mechanism string
	source    string  // the domain whose record decided
	record    *record // for its exp=
}

// stop is what ends an evaluation early; it travels as an error.
type stop struct {
	status  Status
	problem string
	cause   error
}

func (s *stop) Error() string { return s.problem }
func (s *stop) Unwrap() error { return s.cause }

func permanent(format string, args ...any) error {
	return &stop{status: PermError, problem: fmt.Sprintf(format, args...)}
}

func temporary(err error) error {
	return &stop{status: TempError, problem: err.Error(), cause: err}
}

// checkHost is check_host of section 4 for domain; any error becomes its
// result.
func (e *evaluation) checkHost(domain string) outcome {
	out, err := e.evaluate(domain)
	if err == nil {
		return out
	}
	var s *stop
	if !errors.As(err, &s) {
		s = &stop{status: TempError, problem: err.Error(), cause: err}
	}
	if e.problem == "" {
		e.problem, e.err = s.problem, s.cause
	}
	return outcome{status: s.status, source: domain}
}

func (e *evaluation) evaluate(domain string) (outcome, error) {
	none := outcome{status: None, source: domain}
	if !validDomain(domain) {
		return none, nil
	}
	txt, err := e.fetch(domain)
	if err != nil || txt == "" {
		return none, err
	}
	rec, err := parseRecord(txt)
	if err != nil {
		return none, permanent("record of %s: %v", domain, err)
	}
	asked := false
	for i := range rec.directives {
		d := &rec.directives[i]
		if d.asks() && !asked {
			asked = true
			e.ahead(rec, i, domain)
		}
		match, err := e.match(d, domain)
		if err != nil {
			return none, err
		}
		if match {
			return outcome{d.result, d.text, domain, rec}, nil
		}
	}
	if rec.redirect != "" && !rec.hasAll {
		return e.redirect(rec.redirect, domain)
	}
	return outcome{status: Neutral, source: domain, record: rec}, nil // section 4.7
}

// fetch finds the one SPF record of domain (sections 4.4 and 4.5).
func (e *evaluation) fetch(domain string) (string, error) {
	txts, err := e.dns.LookupTXT(e.ctx, domain)
	if err != nil {
		if dns.IsNotFound(err) {
			return "", nil
		}
		return "", temporary(err)
	}
	found := ""
	for _, txt := range txts {
		if !isRecord(txt) {
			continue
		}
		if found != "" {
			return "", permanent("%s has several SPF records", domain)
		}
		found = txt
	}
	return found, nil
}

// redirect is section 6.1: the target's result is the result, and so is its
// explanation.
func (e *evaluation) redirect(spec, domain string) (outcome, error) {
	if err := e.count(); err != nil {
		return outcome{}, err
	}
	target, ok := e.target(spec, domain)
	if !ok {
		return outcome{}, permanent("redirect to an impossible name")
	}
	out, err := e.evaluate(target)
	if err == nil && out.status == None {
		return out, permanent("redirect to %s, which has no record", target)
	}
	return out, err
}

// count counts a term that causes DNS queries (section 4.6.4).
func (e *evaluation) count() error {
	if e.lookups++; e.lookups > maxLookups {
		return permanent("more than %d DNS look-ups", maxLookups)
	}
	return nil
}

// target is the domain that a term speaks of: domain itself, or its
// domain-spec expanded and cut to the length of a name (section 7.3).
func (e *evaluation) target(spec, domain string) (string, bool) {
	if spec == "" {
		return domain, true
	}
	name, ok := e.expand(spec, domain)
	if !ok {
		return "", false
	}
	name = strings.TrimSuffix(name, ".")
	for len(name) > 253 {
		dot := strings.IndexByte(name, '.')
		if dot < 0 {
			return "", false
		}
		name = name[dot+1:]
	}
	return name, name != ""
}

// match evaluates one mechanism (section 5).
func (e *evaluation) match(d *directive, domain string) (bool, error) {
	switch d.kind {
	case mechAll:
		return true, nil
	case mechIP4, mechIP6:
		return d.net.Contains(e.ip), nil
	}
	if err := e.count(); err != nil {
		return false, err
	}
	name, ok := e.target(d.spec, domain)
	if !ok {
		if d.kind == mechInclude {
			return false, permanent("include of an impossible name")
		}
		return false, nil
	}
	switch d.kind {
	case mechInclude:
		return e.include(name)
	case mechA:
		addrs, err := e.addresses(name)
		return d.covers(e.ip, addrs), e.void(err)
	case mechMX:
		return e.matchMX(d, name)
	case mechPTR:
		return e.matchPTR(name)
	}
	addrs, err := e.dns.LookupA(e.ctx, name) // exists asks for A always (section 5.7)
	return len(addrs) > 0, e.void(err)
}

// include is section 5.2: a table of the inner result.
func (e *evaluation) include(name string) (bool, error) {
	out, err := e.evaluate(name)
	if err != nil {
		return false, err
	}
	if out.status == None {
		return false, permanent("include of %s, which has no record", name)
	}
	return out.status == Pass, nil
}

// addresses looks up what the client's family has (section 5).
func (e *evaluation) addresses(name string) ([]netip.Addr, error) {
	if e.ip.Is4() {
		return e.dns.LookupA(e.ctx, name)
	}
	return e.dns.LookupAAAA(e.ctx, name)
}

// covers compares ip with addrs under the prefix length of its family.
func (d *directive) covers(ip netip.Addr, addrs []netip.Addr) bool {
	bits := d.cidr6
	if ip.Is4() {
		bits = d.cidr4
	}
	net, err := ip.Prefix(bits)
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if net.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

// void counts look-ups that certainly have no answer; whatever else went wrong
// is a temperror.
func (e *evaluation) void(err error) error {
	if err == nil {
		return nil
	}
	if !dns.IsNotFound(err) {
		return temporary(err)
	}
	var missing *dns.Error
	if errors.As(err, &missing) {
		e.missing = append(e.missing, missing.Name)
	}
	if e.voids++; e.voids > maxVoid {
		return permanent("more than %d DNS look-ups without an answer: %s", maxVoid, strings.Join(e.missing, ", "))
	}
	return nil
}

// matchMX is section 5.4. A host without an address of the client's family is
// no void look-up: the limit is on terms, and IPv4-only hosts are common.
func (e *evaluation) matchMX(d *directive, name string) (bool, error) {
	hosts, err := e.dns.LookupMX(e.ctx, name)
	if err != nil {
		return false, e.void(err)
	}
	if len(hosts) > maxMX {
		return false, permanent("%s has more than %d MX hosts", name, maxMX)
	}
	e.hosts(len(hosts), func(i int) string { return hosts[i].Host })
	for _, mx := range hosts {
		if mx.Host == "" {
			continue // null MX (RFC 7505)
		}
		addrs, err := e.addresses(mx.Host)
		if err != nil && !dns.IsNotFound(err) {
			return false, temporary(err)
		}
		if d.covers(e.ip, addrs) {
			return true, nil
		}
	}
	return false, nil
}

// matchPTR is section 5.5, which says itself that a DNS error there means "does
// not match". A client without names is a void look-up all the same.
func (e *evaluation) matchPTR(name string) (bool, error) {
	for _, host := range e.confirmedNames() {
		if underDomain(host, name) {
			return true, nil
		}
	}
	if dns.IsNotFound(e.nameErr) {
		return false, e.void(e.nameErr)
	}
	return false, nil
}

// confirmedNames are the names of the client that lead back to its address,
// among the first maxPTR.
func (e *evaluation) confirmedNames() []string {
	if e.named {
		return e.names
	}
	e.named = true
	var hosts []string
	hosts, e.nameErr = e.dns.LookupPTR(e.ctx, e.ip)
	hosts = hosts[:min(len(hosts), maxPTR)]
	e.hosts(len(hosts), func(i int) string { return hosts[i] })
	for _, host := range hosts {
		host = strings.TrimSuffix(host, ".")
		addrs, err := e.addresses(host)
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if a.Unmap() == e.ip {
				e.names = append(e.names, host)
				break
			}
		}
	}
	return e.names
}

// underDomain reports that host is domain or a subdomain of it.
func underDomain(host, domain string) bool {
	n := len(host) - len(domain)
	return n >= 0 && strings.EqualFold(host[n:], domain) && (n == 0 || host[n-1] == '.')
}

// validatedName is %{p}: the domain itself first, then a name under it, then
// any confirmed name (section 7.3).
func (e *evaluation) validatedName(domain string) string {
	best := "unknown"
	for i, host := range e.confirmedNames() {
		if strings.EqualFold(host, domain) {
			return host
		}
		if i == 0 || underDomain(host, domain) && !underDomain(best, domain) {
			best = host
		}
	}
	return best
}

// explain fetches the domain's text for a fail (section 6.2). Whatever is
// wrong with it, there simply is none.
func (e *evaluation) explain(out outcome) string {
	if out.record == nil || out.record.exp == "" {
		return ""
	}
	name, ok := e.target(out.record.exp, out.source)
	if !ok {
		return ""
	}
	txts, err := e.dns.LookupTXT(e.ctx, name)
	if err != nil || len(txts) != 1 || checkMacros(txts[0], true) != nil {
		return ""
	}
	text, ok := e.expand(txts[0], out.source)
	if !ok || !isASCII(text) {
		return ""
	}
	return text
}

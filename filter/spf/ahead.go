package spf

import (
	"strings"

	"mailweir/internal/dns"
)

// maxAhead bounds the look-ups that one check begins ahead of their turn: a
// record may not make us ask for much more than its terms are allowed to.
const maxAhead = 20

// prefetcher is a Resolver that can begin a look-up without waiting for it.
type prefetcher interface {
	Prefetch(t dns.Type, name string)
}

// ahead begins the look-ups of the terms behind i, which is the first one that
// needs any. The evaluation will come to them unless an earlier one matches. Terms are evaluated in order, but only
// an include depends on another answer: so a record costs as many round trips
// as it is deep, not as many as it has terms. What is found does not change.
func (e *evaluation) ahead(rec *record, i int, domain string) {
	left := maxLookups - e.lookups - 1
	for i++; i < len(rec.directives) && left > 0; i++ {
		if d := &rec.directives[i]; d.asks() {
			left--
			e.prefetch(d.kind, d.spec, domain)
		}
		if rec.directives[i].kind == mechAll {
			return
		}
	}
	if rec.redirect != "" && left > 0 {
		e.prefetch(mechInclude, rec.redirect, domain)
	}
}

// prefetch begins the first look-up of one term. A name with %{p} in it needs
// other look-ups first, and is left to its turn.
func (e *evaluation) prefetch(kind mechanism, spec, domain string) {
	if strings.Contains(spec, "%{p") || strings.Contains(spec, "%{P") {
		return
	}
	name, ok := e.target(spec, domain)
	switch {
	case !ok:
	case kind == mechInclude:
		e.begin(dns.TypeTXT, name)
	case kind == mechMX:
		e.begin(dns.TypeMX, name)
	case kind == mechA:
		e.begin(e.addressType(), name)
	case kind == mechExists:
		e.begin(dns.TypeA, name)
	}
}

// hosts begins the look-ups of the hosts of an mx or ptr.
func (e *evaluation) hosts(n int, name func(int) string) {
	for i := 1; i < n; i++ { // the first one is asked right away
		e.begin(e.addressType(), name(i))
	}
}

func (e *evaluation) addressType() dns.Type {
	if e.ip.Is4() {
		return dns.TypeA
	}
	return dns.TypeAAAA
}

func (e *evaluation) begin(t dns.Type, name string) {
	if p, ok := e.dns.(prefetcher); ok && e.begun < maxAhead {
		e.begun++
		p.Prefetch(t, name)
	}
}

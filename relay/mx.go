package relay

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"

	"mailweir/internal/dns"
	"mailweir/mail"
)

// Limits of one attempt with MX delivery. RFC 5321 section 5.1 lets a client
// bound the number of alternates, and wants at least two addresses tried; the
// next attempt draws again among equals.
const (
	maxExchangers    = 5 // hosts, of the best preferences
	maxHostAddresses = 4 // of one host
	maxTries         = 8 // addresses in all
)

// exchange finds the mail exchangers of one domain for one attempt. Those of
// equal preference are looked up together, and worse ones only when all better
// ones have given no service.
type exchange struct {
	s        *state
	domain   string // canonical, or an address literal
	implicit bool   // there is no MX: the domain itself is the host
	hosts    []dns.MX
	turn     bool // it counts among MaxAttempts
	held     []*heldHop
	what     finding
	result   mail.Result
	reply    mail.Reply
}

// finding is what the look-ups came to, the weightier the greater: "we could
// not find out" is more than any certain answer, or mail would fail for good
// that may have a way tomorrow.
type finding int

const (
	mxNone finding = iota // interrupted before anything was known
	mxFound
	mxNotFound
	mxNull
	mxRefused
	mxLoop
	mxTemporary
	mxCrowded // not looked up: too many attempts are under way
)

var findings = [...]string{mxFound: "found", mxNotFound: "not_found", mxNull: "null", mxRefused: "refused", mxLoop: "loop", mxTemporary: "temporary", mxCrowded: "crowded"}

// begin waits for a turn and finds the hosts. Whatever it comes to, end is due.
func (x *exchange) begin(ctx context.Context) {
	if err := x.s.mx.turn(ctx); err == errCrowded {
		x.conclude(mxCrowded, mail.Deferred, mail.EnhancedCode{4, 4, 5}, "deliveries to other domains: %s", err)
	} else if err == nil {
		x.turn = true
		x.find(ctx)
	}
}

// find looks up the hosts, or knows why there are none.
func (x *exchange) find(ctx context.Context) {
	domain := x.domain
	switch {
	case domain[0] == '[': // RFC 5321 section 4.1.3: no look-up at all
		x.hosts = []dns.MX{{Host: domain}}
		return
	case !mail.ValidDomain(domain, false):
		x.conclude(mxNotFound, mail.Failed, mail.EnhancedCode{5, 1, 2}, "the domain has no form that DNS could hold (IDNA)")
		return
	}
	list, err := x.s.MX.Resolver.LookupMX(ctx, domain)
	switch {
	case dns.IsTemporary(err):
		x.unknown(domain, err)
	case err != nil: // RFC 5321 section 5.1: the implicit MX
		x.implicit = true
		x.hosts = []dns.MX{{Host: domain}}
	case len(list) == 1 && list[0].Host == "":
		x.conclude(mxNull, mail.Failed, mail.EnhancedCode{5, 1, 10}, "%s does not accept mail (null MX)", domain)
	default:
		x.hosts = ordered(list)
		if len(x.hosts) == 0 {
			x.conclude(mxNotFound, mail.Failed, mail.EnhancedCode{5, 4, 4}, "no MX record of %s names a host", domain)
		}
	}
	x.cutOwnName()
	x.hosts = x.hosts[:min(len(x.hosts), maxExchangers)]
}

// ordered is the list by preference, equals at random (RFC 5321 section 5.1),
// each host once, without what is not a host name. Other octets come from the
// wire too, and would end up in logs and DSNs.
func ordered(list []dns.MX) []dns.MX {
	list = slices.Clone(list)
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	slices.SortStableFunc(list, func(a, b dns.MX) int { return cmp.Compare(a.Preference, b.Preference) })
	seen := make(map[string]bool, len(list))
	out := list[:0]
	for _, mx := range list {
		mx.Host = mail.CanonicalDomain(mx.Host)
		if !seen[mx.Host] && mail.ValidDomain(mx.Host, false) && mx.Host[0] != '[' {
			seen[mx.Host] = true
			out = append(out, mx)
		}
	}
	return out
}

// cutOwnName drops ourselves and what is not preferred to us, by name.
func (x *exchange) cutOwnName() {
	own := mail.CanonicalDomain(x.s.Hostname)
	for i := range x.hosts {
		if x.hosts[i].Host == own {
			x.loop(own, x.hosts[i].Preference)
			return
		}
	}
}

// loop drops the hosts that are no better than we, who are host: they must not
// be tried, or two backup exchangers would send a message to and fro (RFC 5321
// section 5.1).
func (x *exchange) loop(host string, preference uint16) {
	x.hosts = slices.DeleteFunc(x.hosts, func(mx dns.MX) bool { return mx.Preference >= preference })
	x.conclude(mxLoop, mail.Failed, mail.EnhancedCode{5, 4, 6}, "mail for %s would loop: its mail exchanger %s is this host", x.domain, host)
}

// unknown notes a failure to find out. The cause is for the log alone: it may
// name our own resolver.
func (x *exchange) unknown(name string, err error) {
	x.s.Logger.Warn("look-up of a mail exchanger failed", "domain", x.domain, "name", name, "error", err.Error())
	x.conclude(mxTemporary, mail.Deferred, mail.EnhancedCode{4, 4, 3}, "temporary DNS failure: mail exchangers of %s: %s", x.domain, name)
}

func (x *exchange) conclude(what finding, result mail.Result, code mail.EnhancedCode, format string, args ...any) {
	if what > x.what {
		x.what, x.result = what, result
		x.reply = mail.Reply{Enhanced: code, Text: printable(fmt.Sprintf(format, args...))}
	}
}

// verdict is what the recipients get when there was nothing to connect to.
func (x *exchange) verdict() (mail.Result, mail.Reply) {
	if x.what == mxNone { // a mistake of ours must not fail mail for good
		return mail.Deferred, localReply(mail.EnhancedCode{4, 3, 0}, "internal error: no finding")
	}
	return x.result, x.reply
}

// end gives back what the attempt has held.
func (x *exchange) end() {
	what := x.what
	if len(x.held) > 0 {
		what = mxFound
		x.s.mx.release(x.held)
	}
	if x.turn {
		x.s.mx.endTurn()
	}
	if what != mxNone {
		x.s.mx.metrics.lookups[what].Inc()
	}
}

// unfinished reports hosts that were not looked up yet.
func (x *exchange) unfinished() bool { return len(x.hosts) > 0 }

// more appends the hops of the hosts that are next in preference. It may have
// to be asked again: their addresses can all be useless.
func (x *exchange) more(ctx context.Context, hops []*hop) []*hop {
	for before := len(hops); len(hops) == before && x.unfinished() && ctx.Err() == nil; {
		group := x.group()
		found := x.lookUp(ctx, group)
		if i := slices.IndexFunc(found, x.ours); i >= 0 {
			x.hosts = nil
			x.loop(group[i].Host, 0)
			break
		}
		for i := range found {
			hops = x.add(hops, group[i].Host, &found[i])
		}
	}
	if len(hops) >= maxTries {
		x.hosts = nil
	}
	return hops
}

// group takes the hosts of the best preference.
func (x *exchange) group() []dns.MX {
	n := 1
	for n < len(x.hosts) && x.hosts[n].Preference == x.hosts[0].Preference {
		n++
	}
	group := x.hosts[:n]
	x.hosts = x.hosts[n:]
	return group
}

// addresses are what look-ups say about one host.
type addresses struct {
	v4, v6     []netip.Addr
	err4, err6 error
}

func (x *exchange) ours(a addresses) bool {
	own := func(addr netip.Addr) bool { return x.s.MX.own(addr.Unmap()) }
	return slices.ContainsFunc(a.v4, own) || slices.ContainsFunc(a.v6, own)
}

// lookUp finds the addresses of hosts, all at once.
func (x *exchange) lookUp(ctx context.Context, hosts []dns.MX) []addresses {
	found := make([]addresses, len(hosts))
	var wg sync.WaitGroup
	for i, mx := range hosts {
		a := &found[i]
		if mx.Host[0] == '[' {
			a.literal(mx.Host)
			continue
		}
		if x.s.MX.Family != IPv6 {
			wg.Go(func() {
				defer x.guard(&a.err4)
				a.v4, a.err4 = x.s.MX.Resolver.LookupA(ctx, mx.Host)
			})
		}
		if x.s.MX.Family != IPv4 {
			wg.Go(func() {
				defer x.guard(&a.err6)
				a.v6, a.err6 = x.s.MX.Resolver.LookupAAAA(ctx, mx.Host)
			})
		}
	}
	wg.Wait()
	return found
}

// guard makes a panic in a look-up a failure of it: out here, attempt.finish
// would not see it.
func (x *exchange) guard(err *error) {
	if p := recover(); p != nil {
		x.s.mx.metrics.panics.Inc()
		*err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	}
}

func (a *addresses) literal(s string) {
	addr, err := mail.LiteralAddr(s)
	switch {
	case err != nil: // not in a destination of ours: Route's paths are checked
	case addr.Unmap().Is4():
		a.v4 = []netip.Addr{addr}
	default:
		a.v6 = []netip.Addr{addr}
	}
}

// add appends the hops of one host, or notes why it has none.
func (x *exchange) add(hops []*hop, host string, a *addresses) []*hop {
	bad, n := "", 0
	for _, addr := range arrange(a.v4, a.v6) {
		if n == maxHostAddresses || len(hops) == maxTries {
			return hops
		}
		if what := x.s.MX.refuse(addr); what != "" {
			bad = fmt.Sprintf("%s (%s)", addr, what)
			continue
		}
		n++
		name := host
		if host[0] == '[' {
			name = addr.String()
		}
		h := x.s.mx.hold(name, addr)
		x.held = append(x.held, h)
		hops = append(hops, h.hop)
	}
	if n == 0 {
		x.useless(host, bad, a)
	}
	return hops
}

// useless notes why a host has no address to connect to.
func (x *exchange) useless(host, bad string, a *addresses) {
	switch {
	case dns.IsTemporary(a.err4):
		x.unknown(host, a.err4)
	case dns.IsTemporary(a.err6):
		x.unknown(host, a.err6)
	case bad != "":
		x.conclude(mxRefused, mail.Failed, mail.EnhancedCode{5, 4, 4}, "mail exchanger %s of %s has an address that mail is not sent to: %s", host, x.domain, bad)
	case x.implicit:
		x.conclude(mxNotFound, mail.Failed, mail.EnhancedCode{5, 1, 2}, "%s has no MX, A or AAAA record: it takes no mail, or does not exist", host)
	default:
		x.conclude(mxNotFound, mail.Failed, mail.EnhancedCode{5, 4, 4}, "mail exchanger %s of %s has no address", host, x.domain)
	}
}

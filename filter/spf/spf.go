// Package spf decides whether a host may send for a domain: the function
// check_host of RFC 7208, complete, and its adapter to filter.Check.
//
// A DNS failure is temperror and nothing else: only an answer that certainly
// says "no such record" may lead to none, a void look-up, or a mechanism that
// does not match.
package spf

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"mailweir/internal/dns"
	"mailweir/mail"
)

// Status is a result of RFC 7208 section 2.6.
type Status string

// The seven results.
const (
	None      Status = "none"
	Neutral   Status = "neutral"
	Pass      Status = "pass"
	Fail      Status = "fail"
	SoftFail  Status = "softfail"
	TempError Status = "temperror"
	PermError Status = "permerror"
)

// The limits of RFC 7208 section 4.6.4.
const (
	maxLookups = 10 // terms that cause DNS queries
	maxVoid    = 2  // look-ups without an answer
	maxMX      = 10 // hosts of one mx
	maxPTR     = 10 // names of one ptr or %{p}
)

// Timeout bounds one check (RFC 7208 section 4.6.4: at least 20 seconds), where the
// clock of a message (dns.Clock) does not end it before.
const Timeout = 20 * time.Second

// Resolver is what a check asks of DNS. Errors are told apart by
// dns.IsNotFound; every other error is temporary.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupA(ctx context.Context, name string) ([]netip.Addr, error)
	LookupAAAA(ctx context.Context, name string) ([]netip.Addr, error)
	LookupMX(ctx context.Context, name string) ([]dns.MX, error)
	LookupPTR(ctx context.Context, addr netip.Addr) ([]string, error)
}

// Args are the inputs of a check.
type Args struct {
	IP   netip.Addr
	Helo string
	// MailFrom is the reverse-path. For the null reverse-path the identity is
	// postmaster@Helo (section 2.4).
	MailFrom mail.Path
	Receiver string    // our host name, for %{r}
	Now      time.Time // for %{t}; the zero time means now
}

// Result is what a check found.
type Result struct {
	Status Status
	Domain string // whose policy was asked for, canonical
	// Mechanism is the directive that decided, as published, and Source the
	// domain whose record holds it; "" when none matched.
	Mechanism string
	Source    string
	// Explanation is the domain's own text for a fail (section 6.2). It is
	// the sender's text: show it as a quotation or not at all.
	Explanation string
	// Problem says what is wrong with the record, or what DNS refused to
	// answer; for people. Err is the DNS error behind a temperror.
	Problem string
	Err     error
	Lookups int // terms that counted against the limit
	Voids   int
}

// CheckHost evaluates check_host for the MAIL FROM identity.
func CheckHost(ctx context.Context, r Resolver, a Args) Result {
	local, domain := a.MailFrom.Local(), a.MailFrom.Domain()
	if domain == "" {
		local, domain = "postmaster", a.Helo
	}
	if local == "" {
		local = "postmaster" // section 4.3
	}
	domain = mail.CanonicalDomain(domain)
	res := Result{Domain: domain, Status: None}
	if !a.IP.IsValid() || !validDomain(domain) {
		res.Problem = "no usable domain or address"
		return res
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	e := &evaluation{ctx: ctx, dns: r, args: a, ip: a.IP.Unmap(), local: local, sender: domain}
	out := e.checkHost(domain)
	res.Status, res.Lookups, res.Voids = out.status, e.lookups, e.voids
	res.Mechanism, res.Source = out.mechanism, out.source
	res.Problem, res.Err = e.problem, e.err
	if out.status == Fail {
		res.Explanation = e.explain(out)
	}
	return res
}

// validDomain is the test of section 4.3: a multi-label name whose labels have
// 1 to 63 octets. Any other octet is DNS's own business.
func validDomain(d string) bool {
	if d == "" || len(d) > 253 || d[0] == '[' || strings.IndexByte(d, '.') < 0 {
		return false
	}
	for label := range strings.SplitSeq(d, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return true
}

// Package dmarc evaluates DMARC by RFC 9989: the DNS tree walk for policy and
// Organizational Domain, identifier alignment, and the adapter to
// filter.Check.
//
// A DNS failure is temperror, never "no record" and never a fail.
package dmarc

import (
	"context"
	"net/netip"
	"strings"

	"mailweir/internal/dns"
	"mailweir/mail"
)

// Status is a result of the DMARC method.
type Status string

// The results. None means that no record applies, or that there is no author
// whose record could.
const (
	None      Status = "none"
	Pass      Status = "pass"
	Fail      Status = "fail"
	TempError Status = "temperror"
	PermError Status = "permerror"
)

// Resolver is what DMARC asks of DNS: TXT for records, A to find out whether a
// domain exists (np=). Errors are told apart by dns.IsNotFound and
// dns.IsNoName.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupA(ctx context.Context, name string) ([]netip.Addr, error)
}

// Identifier is what SPF or one DKIM signature authenticated.
type Identifier struct {
	Domain string // canonical
	Pass   bool
	Temp   bool // a temporary failure: it might have passed
}

// Input is what DMARC judges.
type Input struct {
	Authors Authors
	SPF     Identifier
	DKIM    []Identifier
}

// Result is what DMARC says about a message.
type Result struct {
	Status Status
	Author string // the Author Domain that was judged, the worst of several
	// Policy is the applicable p, sp or np as published, and Domain where the
	// record was found; "" without a record. Testing is t=y.
	Policy  Policy
	Domain  string
	Testing bool
	// AlignedSPF and AlignedDKIM name the domain that passed and is aligned.
	AlignedSPF, AlignedDKIM string
	Record                  *Record
	Override                string // why a failure has no consequences, "" for none
	OverrideBy              string // what the config names; for people
	Reason                  string // for people
	Err                     error  // the DNS error behind a temperror, for logs only
}

// Requested is the policy that the Domain Owner expects to be applied: with
// t=y one level below the published one (RFC 9989 section 4.7).
func (r *Result) Requested() Policy {
	if !r.Testing {
		return r.Policy
	}
	if r.Policy == PolicyReject {
		return PolicyQuarantine
	}
	return PolicyNone
}

// applied is the policy that is left when all options have had their say.
func (r *Result) applied() Policy {
	if r.Override != "" {
		return PolicyNone
	}
	return r.Requested()
}

// Evaluate judges a message. With several Author Domains each is judged, and
// the worst result stands (RFC 9989 section 11.5).
func Evaluate(ctx context.Context, r Resolver, in Input) Result {
	switch a := in.Authors; { // none: "no aligned identifier could be extracted" (section 9.2)
	case a.Fields == 0:
		return Result{Status: None, Reason: "no From field"}
	case a.More:
		return Result{Status: PermError, Reason: "too many author domains"}
	case len(a.Domains) == 0:
		return Result{Status: None, Reason: "no author domain in From"}
	}
	w := &walker{ctx: ctx, dns: r}
	var worst Result
	for _, author := range in.Authors.Domains {
		if res := w.judge(author, in); worst.Status == "" || res.rank() > worst.rank() {
			worst = res
		}
	}
	return worst
}

// rank orders results from good to bad.
func (r *Result) rank() int {
	switch {
	case r.Status == Pass:
		return 0
	case r.Status == None:
		return 1
	case r.Status == Fail && r.Requested() == PolicyNone:
		return 2
	case r.Status == PermError:
		return 3
	case r.Status == TempError:
		return 4
	case r.Requested() == PolicyQuarantine:
		return 5
	}
	return 6
}

// judge evaluates one Author Domain (section 5.3).
func (w *walker) judge(author string, in Input) Result {
	res := Result{Status: None, Author: author}
	if err := w.discover(&res); err != nil {
		return res.failed(err)
	}
	if res.Record == nil || res.Record.Void {
		res.Record, res.Domain = nil, ""
		return res
	}
	temp, err := w.align(&res, in)
	if res.AlignedSPF != "" || res.AlignedDKIM != "" {
		res.Status = Pass // whatever else failed: one aligned identifier is enough
	} else if err != nil {
		return res.failed(err)
	} else if temp {
		res.Status, res.Reason = TempError, "an aligned identifier could not be checked"
	} else {
		res.Status = Fail
	}
	if err := w.setPolicy(&res); err != nil && res.Status == Fail {
		return res.failed(err)
	}
	return res
}

// failed makes r a temperror; what is known of the policy stays out of it.
func (r Result) failed(err error) Result {
	return Result{Status: TempError, Author: r.Author, Reason: "DNS failure", Err: err}
}

// setPolicy finds the policy that applies to the author (section 4.10.1).
func (w *walker) setPolicy(res *Result) error {
	rec := res.Record
	res.Testing, res.Policy = rec.Testing, rec.Policy
	if res.Domain == res.Author {
		return nil
	}
	exists := true
	if rec.forSubdomain(true) != rec.forSubdomain(false) {
		var err error
		if exists, err = w.exists(res.Author); err != nil {
			return err
		}
	}
	res.Policy = rec.forSubdomain(exists)
	return nil
}

// exists tells whether a domain exists: only NXDOMAIN says that it does not
// (section 3.2.13). RFC 9091 asked for an A, AAAA or MX record.
func (w *walker) exists(domain string) (bool, error) {
	_, err := w.dns.LookupA(w.ctx, domain)
	if dns.IsNotFound(err) {
		return !dns.IsNoName(err), nil
	}
	return err == nil, err
}

// align compares the authenticated identifiers with the author (section 4.4).
// temp tells of an identifier that would be aligned but is a temperror.
func (w *walker) align(res *Result, in Input) (temp bool, err error) {
	check := func(id Identifier, strict bool) string {
		if !id.Pass && !id.Temp || id.Domain == "" {
			return ""
		}
		ok, e := w.aligned(res.Author, id.Domain, strict)
		if e != nil {
			err = e
		} else if ok && id.Pass {
			return id.Domain
		}
		temp = temp || ok
		return ""
	}
	res.AlignedSPF = check(in.SPF, res.Record.StrictSPF)
	for _, id := range in.DKIM {
		if res.AlignedDKIM = check(id, res.Record.StrictDKIM); res.AlignedDKIM != "" {
			break
		}
	}
	return temp, err
}

// aligned is the comparison of two domains. The Organizational Domain of id is
// id itself or above it, so that one which has not the author's above it needs
// no walk of its own: it costs nothing, and a DNS failure there, which whoever
// owns id can arrange, cannot turn a fail into a temperror.
func (w *walker) aligned(author, id string, strict bool) (bool, error) {
	if author == id {
		return true, nil
	}
	if strict || !shareTop(author, id) {
		return false, nil
	}
	a, err := w.organization(author)
	if err != nil || !mail.WithinDomain(id, a) {
		return false, err
	}
	b, err := w.organization(id)
	return a == b, err
}

// shareTop spares the walk for two names that have no ancestor in common.
func shareTop(a, b string) bool {
	return a[strings.LastIndexByte(a, '.')+1:] == b[strings.LastIndexByte(b, '.')+1:]
}

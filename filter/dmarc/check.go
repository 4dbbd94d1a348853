package dmarc

import (
	"context"
	"errors"

	"mailweir/filter"
	"mailweir/internal/dns"
)

// Check is the filter.Check that joins SPF, DKIM and From. It reads Facts.SPF
// and Facts.DKIM, so that it belongs into a group behind theirs.
type Check struct {
	resolver Resolver
	o        Options
}

var _ filter.Check = (*Check)(nil)

// New makes the check. It keeps no state between messages.
func New(r Resolver, o Options) *Check { return &Check{r, o} }

// Name implements filter.Check.
func (*Check) Name() string { return "dmarc" }

// Run implements filter.Check. A temperror may be one that SPF or DKIM left.
func (c *Check) Run(ctx context.Context, tx *filter.Transaction) filter.Report {
	ctx, answers := dns.Observe(ctx)
	res := Evaluate(ctx, c.resolver, input(tx))
	if res.Status == Fail && tx.Facts.SPF.Result == "" {
		res.Reason = noSPF
	}
	facts := filter.DMARCFacts{
		Result: string(res.Status), Policy: string(res.Policy), Domain: res.Domain, From: res.Author,
		AlignedSPF: res.AlignedSPF, AlignedDKIM: res.AlignedDKIM, Testing: res.Testing,
		DNSSEC: answers.All(),
	}
	if res.Status == Fail && res.Requested() != PolicyNone {
		res.Override, res.OverrideBy = c.o.override(tx, res.Author)
		facts.Override = res.Override
	}
	if c.o.Reports {
		facts.Record = res.reportable()
	}
	report := filter.Report{
		State:   filter.OK,
		Symbols: []filter.Symbol{{Name: res.symbol(), Detail: res.detail()}},
		Set:     func(f *filter.Facts) { f.DMARC = facts },
		Auth:    []filter.AuthResult{res.auth()},
	}
	if res.Status == TempError {
		report.State, report.Cause = filter.DNSFailure(ctx, res.cause())
	}
	return report
}

// noSPF is said of a fail that might be a pass: SPF was skipped or is disabled.
const noSPF = "SPF was not examined, and could have passed"

// reportable is the policy record that asks for reports, "" without one. The
// owner of a public suffix does not get to know who writes to whom below it
// (RFC 9990, "Feedback Leakage").
func (r *Result) reportable() string {
	if r.Record == nil || len(r.Record.RUA) == 0 || r.Record.PSD == 'y' && r.Domain != r.Author {
		return ""
	}
	return r.Record.String()
}

// cause is what is behind a temperror.
func (r *Result) cause() error {
	if r.Err != nil {
		return r.Err
	}
	return errors.New(r.Reason)
}

// input gathers what earlier checks found. Under the null reverse-path SPF's
// identity is postmaster@HELO, which is the MAIL FROM identity (RFC 7208
// section 2.4): it counts.
func input(tx *filter.Transaction) Input {
	in := Input{Authors: ParseAuthors(tx.Header)}
	spf := &tx.Facts.SPF
	in.SPF = Identifier{Domain: spf.Domain, Pass: spf.Result == "pass", Temp: spf.Result == "temperror"}
	for i := range tx.Facts.DKIM {
		if d := &tx.Facts.DKIM[i]; d.Result == "pass" || d.Result == "temperror" {
			in.DKIM = append(in.DKIM, Identifier{Domain: d.Domain, Pass: d.Result == "pass", Temp: d.Result == "temperror"})
		}
	}
	return in
}

func (r *Result) symbol() string {
	switch r.Status {
	case Pass:
		return filter.SymDMARCPass
	case TempError:
		return filter.SymDMARCTempError
	case PermError:
		return filter.SymDMARCPermError
	case None:
		return filter.SymDMARCNA
	}
	switch {
	case r.Override != "":
		return filter.SymDMARCOverride
	case r.Requested() == PolicyReject:
		return filter.SymDMARCReject
	case r.Requested() == PolicyQuarantine:
		return filter.SymDMARCQuarantine
	}
	return filter.SymDMARCNone
}

func (r *Result) detail() string {
	s := r.Author
	if r.Policy != "" {
		s += " p=" + string(r.Policy)
	}
	if r.Override != "" {
		s += ": " + r.Override + ", " + r.OverrideBy
	}
	if r.Reason != "" {
		s += ": " + r.Reason
	}
	if r.Err != nil { // it may name our resolver: not for the message
		s += ": " + r.Err.Error()
	}
	return printable(s)
}

// auth is the result for Authentication-Results: header.from and the policy
// that is left after t=y and overrides (policy.dmarc), as RFC 9989 section 9.1
// registers them; then the policy as it is published for the author, its
// record's p= and, if that is not the author's domain, where it was found; and
// why it was overridden, in the words of RFC 9990.
func (r *Result) auth() filter.AuthResult {
	a := filter.AuthResult{Method: "dmarc", Result: string(r.Status), Reason: printable(r.Reason)}
	if r.Author != "" {
		a.Props = append(a.Props, filter.AuthProp{Type: "header", Property: "from", Value: r.Author})
	}
	if r.Policy != "" {
		a.Props = append(a.Props, filter.AuthProp{Type: "policy", Property: "dmarc", Value: string(r.applied())},
			filter.AuthProp{Type: "policy", Property: "published-domain-policy", Value: string(r.Policy)})
	}
	if r.Override != "" {
		a.Props = append(a.Props, filter.AuthProp{Type: "policy", Property: "override-reason", Value: r.Override})
	}
	if r.Record != nil {
		a.Props = append(a.Props, filter.AuthProp{Type: "polrec", Property: "p", Value: string(r.Record.Policy)})
		if r.Domain != r.Author {
			a.Props = append(a.Props, filter.AuthProp{Type: "polrec", Property: "domain", Value: r.Domain})
		}
	}
	return a
}

// printable makes text from outside safe to show, and bounds it.
func printable(s string) string {
	b := []byte(s)
	b = b[:min(len(b), 200)]
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

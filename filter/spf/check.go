package spf

import (
	"context"
	"errors"
	"time"

	"mailweir/filter"
	"mailweir/internal/dns"
)

// Options configure the check.
type Options struct {
	Receiver string // our host name, for the %{r} macro of explanations
}

// Check is the filter.Check of the MAIL phase. The identity is MAIL FROM;
// under the null reverse-path that is postmaster@HELO (RFC 7208 section 2.4).
type Check struct {
	resolver Resolver
	receiver string
}

var _ filter.Check = (*Check)(nil)

// New makes the check. It keeps no state between transactions.
func New(r Resolver, o Options) *Check { return &Check{resolver: r, receiver: o.Receiver} }

// Name implements filter.Check.
func (*Check) Name() string { return "spf" }

var symbols = map[Status]string{
	None: filter.SymSPFNone, Neutral: filter.SymSPFNeutral, Pass: filter.SymSPFPass,
	Fail: filter.SymSPFFail, SoftFail: filter.SymSPFSoftFail,
	TempError: filter.SymSPFTempError, PermError: filter.SymSPFPermError,
}

var errNoAddress = errors.New("spf: the client's address is not known")

// Run implements filter.Check.
func (c *Check) Run(ctx context.Context, tx *filter.Transaction) filter.Report {
	if !tx.Client.Addr.IsValid() {
		return filter.Report{State: filter.Skipped, Cause: errNoAddress}
	}
	ctx, answers := dns.Observe(ctx)
	res := CheckHost(ctx, c.resolver, Args{
		IP: tx.Client.Addr, Helo: tx.Client.Helo, MailFrom: tx.Envelope.ReversePath,
		Receiver: c.receiver, Now: time.Now(),
	})
	identity := "mailfrom"
	if tx.Envelope.ReversePath.Domain() == "" {
		identity = "helo"
	}
	facts := filter.SPFFacts{
		Result: string(res.Status), Identity: identity, Domain: res.Domain, Explain: res.explanation(),
		DNSSEC: answers.All(),
	}
	report := filter.Report{
		State:   filter.OK,
		Symbols: []filter.Symbol{{Name: symbols[res.Status], Detail: res.detail()}},
		Set:     func(f *filter.Facts) { f.SPF = facts },
		Auth:    []filter.AuthResult{authResult(res, tx)},
	}
	if res.Status == TempError {
		report.State, report.Cause = filter.DNSFailure(ctx, res.Err)
	}
	return report
}

// explanation says what decided, for people; never control characters.
func (r *Result) explanation() string {
	switch {
	case r.Problem != "":
		return printable(r.Problem)
	case r.Mechanism != "" && r.Source != r.Domain:
		return printable(r.Mechanism + " of " + r.Source)
	case r.Mechanism != "":
		return printable(r.Mechanism)
	case r.Status == Neutral:
		return "no mechanism matched"
	}
	return "no SPF record"
}

func (r *Result) detail() string {
	if r.Domain == "" {
		return r.explanation()
	}
	return printable(r.Domain) + ": " + r.explanation()
}

// printable makes text from outside safe to show, and bounds it.
func printable(s string) string {
	b := []byte(s)
	b = b[:min(len(b), 200)]
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}

// authResult is the result for RFC 8601 section 2.7.2. HELO tells who the
// client is, so that a redacting class leaves it out.
func authResult(r Result, tx *filter.Transaction) filter.AuthResult {
	a := filter.AuthResult{Method: "spf", Result: string(r.Status)}
	// No names here: macros put the client's address into them, and a DNS
	// error may name our resolver. The facts have the whole story.
	switch r.Status {
	case TempError:
		a.Reason = "DNS failure"
	case PermError:
		a.Reason = "invalid policy"
	}
	if path := tx.Envelope.ReversePath; path.Domain() != "" {
		a.Props = append(a.Props, filter.AuthProp{Type: "smtp", Property: "mailfrom", Value: string(path)})
	}
	if tx.Client.Helo != "" {
		a.Props = append(a.Props, filter.AuthProp{Type: "smtp", Property: "helo", Value: tx.Client.Helo, Client: true})
	}
	return a
}

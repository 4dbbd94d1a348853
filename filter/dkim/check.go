package dkim

import (
	"context"
	"time"

	"mailweir/filter"
	"mailweir/internal/dkimcore"
)

// Check is the filter.Streamer of the data phase.
type Check struct {
	resolver Resolver
	keys     *dkimcore.KeyCache
	now      func() time.Time
}

var _ filter.Streamer = (*Check)(nil)

// New makes the check. Nothing but parsed keys is kept between messages.
func New(r Resolver) *Check {
	return &Check{resolver: r, keys: &dkimcore.KeyCache{}, now: time.Now}
}

// Name implements filter.Check.
func (*Check) Name() string { return "dkim" }

// Start implements filter.Streamer: the key look-ups overlap with DATA.
func (c *Check) Start(ctx context.Context, tx *filter.Transaction) filter.Stream {
	return &stream{v: start(ctx, c.resolver, tx.Header, c.now(), shared{tx.Bodies, c.keys})}
}

// Run implements filter.Check for a message that is complete.
func (c *Check) Run(ctx context.Context, tx *filter.Transaction) filter.Report {
	return filter.RunStream(ctx, c, tx)
}

type stream struct{ v *Verification }

func (s *stream) Write(p []byte) { s.v.Write(p) }
func (s *stream) Abort()         { s.v.Abort() }

// End implements filter.Stream. A signature whose key is not known does not
// count when another one has passed.
func (s *stream) End(ctx context.Context) filter.Report {
	results := s.v.End(ctx)
	report := filter.Report{State: filter.OK, Symbols: []filter.Symbol{summary(results)}}
	open := report.Symbols[0].Name == filter.SymDKIMTempError
	facts := make([]filter.DKIMFacts, 0, min(len(results), maxFacts))
	for i, r := range results {
		if i < maxFacts || r.Status != PermError {
			facts = append(facts, r.facts())
		}
		if r.Status == TempError && (open || ctx.Err() != nil) && report.Cause == nil {
			report.State, report.Cause = filter.DNSFailure(ctx, r.Err)
		}
		if i < maxAuth || r.Status == Pass {
			report.Auth = append(report.Auth, r.auth())
		}
	}
	if len(results) == 0 {
		report.Auth = []filter.AuthResult{{Method: "dkim", Result: "none"}}
	}
	report.Set = func(f *filter.Facts) { f.DKIM = facts }
	return report
}

// maxAuth bounds the results in Authentication-Results, where passes always
// are, and maxFacts the facts, where all but the broken signatures always are.
const (
	maxAuth  = 10
	maxFacts = 100
)

// ranking is the order in which one signature's result speaks for the message.
var ranking = []struct {
	status Status
	symbol string
}{
	{Pass, filter.SymDKIMPass},
	{TempError, filter.SymDKIMTempError},
	{Fail, filter.SymDKIMFail},
	{PermError, filter.SymDKIMPermError},
	{Neutral, filter.SymDKIMPermError},
}

// summary is the one symbol. A signature that fails under a key with t=y is as
// good as none: RFC 6376 section 3.6.1 forbids to treat it otherwise.
func summary(results []Result) filter.Symbol {
	for _, rank := range ranking {
		for i := range results {
			if r := &results[i]; r.Status == rank.status && (r.Status == Pass || !r.Testing) {
				return filter.Symbol{Name: rank.symbol, Detail: r.detail()}
			}
		}
	}
	return filter.Symbol{Name: filter.SymDKIMNone}
}

func (r *Result) detail() string {
	s := "d=" + r.Domain + " s=" + r.Selector
	if r.Reason != "" {
		s += ": " + r.explanation()
	}
	return printable(s)
}

// explanation is the reason with the DNS error, which may name our resolver
// and therefore never goes into the message.
func (r *Result) explanation() string {
	if r.Err != nil {
		return r.Reason + ": " + r.Err.Error()
	}
	return r.Reason
}

func (r *Result) facts() filter.DKIMFacts {
	return filter.DKIMFacts{
		Result: string(r.Status), Domain: printable(r.Domain), Selector: printable(r.Selector),
		Identity: printable(r.Identity), Algo: printable(r.Algorithm), KeyBits: r.KeyBits,
		Testing: r.Testing, Reason: printable(r.explanation()), DNSSEC: r.DNSSEC, Fields: r.Fields, SignatureIndex: r.Index,
	}
}

// auth is the result for RFC 8601 section 2.7.1 and RFC 6008.
func (r *Result) auth() filter.AuthResult {
	a := filter.AuthResult{Method: "dkim", Result: string(r.Status), Reason: printable(r.Reason)}
	for _, p := range []struct{ property, value string }{
		{"d", r.Domain}, {"i", r.Identity}, {"s", r.Selector}, {"a", r.Algorithm},
		{"b", r.Signature[:min(len(r.Signature), 8)]},
	} {
		if p.value != "" {
			a.Props = append(a.Props, filter.AuthProp{Type: "header", Property: p.property, Value: printable(p.value)})
		}
	}
	return a
}

// printable makes text from outside safe to show, and bounds it. Octets of
// UTF-8 are kept: domains and identities may have them (RFC 8616).
func printable(s string) string {
	b := []byte(s)
	b = b[:min(len(b), 253)]
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

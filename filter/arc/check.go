package arc

import (
	"context"
	"strconv"
	"time"

	"mailweir/filter"
	"mailweir/internal/dkimcore"
	"mailweir/mail"
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
func (*Check) Name() string { return "arc" }

// Start implements filter.Streamer: the key look-ups overlap with DATA.
func (c *Check) Start(ctx context.Context, tx *filter.Transaction) filter.Stream {
	return &stream{v: start(ctx, c.resolver, tx.Header, c.now(), shared{tx.Bodies, c.keys}), client: tx.Client}
}

// Run implements filter.Check for a message that is complete.
func (c *Check) Run(ctx context.Context, tx *filter.Transaction) filter.Report {
	return filter.RunStream(ctx, c, tx)
}

type stream struct {
	v      *Validation
	client *mail.Client
}

func (s *stream) Write(p []byte) { s.v.Write(p) }
func (s *stream) Abort()         { s.v.Abort() }

// End implements filter.Stream.
func (s *stream) End(ctx context.Context) filter.Report {
	r := s.v.End(ctx)
	report := filter.Report{
		State:   filter.OK,
		Symbols: []filter.Symbol{{Name: symbols[r.Status], Detail: printable(r.detail())}},
		Auth:    []filter.AuthResult{r.auth(s.client)},
		Set:     func(f *filter.Facts) { f.ARC = r.facts() },
	}
	if r.Temporary {
		report.State, report.Cause = filter.DNSFailure(ctx, r.Err)
	}
	return report
}

var symbols = map[Status]string{None: filter.SymARCNone, Pass: filter.SymARCPass, Fail: filter.SymARCFail}

func (r *Result) detail() string {
	switch r.Status {
	case None:
		return ""
	case Pass:
		n := len(r.Sealers)
		return "i=" + strconv.Itoa(n) + " d=" + r.Sealers[n-1]
	}
	return r.explanation()
}

// explanation is the reason with the DNS error, which may name our resolver
// and therefore never goes into the message.
func (r *Result) explanation() string {
	if r.Err != nil {
		return r.Reason + ": " + r.Err.Error()
	}
	return r.Reason
}

func (r *Result) facts() filter.ARCFacts {
	f := filter.ARCFacts{
		Result: string(r.Status), OldestPass: r.OldestPass, FromSigned: r.FromSigned,
		Temporary: r.Temporary, Reason: printable(r.explanation()),
	}
	for _, d := range r.Sealers {
		f.Sealers = append(f.Sealers, printable(d))
	}
	for _, d := range r.Vouched {
		f.Vouched = append(f.Vouched, printable(d))
	}
	return f
}

// auth is the result for Authentication-Results, with the properties of RFC
// 8617 section 6. The address of the client stays out under a redacting class.
func (r *Result) auth(client *mail.Client) filter.AuthResult {
	a := filter.AuthResult{Method: "arc", Result: string(r.Status), Reason: printable(r.Reason)}
	if r.Status == None {
		return a
	}
	if r.Status == Pass {
		a.Props = []filter.AuthProp{{Type: "header", Property: "oldest-pass", Value: strconv.Itoa(r.OldestPass)}}
	}
	if client != nil && client.Addr.IsValid() {
		a.Props = append(a.Props, filter.AuthProp{
			Type: "smtp", Property: "remote-ip", Value: client.Addr.String(), Client: true,
		})
	}
	return a
}

// printable makes text from outside safe to show, and bounds it. Octets of
// UTF-8 are kept: domains may have them (RFC 8616).
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

package iprev

import (
	"context"
	"errors"

	"mailweir/filter"
	"mailweir/internal/dns"
)

// The symbols. A temporary failure has none of its own: the state's symbol
// says it.
const (
	SymNone     = "RDNS_NONE"     // the address has no name
	SymMismatch = "RDNS_MISMATCH" // none of its names points back
)

// Check is the filter.Check of the connect phase.
type Check struct{ resolver Resolver }

var _ filter.Check = (*Check)(nil)

// New makes the check.
func New(r Resolver) *Check { return &Check{resolver: r} }

// Name implements filter.Check.
func (*Check) Name() string { return "iprev" }

var errNoAddress = errors.New("the client's address is not known")

// Run implements filter.Check. A name that a trusted proxy gave by XCLIENT is
// taken as it is: the proxy has made this examination.
func (c *Check) Run(ctx context.Context, tx *filter.Transaction) filter.Report {
	addr := tx.Client.Addr
	if !addr.IsValid() {
		return filter.Report{State: filter.Skipped, Cause: errNoAddress}
	}
	res, name, err := Pass, tx.Client.Name, error(nil)
	if name == "" {
		res, name, err = Lookup(ctx, c.resolver, addr)
	}
	report := filter.Report{State: filter.OK, Cause: err}
	switch {
	case res == PermError:
		report.Symbols = []filter.Symbol{{Name: SymNone}}
	case res == Fail:
		report.Symbols = []filter.Symbol{{Name: SymMismatch}}
	case res == TempError && (ctx.Err() != nil || dns.IsTimeout(err)):
		report.State = filter.Timeout
	case res == TempError:
		report.State = filter.Error
	}
	report.Set = func(f *filter.Facts) {
		f.IPRev = string(res)
		if name != "" {
			f.Client.Name = name
		}
	}
	report.Auth = []filter.AuthResult{{
		Method: "iprev", Result: string(res), Client: true,
		Props: []filter.AuthProp{{Type: "policy", Property: "iprev", Value: addr.String(), Client: true}},
	}}
	return report
}

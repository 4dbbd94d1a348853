package spf

import (
	"context"
	"errors"
	"time"

	"mailweir/filter"
	"mailweir/mail"
)

// HeloCheck is the filter.Check of the HELO identity beside that of MAIL FROM
// (RFC 7208 section 2.3). Nothing depends on it: DMARC and exceptions go by MAIL
// FROM, and a name without a policy, which is the rule, says nothing.
//
// It has no place in Authentication-Results. RFC 8601 lets a method be there
// twice, but many readers keep one result of each: the last (OpenDMARC, regular
// expressions that are greedy, as SpamAssassin's, tables with the method as key),
// or a pass wherever it is. A domain that fails would pass by the client's name.
type HeloCheck struct{ check *Check }

var _ filter.Check = (*HeloCheck)(nil)

// NewHelo makes the check. It keeps no state between transactions.
func NewHelo(r Resolver, o Options) *HeloCheck { return &HeloCheck{New(r, o)} }

// Name implements filter.Check.
func (*HeloCheck) Name() string { return "spf_helo" }

// heloSymbols has none for none and neutral.
var heloSymbols = map[Status]string{
	Pass: filter.SymSPFHeloPass, Fail: filter.SymSPFHeloFail, SoftFail: filter.SymSPFHeloSoftFail,
	TempError: filter.SymSPFHeloTempError, PermError: filter.SymSPFHeloPermError,
}

var (
	errChecked = errors.New("spf: the reverse-path is null: HELO is what was checked")
	errNoName  = errors.New("spf: HELO is no domain name")
)

// Run implements filter.Check.
func (h *HeloCheck) Run(ctx context.Context, tx *filter.Transaction) filter.Report {
	switch {
	case !tx.Client.Addr.IsValid():
		return filter.Report{State: filter.Skipped, Cause: errNoAddress}
	case tx.Envelope.ReversePath.Domain() == "":
		return filter.Report{State: filter.Skipped, Cause: errChecked}
	case !validDomain(mail.CanonicalDomain(tx.Client.Helo)):
		return filter.Report{State: filter.Skipped, Cause: errNoName}
	}
	res := CheckHost(ctx, h.check.resolver, Args{
		IP: tx.Client.Addr, Helo: tx.Client.Helo, Receiver: h.check.receiver, Now: time.Now(),
	})
	report := filter.Report{State: filter.OK, Set: func(f *filter.Facts) { f.SPF.Helo = string(res.Status) }}
	if name := heloSymbols[res.Status]; name != "" {
		report.Symbols = []filter.Symbol{{Name: name, Detail: res.detail()}}
	}
	if res.Status == TempError {
		report.State, report.Cause = filter.DNSFailure(ctx, res.Err)
	}
	return report
}

package dns

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"
)

// ErrBudget is the cause of the temporary failure of a look-up that was not
// made, because its check had spent its number of look-ups or its time.
var ErrBudget = errors.New("budget of look-ups spent")

// Source is what a Limited asks: a Resolver, a Fake or another Limited.
type Source interface {
	LookupA(ctx context.Context, name string) ([]netip.Addr, error)
	LookupAAAA(ctx context.Context, name string) ([]netip.Addr, error)
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupMX(ctx context.Context, name string) ([]MX, error)
	LookupPTR(ctx context.Context, addr netip.Addr) ([]string, error)
}

var (
	_ Source = (*Resolver)(nil)
	_ Source = (*Fake)(nil)
	_ Source = (*Limited)(nil)
)

// Limited gives one check of one message its own budget. Every look-up counts,
// whether the cache had the answer or not: what a check may ask must not
// depend on who asked before. It may be used concurrently.
type Limited struct {
	src      Source
	left     atomic.Int64
	deadline time.Time
}

// Limit allows n look-ups until deadline; the zero deadline leaves the time to
// the contexts.
func Limit(src Source, n int, deadline time.Time) *Limited {
	l := &Limited{src: src, deadline: deadline}
	l.left.Store(int64(n))
	return l
}

// Left is the number of look-ups that are still allowed.
func (l *Limited) Left() int { return int(max(l.left.Load(), 0)) }

// LookupA is Resolver.LookupA within the budget.
func (l *Limited) LookupA(ctx context.Context, name string) ([]netip.Addr, error) {
	return limited(ctx, l, "A", name, name, l.src.LookupA)
}

// LookupAAAA is Resolver.LookupAAAA within the budget.
func (l *Limited) LookupAAAA(ctx context.Context, name string) ([]netip.Addr, error) {
	return limited(ctx, l, "AAAA", name, name, l.src.LookupAAAA)
}

// LookupTXT is Resolver.LookupTXT within the budget.
func (l *Limited) LookupTXT(ctx context.Context, name string) ([]string, error) {
	return limited(ctx, l, "TXT", name, name, l.src.LookupTXT)
}

// LookupMX is Resolver.LookupMX within the budget.
func (l *Limited) LookupMX(ctx context.Context, name string) ([]MX, error) {
	return limited(ctx, l, "MX", name, name, l.src.LookupMX)
}

// LookupPTR is Resolver.LookupPTR within the budget.
func (l *Limited) LookupPTR(ctx context.Context, addr netip.Addr) ([]string, error) {
	return limited(ctx, l, "PTR", "", addr, l.src.LookupPTR)
}

func limited[K, V any](ctx context.Context, l *Limited, typ, name string, k K, ask func(context.Context, K) ([]V, error)) ([]V, error) {
	if l.left.Add(-1) < 0 {
		return nil, &Error{Name: name, Type: typ, Kind: Temporary, Cause: ErrBudget}
	}
	if l.deadline.IsZero() {
		return ask(ctx, k)
	}
	if !time.Now().Before(l.deadline) {
		return nil, &Error{Name: name, Type: typ, Kind: Temporary, Cause: ErrBudget}
	}
	ctx, cancel := context.WithDeadlineCause(ctx, l.deadline, ErrBudget)
	defer cancel()
	return ask(ctx, k)
}

package dns

import (
	"context"
	"net/netip"
)

// Source is all that can be asked: a Resolver, a Fake, or what stands before one
// of them. Each check has its own bound of look-ups, and one that does not depend
// on what the cache knows.
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
)

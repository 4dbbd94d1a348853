// Package iprev finds the client's forward-confirmed host name: the names that
// its address points to, of which one must point back (RFC 8601 section 3,
// also known as FCrDNS).
package iprev

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"mailweir/internal/dns"
)

// Result is a result of RFC 8601 section 2.7.3.
type Result string

// The results. A missing PTR record is a permerror there, not a fail.
const (
	Pass      Result = "pass"
	Fail      Result = "fail"      // names, of which none points back
	TempError Result = "temperror" // DNS failed before it was decided
	PermError Result = "permerror" // no names
)

// maxNames bounds the look-ups of one client: some addresses have thousands.
// RFC 7208 section 4.6.4 has the same number for its ptr mechanism.
const maxNames = 10

// Resolver is what the examination needs of one.
type Resolver interface {
	LookupPTR(ctx context.Context, addr netip.Addr) ([]string, error)
	LookupA(ctx context.Context, name string) ([]netip.Addr, error)
	LookupAAAA(ctx context.Context, name string) ([]netip.Addr, error)
}

// Lookup examines an address. Name is the confirmed name, in lower case; err
// is the cause of a TempError.
func Lookup(ctx context.Context, r Resolver, addr netip.Addr) (res Result, name string, err error) {
	addr = addr.Unmap().WithZone("")
	names, err := r.LookupPTR(ctx, addr)
	switch {
	case dns.IsNotFound(err):
		return PermError, "", nil
	case err != nil:
		return TempError, "", err
	}
	// Servers rotate their records: sorted, the name does not depend on it.
	names = candidates(names)
	results := make([]Result, len(names))
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { results[i], errs[i] = confirm(ctx, r, name, addr) })
	}
	wg.Wait()
	if i := slices.Index(results, Pass); i >= 0 {
		return Pass, names[i], nil
	}
	if i := slices.Index(results, TempError); i >= 0 {
		return TempError, "", errs[i]
	}
	return Fail, "", nil
}

// candidates are the names that are worth a look-up: those that a host can
// have. The confirmed one will stand in header fields and logs, so whatever
// else a PTR record holds must not get further than here.
func candidates(names []string) []string {
	hosts := make([]string, 0, min(len(names), maxNames))
	for _, n := range names {
		if isHost(n) {
			hosts = append(hosts, strings.ToLower(n))
		}
	}
	slices.Sort(hosts)
	hosts = slices.Compact(hosts)
	return hosts[:min(len(hosts), maxNames)]
}

// isHost reports letters, digits, hyphens and dots (RFC 1123 section 2.1), and
// underscores, which real networks use; at least one letter, so that no
// address literal passes for a name.
func isHost(name string) bool {
	if name == "" || len(name) > 253 || name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, "..") {
		return false
	}
	letter := false
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			letter = true
		case '0' <= c && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return letter
}

// confirm asks whether a name points to addr.
func confirm(ctx context.Context, r Resolver, name string, addr netip.Addr) (Result, error) {
	forward := r.LookupA
	if addr.Is6() {
		forward = r.LookupAAAA
	}
	addrs, err := forward(ctx, name)
	switch {
	case dns.IsNotFound(err):
		return Fail, nil
	case err != nil:
		return TempError, err
	case slices.Contains(addrs, addr):
		return Pass, nil
	}
	return Fail, nil
}

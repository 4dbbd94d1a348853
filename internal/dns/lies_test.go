package dns_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"mailweir/internal/dns"
	"mailweir/internal/dns/dnstest"
)

// faults are all that a server can do wrong here.
var faults = []string{
	"drop", "late", "servfail", "refused", "formerr", "truncate", "cut",
	"wrongid", "wrongname", "garbage", "huge", "hangup",
}

// Whatever goes wrong with a name that has records of every type, however
// many ask at once and with however little time: the answer is the true one
// or a temporary failure. It is never an absence, and never something else.
func TestNoFaultIsAnAbsence(t *testing.T) {
	t.Run("clear", func(t *testing.T) {
		lies(t, func(srv *dnstest.Server) dns.Options { return dns.Options{Servers: []string{srv.Addr()}} })
	})
	t.Run("TLS", func(t *testing.T) {
		lies(t, func(srv *dnstest.Server) dns.Options {
			d := srv.RunTLS(t)
			return dns.Options{Servers: []string{"tls://" + d.Addr()}, Roots: roots(t, d.CA())}
		})
	})
}

func lies(t *testing.T, options func(*dnstest.Server) dns.Options) {
	var zone strings.Builder
	for i, fault := range faults {
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		reverse := fmt.Sprintf("%d.2.0.192.in-addr.arpa", i)
		fmt.Fprintf(&zone, "%[1]s.example A %[2]s\n%[1]s.example AAAA 2001:db8::1\n%[1]s.example TXT here\n%[1]s.example MX 10 mx.example.\n", fault, addr)
		fmt.Fprintf(&zone, "%s PTR %s.example.\n", reverse, fault)
		fmt.Fprintf(&zone, "!%[1]s %[1]s.example 150ms\n!%[1]s %[2]s 150ms\n", fault, reverse)
	}
	o := options(dnstest.Run(t, zone.String()))
	o.Timeout, o.CacheSize = 100*time.Millisecond, 40
	r, err := dns.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var wg sync.WaitGroup
	for worker := range 4 {
		for i := range faults {
			wg.Go(func() {
				for round := range 3 {
					askAll(t, r, i, time.Duration(worker*round)*30*time.Millisecond)
				}
			})
		}
	}
	wg.Wait()
}

// askAll asks all types of one name, within limit when there is one.
func askAll(t *testing.T, r *dns.Resolver, i int, limit time.Duration) {
	ctx := dns.Fresh(context.Background())
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	name := faults[i] + ".example"
	addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
	a, err := r.LookupA(ctx, name)
	verify(t, name+" A", a, err, addr)
	aaaa, err := r.LookupAAAA(ctx, name)
	verify(t, name+" AAAA", aaaa, err, netip.MustParseAddr("2001:db8::1"))
	txt, err := r.LookupTXT(ctx, name)
	verify(t, name+" TXT", txt, err, "here")
	mx, err := r.LookupMX(ctx, name)
	verify(t, name+" MX", mx, err, dns.MX{Host: "mx.example", Preference: 10})
	ptr, err := r.LookupPTR(ctx, addr)
	verify(t, name+" PTR", ptr, err, name)
}

func verify[T comparable](t *testing.T, what string, got []T, err error, want T) {
	t.Helper()
	switch {
	case err == nil && len(got) == 1 && got[0] == want:
	case err != nil && dns.IsTemporary(err) && !dns.IsNotFound(err) && got == nil:
	default:
		t.Errorf("%s: %v, %v", what, got, err)
	}
}

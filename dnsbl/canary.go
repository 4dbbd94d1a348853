package dnsbl

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"mailweir/internal/dns"
)

// How often the canaries are asked, and how long a round may take.
const (
	canaryInterval = 10 * time.Minute
	canaryTimeout  = 30 * time.Second
)

// verdict is what a round of canary look-ups says about a zone.
type verdict uint8

const (
	unknown verdict = iota // a temporary DNS failure: nothing changes
	passed
	failed
)

var verdictNames = [...]string{"unknown", "passed", "failed"}

// The test points of RFC 5782 section 5. The IPv6 ones are the mapped
// addresses, as nibbles.
const (
	listed4   = "2.0.0.127."
	unlisted4 = "1.0.0.127."
	listed6   = "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
	unlisted6 = "1.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
)

// Run asks the canaries at once and then every ten minutes, until ctx ends. A
// zone that fails is off until it passes again.
func (l *Lists) Run(ctx context.Context) {
	tick := time.NewTicker(canaryInterval)
	defer tick.Stop()
	for {
		l.Canaries(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Canaries makes one round. It asks past the resolver's cache: what was true
// when the answer was cached is not the question.
func (l *Lists) Canaries(ctx context.Context) {
	ctx, cancel := context.WithTimeout(dns.Fresh(ctx), canaryTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, z := range l.zones {
		wg.Go(func() {
			v, why := l.examine(ctx, z)
			l.metrics.canaries.WithLabelValues(z.Name, verdictNames[v]).Inc()
			l.apply(z, v, why)
		})
	}
	wg.Wait()
	if l.watched != nil {
		l.once.Do(func() { close(l.watched) })
	}
}

// apply switches a zone and says so, when that changes anything.
func (l *Lists) apply(z *zone, v verdict, why string) {
	switch {
	case v == failed && z.off.CompareAndSwap(false, true):
		z.metrics.up.Set(0)
		l.logger.Error("dns list is broken and switched off", "zone", z.Name, "reason", why)
	case v == passed && z.off.CompareAndSwap(true, false):
		z.metrics.up.Set(1)
		l.logger.Info("dns list works again", "zone", z.Name)
	}
}

// examine asks the test points that the zone should have. A list of IPv6
// addresses alone need not have the IPv4 ones; one of both need not have the
// listed IPv6 one, because many lists never had it.
func (l *Lists) examine(ctx context.Context, z *zone) (verdict, string) {
	if z.TestPoint != "" {
		return l.points(ctx, z, z.TestPoint+".", "invalid.")
	}
	if !z.NoIPv4 {
		if v, why := l.points(ctx, z, listed4, unlisted4); v != passed || z.NoIPv6 {
			return v, why
		}
		if v, _ := l.point(ctx, z, unlisted6); v == listed {
			return failed, "it lists the IPv6 test point that must not be listed"
		}
		return passed, ""
	}
	return l.points(ctx, z, listed6, unlisted6)
}

// points wants one point listed and the other one not.
func (l *Lists) points(ctx context.Context, z *zone, in, out string) (verdict, string) {
	switch p, code := l.point(ctx, z, out); p {
	case listed:
		return failed, "it lists the test point that must not be listed, with " + code.String()
	case refused:
		return failed, "it answers with the error code " + code.String()
	case noAnswer:
		return unknown, ""
	}
	switch p, code := l.point(ctx, z, in); p {
	case unlisted:
		return failed, "it does not list the test point that must be listed"
	case listed:
		if !DefaultCodes.Contains(code) {
			return failed, "its answer " + code.String() + " is no return code"
		}
	case refused:
		return failed, "it answers with the error code " + code.String()
	case noAnswer:
		return unknown, ""
	}
	return passed, ""
}

// point is what the zone says about a test point.
type point uint8

const (
	noAnswer point = iota
	unlisted
	listed
	refused
)

// point asks one test point. Any address but an error code is a listing here:
// a list that answers 127.0.0.1's question with a code that is not declared is
// as broken as one with 127.0.0.2 (a parked domain answers everything).
func (l *Lists) point(ctx context.Context, z *zone, name string) (point, netip.Addr) {
	codes, err := l.resolver.LookupA(ctx, name+z.Name)
	switch {
	case dns.IsNotFound(err):
		return unlisted, netip.Addr{}
	case err != nil || len(codes) == 0:
		return noAnswer, netip.Addr{}
	}
	for _, c := range codes {
		if errorCodes.Contains(c) {
			return refused, c
		}
	}
	return listed, codes[0]
}

package dnsbl

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/internal/dns"
)

// Resolver is what this package needs of one.
type Resolver interface {
	LookupA(ctx context.Context, name string) ([]netip.Addr, error)
}

// cacher is what a Resolver with a cache can do besides: *dns.Resolver. Known
// answers then need no goroutine.
type cacher interface {
	CachedA(name string) ([]netip.Addr, error) // dns.ErrNotCached: ask
}

// prefetcher is a Resolver that can begin a look-up without waiting for it.
type prefetcher interface {
	Prefetch(t dns.Type, name string)
}

// State is how the question to one zone ended.
type State uint8

// The states. Only Listed is a hit.
const (
	Clear   State = iota // not listed
	Listed               // a declared return code
	Error                // the list or the DNS answered with an error
	Timeout              // no answer in time
	Off                  // not asked: its canaries say that it is broken, or it has no such addresses
)

func (s State) String() string { return stateNames[s] }

var stateNames = [...]string{"clear", "listed", "error", "timeout", "off"}

// Result is one zone's answer.
type Result struct {
	Zone  string
	State State
	Code  netip.Addr // of a listing, or the error code; else the zero Addr
	Score float64    // of a listing, else 0
	Err   error      // why State is Error or Timeout
}

// ErrCode is the cause when a zone answered with 127.255.255.0/24.
var ErrCode = errors.New("the list answers with an error code")

// Lists asks several zones. It is safe for concurrent use.
type Lists struct {
	zones    []*zone
	resolver Resolver
	cache    cacher     // nil without one
	ahead    prefetcher // nil without one
	metrics  *Metrics
	logger   *slog.Logger

	watched chan struct{} // nil: nobody watches; closed after the first round of canaries
	once    sync.Once
}

// zone is a Zone at work.
type zone struct {
	Zone
	off     atomic.Bool // set by the canaries
	metrics zoneMetrics
}

// New returns lists that are all on until Run finds one broken.
func New(zones []Zone, r Resolver, m *Metrics, logger *slog.Logger) *Lists {
	if m == nil {
		m = NewMetrics(prometheus.NewRegistry())
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	l := &Lists{resolver: r, metrics: m, logger: logger}
	l.cache, _ = r.(cacher)
	l.ahead, _ = r.(prefetcher)
	for _, z := range zones {
		l.zones = append(l.zones, &zone{Zone: z, metrics: m.zone(z.Name)})
	}
	return l
}

// Zones is the number of zones.
func (l *Lists) Zones() int { return len(l.zones) }

// Await makes look-ups wait for the first round of canaries, which Run is about
// to make: a list that is broken when we start must not refuse anybody either.
// Call it before the first Lookup.
func (l *Lists) Await() { l.watched = make(chan struct{}) }

// Lookup asks all zones at once, and returns one result a zone in the order of
// the config. 127.0.0.1, 127.0.0.2 and ::1 are not asked: they are the lists'
// own test points, or nothing. All others are; what a list thinks of a private
// address is its own business.
func (l *Lists) Lookup(ctx context.Context, addr netip.Addr) []Result {
	results := make([]Result, len(l.zones))
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() || addr == testPoint || addr == notListed || addr.IsLoopback() && addr.Is6() {
		for i, z := range l.zones {
			results[i] = Result{Zone: z.Name, State: Off}
		}
		return results
	}
	l.await(ctx)
	var buf [80]byte
	reversed := dns.AppendReverse(buf[:0], addr)
	var wg sync.WaitGroup
	for i, z := range l.zones {
		if !z.asks(addr) {
			results[i] = z.count(Result{Zone: z.Name, State: Off})
			continue
		}
		name := string(append(reversed, z.Name...))
		if res, ok := l.cached(z, name); ok {
			results[i] = z.count(res)
			continue
		}
		wg.Go(func() { results[i] = z.count(l.ask(ctx, z, name)) })
	}
	wg.Wait()
	return results
}

// await waits for the first round of canaries, where there will be one.
func (l *Lists) await(ctx context.Context) {
	if l.watched == nil {
		return
	}
	_ = dns.Await(ctx, l.watched) // the look-ups that follow fail for the same reason
}

// NameResult is what one zone says about one domain name.
type NameResult struct {
	Result
	Domain string
}

// LookupNames asks lists of domain names (those with a TestPoint) about every
// name at once: zone after zone in the order of the config, and name after name
// in each. The caller bounds their number.
func (l *Lists) LookupNames(ctx context.Context, names []string) []NameResult {
	l.await(ctx)
	results := make([]NameResult, 0, len(l.zones)*len(names))
	var wg sync.WaitGroup
	for _, z := range l.zones {
		for _, name := range names {
			results = append(results, NameResult{Result{Zone: z.Name, State: Off}, name})
			r := &results[len(results)-1]
			query := name + "." + z.Name
			if z.off.Load() {
				z.count(r.Result)
			} else if res, ok := l.cached(z, query); ok {
				r.Result = z.count(res)
			} else {
				wg.Go(func() { r.Result = z.count(l.ask(ctx, z, query)) })
			}
		}
	}
	wg.Wait()
	return results
}

// PrefetchNames begins the look-ups that LookupNames will wait for, where the
// resolver can do that and the lists are known to work.
func (l *Lists) PrefetchNames(names []string) {
	if l.ahead == nil || !l.examined() {
		return
	}
	for _, z := range l.zones {
		for _, name := range names {
			if !z.off.Load() {
				l.ahead.Prefetch(dns.TypeA, name+"."+z.Name)
			}
		}
	}
}

// examined reports that there is no first round of canaries to wait for.
func (l *Lists) examined() bool {
	if l.watched == nil {
		return true
	}
	select {
	case <-l.watched:
		return true
	default:
		return false
	}
}

// asks reports that the zone is on, and has addresses of the family.
func (z *zone) asks(addr netip.Addr) bool {
	return !z.off.Load() && !(z.NoIPv4 && addr.Is4()) && !(z.NoIPv6 && addr.Is6())
}

func (z *zone) count(r Result) Result {
	z.metrics.results[r.State].Inc()
	return r
}

// cached is the result that the resolver's cache knows.
func (l *Lists) cached(z *zone, name string) (res Result, ok bool) {
	if l.cache == nil {
		return Result{}, false
	}
	codes, err := l.cache.CachedA(name)
	if errors.Is(err, dns.ErrNotCached) {
		return Result{}, false
	}
	return z.judge(codes, err), true
}

// ask puts one question to one zone.
func (l *Lists) ask(ctx context.Context, z *zone, name string) Result {
	start := time.Now()
	res := z.judge(l.resolver.LookupA(ctx, name))
	l.metrics.duration.Observe(time.Since(start).Seconds())
	return res
}

// judge turns a DNS answer into a result. The lowest declared code counts when
// a list returns several, so that the result does not depend on their order;
// an error code beside them makes the whole answer an error.
func (z *zone) judge(codes []netip.Addr, err error) Result {
	res := Result{Zone: z.Name}
	switch {
	case err == nil:
	case dns.IsNotFound(err):
		return res
	case dns.IsTimeout(err):
		res.State, res.Err = Timeout, err
		return res
	default:
		res.State, res.Err = Error, err
		return res
	}
	for _, c := range codes {
		switch {
		case errorCodes.Contains(c):
			return Result{Zone: z.Name, State: Error, Code: c, Err: ErrCode}
		case z.declared(c) && (res.State != Listed || c.Less(res.Code)):
			res.State, res.Code, res.Score = Listed, c, z.Score
		}
	}
	return res
}

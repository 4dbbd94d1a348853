package dns

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	wire "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// Options of a Resolver. The zero Options are usable.
type Options struct {
	// Servers are recursive servers in order: host:port, or
	// tls://address:port#name for DNS over TLS (RFC 7858). Empty: those of
	// /etc/resolv.conf.
	Servers   []string
	Roots     *x509.CertPool // who signs certificates of servers over TLS; nil: those the system trusts
	Trust     Trust          // whose AD bit is believed
	Timeout   time.Duration  // of one look-up in all, retries included; default 2 s
	CacheSize int            // answers kept, about 1 KiB each; default 32768
	Logger    *slog.Logger
	Metrics   *Metrics
}

// maxFlights bounds the questions under way at once, and with them sockets and
// memory. Further ones wait for their turn within their time-out.
const maxFlights = 512

var (
	errClosed = errors.New("resolver is closed")
	errBusy   = errors.New("too many look-ups under way")
)

// Resolver asks recursive servers and caches what they say, absences and
// failures included. It is safe for concurrent use.
type Resolver struct {
	cache    *cache
	servers  []*server
	timeout  time.Duration
	exchange exchanger // a seam for tests
	slots    chan struct{}
	metrics  *Metrics

	ctx    context.Context // ends at Close; flights are bound to it, not to who asks
	cancel context.CancelFunc
	mu     sync.Mutex // guards closed, and wg.Add against Close's wg.Wait
	closed bool
	wg     sync.WaitGroup
}

// New returns a resolver; Close ends it.
func New(o Options) (*Resolver, error) {
	if len(o.Servers) == 0 {
		var err error
		if o.Servers, err = systemServers("/etc/resolv.conf"); err != nil {
			return nil, err
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	r := &Resolver{
		cache:   newCache(cmp.Or(o.CacheSize, 32768), o.Metrics),
		timeout: cmp.Or(o.Timeout, 2*time.Second),
		slots:   make(chan struct{}, maxFlights),
		metrics: o.Metrics,
	}
	r.exchange = r.network
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if err := r.serve(o); err != nil {
		r.cancel()
		return nil, err
	}
	return r, nil
}

var errMixed = errors.New("some servers are asked over TLS and some in clear text: a failure of the first would give away what they are there to hide")

func (r *Resolver) serve(o Options) error {
	for i, text := range o.Servers {
		e, err := parseEndpoint(text)
		if err != nil {
			return fmt.Errorf("dns server %q: %w", text, err)
		}
		s := newServer(e, i, o.Metrics, o.Logger)
		s.trusted = o.Trust.in(e)
		if e.tls {
			s.secured = newSecured(r, s, o.Roots)
		}
		if r.servers = append(r.servers, s); e.tls != r.servers[0].tls {
			return errMixed
		}
	}
	return nil
}

// Servers is the number of servers that it asks.
func (r *Resolver) Servers() int { return len(r.servers) }

// systemServers reads resolv.conf(5): where it names no server, or is not
// there, the server is the one on this machine.
func systemServers(file string) ([]string, error) {
	conf, err := wire.ClientConfigFromFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(conf.Servers) == 0:
		return []string{"127.0.0.1:53"}, nil
	case err != nil:
		return nil, fmt.Errorf("dns servers of the system: %w", err)
	}
	var servers []string
	for _, s := range conf.Servers {
		servers = append(servers, net.JoinHostPort(s, conf.Port))
	}
	return servers, nil
}

// Close ends all look-ups, which fail temporarily, waits for them, and drops
// the cache: the metrics may belong to the next resolver too.
func (r *Resolver) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
	r.cache.clear()
}

// LookupA returns IPv4 addresses. The slice is the caller's own, as those of
// all look-ups.
func (r *Resolver) LookupA(ctx context.Context, name string) ([]netip.Addr, error) {
	a, err := r.lookup(ctx, name, TypeA)
	return slices.Clone(a.addrs), err
}

// ErrNotCached is CachedA's way to say that a server must be asked.
var ErrNotCached = errors.New("answer not in the cache")

// CachedA is LookupA as far as the cache knows the answer. It never waits: who
// asks several names at once needs goroutines only for the rest.
func (r *Resolver) CachedA(name string) ([]netip.Addr, error) {
	canon, ok := canonical(name)
	if !ok {
		return nil, ErrNotCached
	}
	k := key{canon, TypeA}
	s := r.cache.shard(k)
	s.mu.Lock()
	a := s.get(k, time.Now())
	s.mu.Unlock()
	if a == nil {
		return nil, ErrNotCached
	}
	r.metrics.lookup(TypeA, a.err, cacheHit)
	if a.err != nil {
		return nil, a.err
	}
	return slices.Clone(a.addrs), nil
}

// LookupAAAA returns IPv6 addresses.
func (r *Resolver) LookupAAAA(ctx context.Context, name string) ([]netip.Addr, error) {
	a, err := r.lookup(ctx, name, TypeAAAA)
	return slices.Clone(a.addrs), err
}

// LookupTXT returns the strings of each TXT record, joined without a space
// (RFC 7208 section 3.3, RFC 6376 section 3.6.2.2).
func (r *Resolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	a, err := r.lookup(ctx, name, TypeTXT)
	return slices.Clone(a.texts), err
}

// LookupMX returns mail exchangers by preference.
func (r *Resolver) LookupMX(ctx context.Context, name string) ([]MX, error) {
	a, err := r.lookup(ctx, name, TypeMX)
	return slices.Clone(a.mx), err
}

// LookupPTR returns the host names of an address, in the server's order.
func (r *Resolver) LookupPTR(ctx context.Context, addr netip.Addr) ([]string, error) {
	if !addr.IsValid() {
		return nil, &Error{Name: addr.String(), Type: "PTR", Kind: Invalid}
	}
	a, err := r.lookup(ctx, reverseName(addr), TypePTR)
	return slices.Clone(a.texts), err
}

// lookup never returns a nil answer.
func (r *Resolver) lookup(ctx context.Context, name string, typ Type) (*answer, error) {
	canon, ok := canonical(name)
	if !ok {
		a := failed(key{name, typ}, Invalid, nil)
		r.metrics.lookup(typ, a.err, cacheMiss)
		return a, a.err
	}
	a, how := r.find(ctx, key{canon, typ})
	r.metrics.lookup(typ, a.err, how)
	note(ctx, a.validated)
	if a.err != nil {
		return a, a.err
	}
	return a, nil
}

type freshKey struct{}

// Fresh makes look-ups under the context ask the servers even when the cache
// has an answer; what they say replaces it. Canary look-ups need that.
func Fresh(ctx context.Context) context.Context { return context.WithValue(ctx, freshKey{}, true) }

// find takes the answer from the cache or from a flight, which it starts when
// there is none and the message still has time for it.
func (r *Resolver) find(ctx context.Context, k key) (a *answer, how int) {
	s := r.cache.shard(k)
	s.mu.Lock()
	if a := s.get(k, time.Now()); a != nil && ctx.Value(freshKey{}) == nil {
		s.mu.Unlock()
		return a, cacheHit
	}
	clock := allowed(ctx)
	f, how, err := r.join(s, k, clock)
	s.mu.Unlock()
	if err == nil {
		err = await(ctx, clock, f.done, r.timeout)
	}
	switch {
	case err == nil:
		return f.answer, how
	case errors.Is(err, errSpent):
		r.metrics.spent.Inc()
	}
	return failed(k, Temporary, err), how
}

// join finds the flight of k, or starts it. The caller holds s.mu.
func (r *Resolver) join(s *shard, k key, clock *allowance) (f *flight, how int, err error) {
	if clock.over() {
		return nil, cacheMiss, errSpent
	}
	if f = s.flights[k]; f != nil {
		return f, cacheShared, nil
	}
	f = &flight{done: make(chan struct{})}
	if !r.spawn(func() { r.fly(s, k, f) }) {
		return nil, cacheMiss, errClosed
	}
	s.flights[k] = f
	return f, cacheMiss, nil
}

// Prefetch begins a look-up whose answer will be wanted soon, unless it is known
// or under way, and does not wait for it. It costs next to nothing where the
// cache has the answer.
func (r *Resolver) Prefetch(typ Type, name string) {
	canon, ok := canonical(name)
	if !ok {
		return
	}
	k := key{canon, typ}
	s := r.cache.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flights[k] != nil || s.get(k, time.Now()) != nil {
		return
	}
	f := &flight{done: make(chan struct{})}
	if r.spawn(func() { r.fly(s, k, f) }) {
		s.flights[k] = f
		r.metrics.prefetches.Inc()
	}
}

// spawn runs f in a goroutine that Close waits for.
func (r *Resolver) spawn(f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.wg.Go(f)
	return true
}

// fly asks k for everybody who waits. It is not bound to the context of the
// one who came first: that one's end must not fail the others.
func (r *Resolver) fly(s *shard, k key, f *flight) {
	ctx, cancel := context.WithTimeout(r.ctx, r.timeout)
	defer cancel()
	start := time.Now()
	f.answer = r.inTurn(ctx, k)
	now := time.Now()
	r.metrics.observe(k.typ, now.Sub(start))
	s.mu.Lock()
	delete(s.flights, k)
	s.put(k, f.answer, now)
	s.mu.Unlock()
	close(f.done)
}

// inTurn asks when there is a slot. A failure after a long wait for it says
// nothing about the name: it is not kept.
func (r *Resolver) inTurn(ctx context.Context, k key) *answer {
	start := time.Now()
	a := failed(k, Temporary, errBusy)
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
	}
	waited := time.Since(start)
	if ctx.Err() == nil {
		a = r.ask(ctx, k)
	}
	if waited > r.timeout/2 && a.err != nil && a.err.Kind == Temporary {
		a.ttl = 0
	}
	return a
}

func failed(k key, kind Kind, cause error) *answer {
	return &answer{ttl: failureTTL, err: &Error{Name: k.name, Type: typeNames[k.typ], Kind: kind, Cause: cause}}
}

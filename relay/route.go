package relay

import (
	"crypto/tls"
	"net"
	"strings"
	"sync"

	"mailweir/mail"
)

// state is what Reload replaces as one piece. It never changes.
type state struct {
	Options
	byDomain map[string]mail.Destination
	outbound mail.Destination
	routes   map[mail.Destination][]*hop
	hops     map[hopKey]*hop
	mx       *exchangers // nil without MX
	sessions tls.ClientSessionCache
}

// hopKey is what makes two next hops the same: connections are shared only
// between routes that ask the same of them.
type hopKey struct {
	addr string
	tls  TLSPolicy
}

// newState builds the tables of o. Next hops that old has too are taken over
// with their connections.
func newState(o Options, old *state, m *Metrics) *state {
	s := &state{
		Options:  o.withDefaults(),
		byDomain: make(map[string]mail.Destination, len(o.Routes)),
		routes:   make(map[mail.Destination][]*hop),
		hops:     make(map[hopKey]*hop),
		sessions: tls.NewLRUClientSessionCache(64),
	}
	if old != nil && !s.sameConnections(old) {
		old = nil
	}
	for domain, r := range o.Routes {
		s.byDomain[domain] = s.add(r, old, m)
	}
	switch {
	case o.Outbound != nil:
		s.outbound = s.add(o.Outbound, old, m)
	case s.MX != nil && old != nil && old.mx != nil && s.MX.sameConnections(old.MX):
		s.mx = old.mx
	case s.MX != nil:
		s.mx = newExchangers(s.MX, m)
	}
	return s
}

// sameConnections reports whether connections made under old are as those that
// s would make.
func (s *state) sameConnections(old *state) bool {
	return s.Hostname == old.Hostname && s.RootCAs == old.RootCAs && s.MaxConnections == old.MaxConnections
}

func (m *MX) sameConnections(old *MX) bool {
	return m.TLS == old.TLS && m.Port == old.Port && m.MaxConnections == old.MaxConnections && m.MaxAttempts == old.MaxAttempts
}

func (s *state) add(r *Route, old *state, m *Metrics) mail.Destination {
	if r == nil || len(r.NextHops) == 0 {
		return ""
	}
	d := r.destination()
	if _, ok := s.routes[d]; ok {
		return d
	}
	hops := make([]*hop, len(r.NextHops))
	for i, addr := range r.NextHops {
		hops[i] = s.hop(hopKey{addr, r.TLS}, old, m)
	}
	s.routes[d] = hops
	return d
}

func (s *state) hop(key hopKey, old *state, m *Metrics) *hop {
	if h := s.hops[key]; h != nil {
		return h
	}
	if old != nil && old.hops[key] != nil {
		s.hops[key] = old.hops[key]
		return old.hops[key]
	}
	host, _, err := net.SplitHostPort(key.addr)
	if err != nil {
		host = key.addr // the dialer will say what is wrong with it
	}
	h := &hop{hopKey: key, name: key.addr, host: strings.TrimSuffix(host, "."), metrics: m, slots: make(chan struct{}, s.MaxConnections)}
	s.hops[key] = h
	return h
}

// destination looks up a recipient. The route of the domain "" serves
// <postmaster> without a domain (RFC 5321 section 4.5.1), which is ours by
// definition and never goes outbound.
func (s *state) destination(rcpt mail.Path) mail.Destination {
	domain := mail.CanonicalDomain(rcpt.Domain())
	if d, ok := s.byDomain[domain]; ok || domain == "" {
		return d
	}
	if s.mx != nil {
		return mail.Destination(domain) // never equal to that of a route, which has a port
	}
	return s.outbound
}

// retire closes the connections that s has and keep does not share.
func (s *state) retire(keep *state) {
	var hops map[hopKey]*hop
	var mx *exchangers
	if keep != nil {
		hops, mx = keep.hops, keep.mx
	}
	retire(s.hops, hops)
	if s.mx != nil && s.mx != mx {
		s.mx.retire()
	}
}

// retire closes the connections of all hops that are not in keep.
func retire(hops, keep map[hopKey]*hop) {
	var wg sync.WaitGroup
	for key, h := range hops {
		if keep[key] != h {
			wg.Go(h.retire)
		}
	}
	wg.Wait()
}

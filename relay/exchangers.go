package relay

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Limits of what is kept of other people's hosts. They outnumber our own next
// hops by far, and each that was used leaves a connection behind.
const (
	maxIdleExchanges = 256             // idle connections in all
	exchangeIdle     = 5 * time.Second // until an idle connection is closed
	// exchangeWait is how long an attempt waits for one of the connections to
	// a host before it goes on to the next: with a host that is slow on
	// purpose, and many domains that name it, all workers of the queue could
	// end up waiting.
	exchangeWait = 5 * time.Second
	// turnWait is how long an attempt waits to be one of MaxAttempts: long
	// enough for a burst to pass, while nothing in it is slow.
	turnWait = time.Second
	// exchangeTime is when an attempt goes on to no further address. The time-
	// outs of RFC 5321 would let one with eight of them last for hours.
	exchangeTime = 10 * time.Minute
	minSweep     = 64 // hops that are kept without asking whether they are of use
)

// exchangers are the hops of MX delivery. Routes have theirs from the
// configuration; here they come and go with what DNS says. A hop is one
// address of one host name: domains with the same mail exchanger share its
// connections, but one address under two names does not, since the name is
// what a certificate has to show.
type exchangers struct {
	tls      TLSPolicy
	port     string
	maxConns int
	metrics  *Metrics
	idle     quota
	turns    chan struct{} // one for each attempt under way
	wait     time.Duration // exchangeWait; a seam for tests

	mu      sync.Mutex
	hosts   map[string]*exchanger
	count   int // hops
	sweepAt int
	retired bool
}

// exchanger is one host.
type exchanger struct {
	slots chan struct{} // shared by all addresses
	hops  map[netip.Addr]*heldHop
}

// heldHop is a hop and how many attempts may use it.
type heldHop struct {
	*hop
	users int
}

func newExchangers(o *MX, m *Metrics) *exchangers {
	return &exchangers{
		tls: o.TLS, port: strconv.Itoa(int(o.Port)), maxConns: o.MaxConnections, metrics: m,
		idle: quota{max: maxIdleExchanges}, wait: exchangeWait, turns: make(chan struct{}, o.MaxAttempts), hosts: make(map[string]*exchanger), sweepAt: minSweep,
	}
}

// turn waits for the right to make an attempt; endTurn gives it back.
func (t *exchangers) turn(ctx context.Context) error { return acquire(ctx, t.turns, turnWait) }

func (t *exchangers) endTurn() { <-t.turns }

// hold finds or makes the hop for an address of host. release gives it back.
func (t *exchangers) hold(host string, addr netip.Addr) *heldHop {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.hosts[host]
	if e == nil {
		e = &exchanger{slots: make(chan struct{}, t.maxConns), hops: make(map[netip.Addr]*heldHop)}
		t.hosts[host] = e
	}
	h := e.hops[addr]
	if h == nil {
		h = &heldHop{hop: t.newHop(e, host, addr)}
		e.hops[addr] = h
		t.count++
	}
	h.users++
	if t.count >= t.sweepAt {
		t.sweep(time.Now())
	}
	return h
}

func (t *exchangers) newHop(e *exchanger, host string, addr netip.Addr) *hop {
	target := net.JoinHostPort(addr.String(), t.port)
	name := target
	if host != addr.String() {
		name = host + "[" + addr.String() + "]:" + t.port
	}
	return &hop{
		hopKey: hopKey{target, t.tls}, name: name, host: host, metrics: t.metrics,
		slots: e.slots, patient: t.wait, spare: &t.idle, retired: t.retired,
	}
}

func (t *exchangers) release(held []*heldHop) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range held {
		h.users--
	}
}

// sweep forgets the hops that nobody needs, and comes back when there are
// twice as many as remain: that makes its cost a constant for each hop.
func (t *exchangers) sweep(now time.Time) {
	for host, e := range t.hosts {
		for addr, h := range e.hops {
			if h.users == 0 && h.disposable(now) {
				delete(e.hops, addr)
				t.count--
			}
		}
		if len(e.hops) == 0 {
			delete(t.hosts, host)
		}
	}
	t.sweepAt = max(minSweep, 2*t.count)
}

// retire ends all idle connections and waits for it. Attempts under way keep
// none either.
func (t *exchangers) retire() {
	t.mu.Lock()
	t.retired = true
	var hops []*hop
	for _, e := range t.hosts {
		for _, h := range e.hops {
			hops = append(hops, h.hop)
		}
	}
	t.mu.Unlock()
	var wg sync.WaitGroup
	for _, h := range hops {
		wg.Go(h.retire)
	}
	wg.Wait()
}

// idleFor is how long a connection to h is kept for the next message.
func (s *state) idleFor(h *hop) time.Duration {
	if h.spare != nil {
		return min(s.IdleTimeout, exchangeIdle)
	}
	return s.IdleTimeout
}

package relay

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/mail"
)

// Relay delivers to next hops. It is safe for concurrent use, and has no
// goroutine of its own but a timer for each next hop with idle connections.
type Relay struct {
	state   atomic.Pointer[state]
	metrics *Metrics

	mu     sync.Mutex // Reload and Close, one at a time
	closed bool
}

// New makes a relay. It connects to nothing until the first Deliver.
func New(o Options) *Relay {
	r := &Relay{metrics: o.Metrics}
	if r.metrics == nil {
		r.metrics = NewMetrics(prometheus.NewRegistry())
	}
	r.state.Store(newState(o, nil, r.metrics))
	return r
}

// Route is the destination of a recipient's mail, "" when there is none. The
// destination is the list of next hops (see Route.destination), so that domains
// with the same ones share connections and back-off; with MX delivery it is the
// canonical domain. Nothing is looked up here.
func (r *Relay) Route(rcpt mail.Path) mail.Destination {
	return r.state.Load().destination(rcpt)
}

// Near tells the next hops of a route from the mail exchangers of strangers.
func (r *Relay) Near(d mail.Destination) bool { return ofRoute(d) }

// Reload replaces the routes and limits. Attempts under way end with the old
// ones. Connections of next hops that stay are kept, unless what was agreed on
// when they were made has changed.
func (r *Relay) Reload(o Options) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.state.Load()
	next := newState(o, old, r.metrics)
	r.state.Store(next)
	if r.closed {
		next.retire(nil)
	}
	old.retire(next)
}

// Close ends all idle connections with QUIT and returns when they are closed,
// after a few seconds at most. Attempts under way go on until they or their
// context end; their connections are closed afterwards, not kept.
func (r *Relay) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.state.Load().retire(nil)
	return nil
}

// Deliver makes one attempt for the recipients with the indexes rcpts and
// calls done exactly once for each of them, from this goroutine, whatever
// happens: a panic of ours becomes a deferral. It returns when all are done.
// When ctx ends what is not settled is deferred at once, but for a message that
// the next hop has in full: its reply is waited for a few seconds longer.
func (r *Relay) Deliver(ctx context.Context, d mail.Destination, m *mail.Message, rcpts []int, done func(mail.Outcome)) {
	a := newAttempt(ctx, r, m, rcpts, done)
	defer a.finish()
	a.run(d)
}

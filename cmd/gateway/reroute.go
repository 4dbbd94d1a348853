package main

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"

	"mailweir/filter/rules"
	"mailweir/internal/config"
	"mailweir/mail"
	"mailweir/relay"
)

// router is the relay with routes beside those of the config: to the next hops
// that admins (`queue reroute`) and rules gave to messages. How their connections are
// secured is said by the config, as for all others.
type router struct {
	*relay.Relay
	names atomic.Pointer[map[mail.Destination]mail.Destination] // as the queue says -> as the relay does

	mu    sync.Mutex
	base  relay.Options
	tls   relay.TLSPolicy
	extra map[mail.Destination]bool
}

// tlsPolicy is what relay.tls asks of all next hops.
func tlsPolicy(cfg *config.Config) relay.TLSPolicy {
	if cfg.Relay.TLS == "required" {
		return relay.TLSRequired
	}
	return relay.TLSOpportunistic
}

// newRouter makes the relay; extra are the reroutes in the queue.
func newRouter(o relay.Options, tls relay.TLSPolicy, extra []mail.Destination) *router {
	r := &router{base: o, tls: tls, extra: map[mail.Destination]bool{}}
	for _, d := range extra {
		r.extra[d] = true
	}
	r.Relay = relay.New(r.options())
	return r
}

// options adds the reroutes to the routes of the config. The caller holds r.mu.
func (r *router) options() relay.Options {
	o := r.base
	o.Routes = maps.Clone(o.Routes)
	names := make(map[mail.Destination]mail.Destination, len(r.extra))
	for d := range r.extra {
		// No recipient's domain has a space in it.
		o.Routes[" "+string(d)] = &relay.Route{NextHops: []string{string(d)}, TLS: r.tls}
		names[d] = d
		if r.tls == relay.TLSRequired {
			names[d] = "tls:" + d // the relay's name for it
		}
	}
	r.names.Store(&names)
	return o
}

// reload puts a new config into force.
func (r *router) reload(o relay.Options, tls relay.TLSPolicy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.base, r.tls = o, tls
	r.Relay.Reload(r.options())
}

// add makes d known, so that messages can be rerouted there.
func (r *router) add(d mail.Destination) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.extra[d] {
		r.extra[d] = true
		r.Relay.Reload(r.options())
	}
}

// know adds the next hops that rules name.
func (r *router) know(set *rules.Rules) {
	for _, d := range set.NextHops() {
		r.add(d)
	}
}

// Deliver implements queue.Deliverer.
func (r *router) Deliver(ctx context.Context, d mail.Destination, m *mail.Message, rcpts []int, done func(mail.Outcome)) {
	if name, ok := (*r.names.Load())[d]; ok {
		d = name
	}
	r.Relay.Deliver(ctx, d, m, rcpts, done)
}

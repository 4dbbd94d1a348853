package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mailweir/internal/config"
	"mailweir/internal/dns"
)

// apply puts a new config into force: all of it or, when a part of it is
// wrong, nothing.
func (g *gateway) apply(cfg *config.Config) error {
	if err := sameSockets(g.cfg, cfg); err != nil {
		return err
	}
	resolver, err := g.resolverFor(cfg)
	if err != nil {
		return err
	}
	next, err := g.newJudge(context.Background(), cfg, resolver)
	if err != nil {
		return err
	}
	certs, err := g.certificates(cfg)
	if err != nil {
		next.close()
		return fmt.Errorf("tls: %w", err)
	}
	old := g.judge
	old.quiet() // two that probe the same would contradict each other
	if resolver != g.dns {
		g.retire("old resolver", g.dns.Close)
	}
	g.cfg, g.judge, g.dns = cfg, next, resolver
	g.signer.Store(next.settings.Signer)
	g.m.inForce(cfg, resolver)
	g.certs.Adopt(certs)
	g.setOwn(cfg)
	g.teacher.learn.Store(&cfg.Learn)
	g.reports.Configure(reportSettings(cfg, resolver))
	g.session.Reload(next.settings)
	g.relay.reload(g.relayOptions(cfg), tlsPolicy(cfg))
	g.relay.know(next.rules)
	g.server.SetLimits(limits(cfg))
	for k, l := range g.listeners {
		g.server.SetClientCAs(l, next.clientCAs(cfg.Listeners[k].Role))
		g.server.SetTrustedProxies(l, cfg.Listeners[k].TrustedProxies)
	}
	// Sessions under way keep the old parts until their next transaction.
	g.retire("old settings", old.close)
	return nil
}

// resolverFor keeps the resolver, and with it a warm cache, while [dns] stays
// the same. What is in a ca_file may have changed: it is read again.
func (g *gateway) resolverFor(cfg *config.Config) (*dns.Resolver, error) {
	if old := g.cfg.DNS; slices.Equal(cfg.DNS.Servers, old.Servers) && cfg.DNS.Timeout == old.Timeout &&
		cfg.DNS.TrustAD == old.TrustAD && cfg.DNS.CAFile == "" && old.CAFile == "" {
		return g.dns, nil
	}
	return newResolver(cfg, g.log, g.m.judge)
}

// retireAfter is how long the parts of old settings live on: longer than any
// transaction that began with them may take.
const retireAfter = 30 * time.Minute

func (g *gateway) retire(name string, end func()) {
	t := time.AfterFunc(retireAfter, end)
	// Stops last: transactions under way may still use it.
	g.stops = slices.Insert(g.stops, 0, stop{name, func(context.Context) error {
		if t.Stop() {
			end()
		}
		return nil
	}})
}

// sameSockets refuses what cannot change while running.
func sameSockets(old, cfg *config.Config) error {
	fixed := func(key string, same bool) error {
		if same {
			return nil
		}
		return fmt.Errorf("%s has changed: that needs a restart", key)
	}
	listeners := len(old.Listeners) == len(cfg.Listeners)
	for k := 0; listeners && k < len(cfg.Listeners); k++ {
		a, b := old.Listeners[k], cfg.Listeners[k]
		listeners = a.Address == b.Address && a.ProxyProtocol == b.ProxyProtocol && a.ImplicitTLS == b.ImplicitTLS && a.Role == b.Role
	}
	return errors.Join(
		fixed("a listener", listeners),
		fixed("data_dir", old.DataDir == cfg.DataDir),
		fixed("hostname", old.Hostname == cfg.Hostname),
		fixed("metrics.address", old.Metrics.Address == cfg.Metrics.Address),
		fixed("[queue]", old.Queue == cfg.Queue),
		fixed("[log]", old.Log == cfg.Log),
		fixed("[stats]", old.Stats.Keep == cfg.Stats.Keep && slices.Equal(old.Stats.MMDB, cfg.Stats.MMDB)),
		fixed("privacy.logs", old.Privacy.Logs == cfg.Privacy.Logs),
		fixed("privacy.log_addresses", old.Privacy.LogAddresses == cfg.Privacy.LogAddresses),
	)
}

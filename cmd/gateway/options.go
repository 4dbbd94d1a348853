package main

import (
	"net/netip"

	"mailweir/internal/config"
	"mailweir/mail"
	"mailweir/relay"
	"mailweir/smtpd"
)

// relayOptions turns the config into routes.
func (g *gateway) relayOptions(cfg *config.Config) relay.Options {
	policy := relay.TLSOpportunistic
	if cfg.Relay.TLS == "required" {
		policy = relay.TLSRequired
	}
	o := relay.Options{
		Hostname: string(cfg.Hostname), Routes: make(map[string]*relay.Route),
		Logger: g.log, Metrics: g.m.relay,
	}
	for k, d := range cfg.Domains {
		route := &relay.Route{NextHops: texts(d.NextHops), TLS: policy}
		o.Routes[mail.CanonicalDomain(string(d.Name))] = route
		if k == 0 { // <postmaster> without a domain
			o.Routes[""] = route
		}
	}
	if cfg.Relay.Outbound != "" {
		o.Outbound = &relay.Route{NextHops: []string{string(cfg.Relay.Outbound)}, TLS: policy}
	}
	return o
}

func limits(cfg *config.Config) smtpd.Limits {
	l := smtpd.DefaultLimits()
	c := &cfg.Limits
	l.TextLine, l.HeaderSection, l.MessageSize = int(c.TextLine), int(c.HeaderSize), int64(c.MessageSize)
	l.Recipients, l.Errors = c.Recipients, c.Errors
	l.CommandTimeout, l.DataTimeout, l.SessionTimeout = c.CommandTimeout, c.DataTimeout, c.SessionTimeout
	l.Connections, l.ConnectionsPerNetwork = c.Connections, c.ConnectionsPerNetwork
	return l
}

func (g *gateway) setOwn(cfg *config.Config) {
	own := cfg.Privacy.OwnNetworks
	g.own.Store(&own)
}

func (g *gateway) isOwn(a netip.Addr) bool {
	for _, p := range *g.own.Load() {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

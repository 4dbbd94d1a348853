package main

import (
	"net"
	"net/netip"

	"mailweir/internal/config"
	"mailweir/mail"
	"mailweir/relay"
	"mailweir/smtpd"
)

// relayOptions turns the config into routes.
func (g *gateway) relayOptions(cfg *config.Config) relay.Options {
	policy := tlsPolicy(cfg)
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
	switch cfg.Relay.Outbound {
	case "":
	case config.OutboundMX:
		o.MX = &relay.MX{
			Resolver: g.dns, TLS: policy, MaxConnections: cfg.Relay.OutboundConnections, Port: g.mxPort,
			Family: families[cfg.Relay.OutboundFamily], Own: g.ownAddresses(cfg), Allow: cfg.Relay.OutboundAllow,
		}
	default:
		o.Outbound = &relay.Route{NextHops: []string{string(cfg.Relay.Outbound)}, TLS: policy}
	}
	return o
}

var families = map[string]relay.Family{"any": relay.AnyFamily, "ipv4": relay.IPv4, "ipv6": relay.IPv6}

// ownAddresses are where our listeners can be reached: mail for them would
// come back to us.
func (g *gateway) ownAddresses(cfg *config.Config) (own []netip.Addr) {
	for _, l := range cfg.Listeners {
		host, _, _ := net.SplitHostPort(string(l.Address)) // checked by config
		a, err := netip.ParseAddr(host)
		if err == nil && !a.IsUnspecified() {
			own = append(own, a.Unmap().WithZone(""))
			continue
		}
		all, err := net.InterfaceAddrs()
		if err != nil {
			g.log.Warn("addresses of this host are unknown: mail loops are found by name only", "error", err)
		}
		for _, n := range all {
			if p, err := netip.ParsePrefix(n.String()); err == nil {
				own = append(own, p.Addr().Unmap())
			}
		}
	}
	return own
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

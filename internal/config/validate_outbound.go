package config

import "fmt"

// HasOutbound reports a listener for outgoing mail.
func (c *Config) HasOutbound() bool {
	for _, l := range c.Listeners {
		if l.Role == RoleOutbound {
			return true
		}
	}
	return false
}

// RoleOutbound is the role of a listener for outgoing mail.
const RoleOutbound = "outbound"

// outbound demands what a listener for outgoing mail cannot work without.
func (v *validator) outbound() {
	o := &v.c.Outbound
	for i, l := range v.c.Listeners {
		if l.Role != RoleOutbound {
			continue
		}
		path := fmt.Sprintf("listener[%d].role", i)
		if v.c.Relay.Outbound == "" && !v.given("relay.outbound") {
			v.at(path, "needs relay.outbound: there is no way out for its mail", `write outbound = "mx" in [relay], or the host:port of a smarthost`)
		}
		if len(v.c.Privacy.OwnNetworks) == 0 && o.Passwords == "" && o.ClientCA == "" {
			v.at(path, "lets nobody in", "write privacy.own_networks, outbound.passwords or outbound.client_ca")
		}
	}
	if v.c.HasOutbound() {
		return
	}
	for _, key := range [...]string{"passwords", "client_ca"} {
		if v.given("outbound." + key) {
			v.at("outbound."+key, "has no listener that it is for", `write role = "outbound" in a [[listener]]`)
			return
		}
	}
}

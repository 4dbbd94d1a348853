package config

import (
	"fmt"
	"time"
)

// Notices are what an admin should hear at start: the config is valid, and
// something that most gateways have is absent from it.
func (c *Config) Notices() []string {
	var list []string
	add := func(absent bool, text string) {
		if absent {
			list = append(list, text)
		}
	}
	add(c.TLS.Certificate == "", "tls.certificate is not set: clients get a self-signed certificate")
	add(c.ClamAV.Address == "", "clamav.address is not set: mail is not scanned for viruses")
	add(c.Relay.Outbound == "", "relay.outbound is not set: DSNs to other domains are held in the queue")
	add(c.Relay.Outbound == OutboundMX && c.Relay.TLS == "required",
		"relay.tls is required and relay.outbound is mx: domains whose mail exchangers have no valid certificate cannot be reached")
	now := time.Now()
	for _, e := range c.Allow {
		add(e.Expired(now), fmt.Sprintf("an [[allow]] entry has expired on %s and counts no more: %s", e.Expires, e.Reason))
	}
	for _, e := range c.Block {
		add(e.Expired(now), fmt.Sprintf("a [[block]] entry has expired on %s and counts no more: %s", e.Expires, e.Reason))
	}
	for _, d := range c.Domains {
		add(d.Recipients == "" && d.Verify == "", fmt.Sprintf("domain %s has neither recipients nor verify: every recipient is accepted", d.Name))
		add(d.Redact == "own" && len(c.Privacy.OwnNetworks) == 0, fmt.Sprintf("domain %s redacts own clients, but privacy.own_networks is empty: nothing is redacted", d.Name))
	}
	return list
}

// Expired tells whether the entry counts no more.
func (a *Access) Expired(now time.Time) bool { return a.Expires != "" && !now.Before(a.Expires.Time()) }

package main

import (
	"mailweir/filter/access"
	"mailweir/filter/vip"
	"mailweir/internal/config"
)

// vips are those of a config. What config took, ParseScope takes.
func vips(cfg *config.Config) []vip.Person {
	out := make([]vip.Person, len(cfg.VIPs))
	for k, p := range cfg.VIPs {
		out[k].Names = p.Names
		out[k].Scope, _ = access.ParseScope(texts(p.For))
		if own, _ := access.ParseScope(texts(p.Addresses)); own != nil {
			out[k].Addresses, out[k].Domains = own.Recipients, own.Domains
		}
	}
	return out
}

package main

import (
	"log/slog"

	"mailweir/internal/config"
	"mailweir/internal/recipients"
	"mailweir/smtpd"
)

// verifiers make and keep what knows recipients: files are read at each
// reload, while the cache of next-hop probes lives on.
type verifiers struct {
	log    *slog.Logger
	probes map[string]*recipients.Probe // by domain and next hops
}

func newVerifiers(log *slog.Logger) *verifiers {
	return &verifiers{log: log, probes: make(map[string]*recipients.Probe)}
}

// make returns nil when the domain accepts every recipient.
func (v *verifiers) make(cfg *config.Config, d *config.Domain) (smtpd.Verifier, error) {
	switch {
	case d.Recipients != "":
		return recipients.Load(string(d.Recipients), v.log)
	case d.Verify == "next_hop":
		key := string(d.Name)
		for _, hop := range d.NextHops {
			key += " " + string(hop)
		}
		if v.probes[key] == nil {
			v.probes[key] = recipients.NewProbe(recipients.ProbeOptions{
				Hostname: string(cfg.Hostname), NextHops: texts(d.NextHops), Logger: v.log,
				RequireTLS: cfg.Relay.TLS == "required",
			})
		}
		return v.probes[key], nil
	}
	return nil, nil
}

package main

import (
	"encoding/json"
	"fmt"
	"time"

	"mailweir/filter"
	"mailweir/internal/config"
	"mailweir/internal/history"
	"mailweir/mail"
	"mailweir/smtpd"
)

// pastVerdict is a verdict of the history whose facts can be weighed again.
type pastVerdict struct {
	smtpd.Record
	id     mail.ID
	at     time.Time
	domain string // "": recipients in any
}

// concerns tells whether a recipient is in the domain that was asked for.
func (v *pastVerdict) concerns(address string) bool {
	return v.domain == "" || mail.CanonicalDomain(mail.Path(address).Domain()) == v.domain
}

// notQueued is the reason of a message that was judged and then not stored: its
// action says nothing about the rules.
const notQueued = "not_queued"

// eachVerdict calls fn for the verdicts since then that have facts, and tells
// which messages an admin has released.
func eachVerdict(cfg *config.Config, a *rulesArgs, fn func(*pastVerdict) error) (released map[string]bool, err error) {
	released = map[string]bool{}
	domain, err := ownDomain(cfg, a.domain)
	if err != nil {
		return nil, err
	}
	since := time.Now().Add(-time.Duration(a.since))
	keys, err := historyKeys(cfg)
	if err != nil {
		return nil, err
	}
	err = history.Each(historyDir(cfg), keys, since, func(e history.Entry) error {
		switch e.Kind {
		case "release":
			released[e.ID.String()] = true
		case "verdict":
			v := &pastVerdict{id: e.ID, at: e.At, domain: domain}
			if err := json.Unmarshal(e.Data, &v.Record); err != nil {
				return fmt.Errorf("verdict of %s: %w", e.ID, err)
			}
			if v.usable() {
				return fn(v)
			}
		}
		return nil
	})
	return released, err
}

// recipients are those that were judged.
func (v *pastVerdict) recipients() []mail.Recipient {
	list := make([]mail.Recipient, len(v.Accepted))
	for k, rcpt := range v.Accepted {
		list[k].Path = mail.Path(rcpt.Address)
	}
	return list
}

func (v *pastVerdict) usable() bool {
	if v.Facts == nil || v.Facts.Version != filter.FactsVersion || v.Reason == notQueued {
		return false
	}
	for _, rcpt := range v.Accepted {
		if v.concerns(rcpt.Address) {
			return true
		}
	}
	return false
}

// policies are those of our domains, by canonical name.
type policies map[string]*smtpd.Domain

func policiesOf(cfg *config.Config) policies {
	p := policies{}
	for k := range cfg.Domains {
		d := policyDomain(&cfg.Domains[k], cfg.Engines)
		p[mail.CanonicalDomain(string(cfg.Domains[k].Name))] = d
		if k == 0 { // <postmaster> without a domain
			p[""] = d
		}
	}
	return p
}

// of is the policy for a recipient, nil when the domain is not ours.
func (p policies) of(rcpt mail.Path) *filter.DomainPolicy {
	if d := p[mail.CanonicalDomain(rcpt.Domain())]; d != nil {
		return d.PolicyFor(rcpt)
	}
	return nil
}

package main

import (
	"fmt"

	"mailweir/filter"
	"mailweir/filter/privacy"
	"mailweir/internal/config"
	"mailweir/mail"
	"mailweir/smtpd"
)

// domains makes what differs from domain to domain.
func (j *judge) domains(cfg *config.Config, o judgeOptions) error {
	for k := range cfg.Domains {
		d := &cfg.Domains[k]
		class, err := privacy.ParseClass(d.Redact)
		if err != nil {
			return fmt.Errorf("domain %s: %w", d.Name, err)
		}
		domain := policyDomain(d, cfg.Engines)
		domain.Redact, domain.SignedFields = class, cfg.Privacy.SignedFields
		if o.verify != nil {
			if domain.Recipients, err = o.verify(d); err != nil {
				return fmt.Errorf("domain %s: %w", d.Name, err)
			}
		}
		j.settings.Domains[mail.CanonicalDomain(string(d.Name))] = domain
		if k == 0 { // <postmaster> without a domain is the first domain's
			j.settings.Domains[""] = domain
		}
	}
	return nil
}

// policyDomain is a domain's policy, and that of its postmaster.
func policyDomain(d *config.Domain, engines []config.Engine) *smtpd.Domain {
	policy := domainPolicy(d, engines)
	exempt := *policy
	exempt.Postmaster = true
	return &smtpd.Domain{Policy: policy, Postmaster: &exempt}
}

func domainPolicy(d *config.Domain, engines []config.Engine) *filter.DomainPolicy {
	return &filter.DomainPolicy{
		Domain: string(d.Name), TagMode: d.Mode == "tag",
		Tag: d.Score.Tag, Quarantine: d.Score.Quarantine, Reject: d.Score.Reject,
		DMARCReject:    d.DMARC.Reject,
		DNSOnError:     filter.Action(d.DNS.OnError),
		ScannerOnError: filter.Action(d.ClamAV.OnError),
		OnOversize:     filter.Action(d.ClamAV.OnOversize),
		Attachments:    attachmentPolicy(&d.Attachments),
		OnAmbiguous:    filter.Action(d.Structure.OnAmbiguous),
		OnLimit:        filter.Action(d.Structure.OnLimit),
		Greylist:       greylistPolicy(&d.Greylist),
		OnState:        enginePolicy(engines),
	}
}

func ownDomains(cfg *config.Config) []string {
	out := make([]string, len(cfg.Domains))
	for k, d := range cfg.Domains {
		out[k] = mail.CanonicalDomain(string(d.Name))
	}
	return out
}

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"slices"

	"mailweir/dnsbl"
	"mailweir/filter"
	"mailweir/filter/access"
	"mailweir/filter/arc"
	"mailweir/filter/bayes"
	"mailweir/filter/clamav"
	"mailweir/filter/content"
	"mailweir/filter/dkim"
	"mailweir/filter/dmarc"
	"mailweir/filter/dnslist"
	"mailweir/filter/iprev"
	"mailweir/filter/mime"
	"mailweir/filter/rules"
	"mailweir/filter/spf"
	"mailweir/filter/urilist"
	"mailweir/filter/vip"
	"mailweir/internal/config"
	"mailweir/internal/dns"
	"mailweir/internal/fsx"
	"mailweir/mail"
)

// checks makes the parts of the chain.
func (j *judge) checks(cfg *config.Config, r *rules.Rules, lists *access.Lists, o judgeOptions) (*checks, error) {
	var err error
	if j.resolver, j.lent = o.resolver, o.resolver != nil; !j.lent {
		if j.resolver, err = newResolver(cfg, o.log, o.m); err != nil {
			return nil, err
		}
	}
	j.models = bayes.NewModels(fsx.OS{}, learnedDir(cfg), o.log)
	reader := content.New(r.Patterns, func() bool { return j.models.Ready(cfg.Learn.Minimum) })
	if o.explain {
		reader.KeepWords()
	}
	text := func(tx *filter.Transaction) mime.Text { return reader.Open(tx) }
	if slices.Contains(cfg.Checks.Disabled, reader.Name()) {
		text = nil
	}
	ask := func(step string) dns.Source {
		if o.explain {
			return &recorder{src: j.resolver, step: step}
		}
		return j.resolver
	}
	j.learned = bayes.NewCheck(j.models, cfg.Learn.Minimum)
	c := &checks{
		iprev:   iprev.New(ask("iprev")),
		spf:     spf.New(ask("spf"), spf.Options{Receiver: string(cfg.Hostname)}),
		spfHelo: spf.NewHelo(ask("spf_helo"), spf.Options{Receiver: string(cfg.Hostname)}),
		dkim:    dkim.New(ask("dkim")),
		arc:     arc.New(ask("arc")),
		mime:    mime.New(text, j.attachments(cfg, o)),
		dmarc:   dmarc.New(ask("dmarc"), dmarcOptions(cfg)),
		bayes:   j.learned,
		access:  access.NewCheck(lists),
	}
	if len(cfg.VIPs) > 0 {
		c.vip = vip.NewCheck(vips(cfg), ownDomains(cfg))
	}
	if len(cfg.DNSBL) > 0 {
		c.dnsbl = dnslist.New(j.list(zones(cfg.DNSBL), ask("dnsbl"), o))
	}
	if len(cfg.URIBL) > 0 {
		c.uribl = urilist.New(j.list(domainZones(cfg.URIBL), ask("uribl"), o), len(cfg.URIBL), ownDomains(cfg))
	}
	if err := errors.Join(j.senders(cfg, c, o), j.engineChecks(cfg, c, o)); err != nil {
		return nil, err
	}
	if cfg.ClamAV.Address != "" {
		j.scanner, err = clamav.New(clamav.Options{
			Address: string(cfg.ClamAV.Address), Logger: o.log, Metrics: o.m.clamav,
			MaxMessage: int64(cfg.Limits.MessageSize),
		})
		if err != nil {
			return nil, err
		}
		c.clamav = clamav.NewCheck(j.scanner, contents)
	}
	return c, nil
}

// contents takes a message apart for the virus scanner.
func contents(tx *filter.Transaction, open func() io.Reader) clamav.Contents {
	return mime.NewContents(tx.Header, open)
}

// list makes lists whose canaries are asked as long as the judge is in force.
func (j *judge) list(zones []dnsbl.Zone, r dnsbl.Resolver, o judgeOptions) *dnsbl.Lists {
	l := dnsbl.New(zones, r, o.m.dnsbl, o.log)
	j.lists = append(j.lists, l)
	return l
}

func newResolver(cfg *config.Config, log *slog.Logger, m *instruments) (*dns.Resolver, error) {
	o := dns.Options{
		Servers: texts(cfg.DNS.Servers), Timeout: cfg.DNS.Timeout, Logger: log, Metrics: m.dns,
		Trust: map[string]dns.Trust{"secure": dns.TrustSecure, "always": dns.TrustAll, "never": dns.TrustNone}[cfg.DNS.TrustAD],
	}
	if cfg.DNS.CAFile != "" {
		pem, err := os.ReadFile(string(cfg.DNS.CAFile))
		if err != nil {
			return nil, err
		}
		if o.Roots, err = dns.LoadRoots(pem); err != nil {
			return nil, fmt.Errorf("dns.ca_file: %w", err)
		}
	}
	return dns.New(o)
}

// switchedOff names the checks that do not run, and why.
func switchedOff(cfg *config.Config, o judgeOptions) map[string]string {
	off := map[string]string{}
	if o.noDNS {
		for _, name := range needDNS {
			off[name] = "no DNS was asked for"
		}
		for _, e := range cfg.Engines {
			if !e.Local {
				off[e.Name] = "no DNS was asked for, and it may ask it (local = false)"
			}
		}
	}
	for _, name := range cfg.Checks.Disabled {
		off[name] = "disabled by the config"
	}
	return off
}

func maxListing(cfg *config.Config) float64 {
	sum := 0.0
	for _, z := range cfg.DNSBL {
		sum += math.Max(0, z.Score)
	}
	return sum
}

func zones(list []config.DNSBL) []dnsbl.Zone {
	out := make([]dnsbl.Zone, len(list))
	for k, z := range list {
		out[k] = dnsbl.Zone{Name: string(z.Zone), Score: z.Score, Codes: prefixes(z.Codes)}
	}
	return out
}

func domainZones(list []config.URIBL) []dnsbl.Zone {
	out := make([]dnsbl.Zone, len(list))
	for k, z := range list {
		out[k] = dnsbl.Zone{Name: string(z.Zone), Score: z.Score, Codes: prefixes(z.Codes), TestPoint: string(z.TestPoint)}
	}
	return out
}

func prefixes(codes []config.Code) []netip.Prefix {
	var out []netip.Prefix
	for _, c := range codes {
		out = append(out, c.Prefix())
	}
	return out
}

func dmarcOptions(cfg *config.Config) dmarc.Options {
	o := dmarc.Options{TrustedSealers: texts(cfg.ARC.TrustedSealers), Reports: cfg.DMARC.Reports.Email != ""}
	for _, v := range cfg.Overrides {
		o.Overrides = append(o.Overrides, dmarc.Override{
			Network: v.Network, Domain: string(v.Domain), Author: string(v.Author), Reason: v.Reason,
			To: mail.CanonicalDomain(string(v.RecipientDomain)),
		})
	}
	return o
}

// texts turns a list of named string types into strings.
func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for k, s := range list {
		out[k] = string(s)
	}
	return out
}

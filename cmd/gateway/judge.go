package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/dnsbl"
	"mailweir/filter"
	"mailweir/filter/access"
	"mailweir/filter/arc"
	"mailweir/filter/attachment"
	"mailweir/filter/bayes"
	"mailweir/filter/clamav"
	"mailweir/filter/content"
	"mailweir/filter/dkim"
	"mailweir/filter/dmarc"
	"mailweir/filter/dnslist"
	"mailweir/filter/engine"
	"mailweir/filter/iprev"
	"mailweir/filter/mime"
	"mailweir/filter/privacy"
	"mailweir/filter/rules"
	"mailweir/filter/spf"
	"mailweir/filter/urilist"
	"mailweir/filter/vip"
	"mailweir/internal/config"
	"mailweir/internal/dkimcore"
	"mailweir/internal/dns"
	"mailweir/internal/fsx"
	"mailweir/internal/password"
	"mailweir/mail"
	"mailweir/metrics"
	"mailweir/smtpd"
)

// judge is everything that a verdict depends on, built from one config. `run`
// and `check` build it the same way, which is why they agree. A reload builds
// another one.
type judge struct {
	settings *smtpd.Settings
	rules    *rules.Rules
	resolver *dns.Resolver
	lent     bool           // the resolver is not ours to close
	scanner  *clamav.Client // nil without [clamav]
	lists    []*dnsbl.Lists // of addresses, of domains: those that the config has
	models   *bayes.Models
	learned  *bayes.Check   // judges by them
	clients  *x509.CertPool // issuers of certificates that may send

	observers []filter.Observer // of verdicts
	engines   []*engine.Check

	stop context.CancelFunc // of the background loops
	wg   sync.WaitGroup
}

// judgeOptions are what `run` and `check` do differently.
type judgeOptions struct {
	noDNS   bool
	offline bool // no background loops
	log     *slog.Logger
	m       *instruments // nil: a registry of its own
	ready   *metrics.Readiness
	// resolver is used, and left open, when it is given: a reload keeps the
	// cache warm.
	resolver *dns.Resolver
	// explain has the look-ups of authentication noted for logQueries.
	explain bool
	// signer has the keys to sign with; nil signs nothing: `check` does not read
	// private keys.
	signer *dkimcore.Signer
	guard  *password.Guard // nil: a new one
	memory *remembered     // of senders; nil: nothing is remembered
	// access has the entries that commands made; nil: those in data_dir now.
	access *access.Store
	// verify makes the verifiers of recipients; nil accepts all: `check` asks
	// no next hop.
	verify func(*config.Domain) (smtpd.Verifier, error)
}

// instruments are the metrics of every part that judges. They are made once:
// a reload goes on counting.
type instruments struct {
	filter *filter.Metrics
	dns    *dns.Metrics
	dnsbl  *dnsbl.Metrics
	clamav *clamav.Metrics
	engine *engine.Metrics
	pool   *filter.Pool

	attachment *attachment.Metrics
}

// workers bounds the checks that run in the background, mostly waiting for DNS
// and the scanner. Each costs a few KiB while it waits.
const workers = 512

func newInstruments(reg prometheus.Registerer) *instruments {
	m := &instruments{
		filter: filter.NewMetrics(reg), dns: dns.NewMetrics(reg),
		dnsbl: dnsbl.NewMetrics(reg), clamav: clamav.NewMetrics(reg), engine: engine.NewMetrics(reg), attachment: attachment.NewMetrics(reg),
	}
	m.pool = filter.NewPool(workers, m.filter)
	return m
}

func newJudge(ctx context.Context, cfg *config.Config, o judgeOptions) (*judge, error) {
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	if o.m == nil {
		o.m = newInstruments(prometheus.NewRegistry())
	}
	j := &judge{}
	ctx, j.stop = context.WithCancel(ctx)
	if err := j.build(cfg, o); err != nil {
		j.close()
		return nil, err
	}
	j.background(ctx, o)
	return j, nil
}

func (j *judge) build(cfg *config.Config, o judgeOptions) error {
	r, err := loadRules(cfg)
	if err != nil {
		return err
	}
	j.rules = r
	lists, err := accessLists(cfg, o.access)
	if err != nil {
		return err
	}
	marks, err := loadMarks(cfg)
	if err != nil {
		return err
	}
	c, err := j.checks(cfg, r, lists, o)
	if err != nil {
		return err
	}
	limits := filter.DefaultLimits()
	limits.HeaderSection = int(cfg.Limits.HeaderSize)
	var scorer filter.Scorer = r
	off := switchedOff(cfg, o)
	if _, none := off["rules"]; none {
		scorer = unweighed{}
	}
	j.settings = &smtpd.Settings{
		Hostname:    string(cfg.Hostname),
		OwnNetworks: cfg.Privacy.OwnNetworks,
		MaxHops:     maxHops,
		Access:      lists,
		Marks:       marks,
		ReceivedSPF: cfg.SPF.ReceivedSPF,
		Signer:      o.signer,
		Sealer:      sealer(cfg, o.signer),
		Domains:     make(map[string]*smtpd.Domain, len(cfg.Domains)+1),
		Observers:   j.observers,
		Rates:       rates(cfg, o.memory),
	}
	pipeline := func(off map[string]string) *filter.Pipeline {
		return filter.New(filter.Options{
			Chain: chain(c), Scorer: func() filter.Scorer { return scorer }, Off: off,
			Limits: limits, Pool: o.m.pool, MaxListing: maxListing(cfg), Metrics: o.m.filter,
		})
	}
	j.settings.Pipeline = pipeline(off)
	if err := j.outbound(cfg, o, pipeline(outboundOff(off))); err != nil {
		return err
	}
	return j.domains(cfg, o)
}

// maxHops is from how many Received fields a message counts as looping (RFC
// 5321 section 6.3 wants at least 100).
const maxHops = 100

// unweighed is the scorer when the rules are disabled: only scores that come
// from the config itself count.
type unweighed struct{}

func (unweighed) Hash() string { return "disabled" }

// Class implements filter.Scorer.
func (unweighed) Class(f *filter.Facts, rcpt mail.Path) string {
	return filter.Class(rcpt, f.Scopes()...)
}

// Eval implements filter.Scorer.
func (unweighed) Eval(f *filter.Facts, class string) (list []filter.Symbol) {
	scoped := 0
	for _, s := range f.Symbols {
		if s.Scope != nil {
			if scoped++; !filter.InClass(class, scoped-1) {
				continue
			}
		}
		list = append(list, s)
	}
	return list
}

func loadRules(cfg *config.Config) (*rules.Rules, error) {
	if len(cfg.Rules.Files) == 0 {
		r, err := rules.Default()
		if err != nil {
			return nil, err
		}
		return r.For(ownDomains(cfg)), nil
	}
	var files []rules.File
	for _, path := range cfg.Rules.Files {
		data, err := os.ReadFile(string(path))
		if err != nil {
			return nil, err
		}
		files = append(files, rules.File{Name: string(path), Data: data})
	}
	r, err := rules.Load(files...)
	if err != nil {
		return nil, err
	}
	return r.For(ownDomains(cfg)), nil
}

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

// background starts the loops that watch lists and scanner.
func (j *judge) background(ctx context.Context, o judgeOptions) {
	if o.offline {
		return
	}
	for _, l := range j.lists {
		l.Await()
		j.wg.Go(func() { l.Run(ctx) })
	}
	j.wg.Go(func() { j.models.Watch(ctx) })
	for _, e := range j.engines {
		j.wg.Go(func() { e.Watch(ctx, o.ready) })
	}
	if j.scanner != nil {
		j.wg.Go(func() { j.scanner.Run(ctx, o.ready) })
	}
}

// quiet ends the loops that watch lists and scanner: another judge has its own.
func (j *judge) quiet() {
	j.stop()
	j.wg.Wait()
}

// close ends the loops and the resolver. Transactions that still use this
// judge get temporary DNS failures from here on.
func (j *judge) close() {
	j.quiet()
	if j.resolver != nil && !j.lent {
		j.resolver.Close()
	}
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

func ownDomains(cfg *config.Config) []string {
	out := make([]string, len(cfg.Domains))
	for k, d := range cfg.Domains {
		out[k] = mail.CanonicalDomain(string(d.Name))
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

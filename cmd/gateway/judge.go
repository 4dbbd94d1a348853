package main

import (
	"context"
	"crypto/x509"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/dnsbl"
	"mailweir/filter"
	"mailweir/filter/access"
	"mailweir/filter/attachment"
	"mailweir/filter/bayes"
	"mailweir/filter/clamav"
	"mailweir/filter/engine"
	"mailweir/filter/rules"
	"mailweir/internal/config"
	"mailweir/internal/dkimcore"
	"mailweir/internal/dns"
	"mailweir/internal/password"
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

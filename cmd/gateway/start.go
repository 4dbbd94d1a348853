package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/internal/config"
	"mailweir/internal/dns"
	"mailweir/internal/fsx"
	"mailweir/internal/history"
	"mailweir/mail"
	"mailweir/metrics"
	"mailweir/queue"
	"mailweir/relay"
	"mailweir/smtpd"
)

// gateway is the running program: every part, and the order in which they
// start and stop.
type gateway struct {
	cfg     *config.Config
	log     *slog.Logger
	m       *gatewayMetrics
	ready   *metrics.Readiness
	dns     *dns.Resolver
	judge   *judge
	verify  *verifiers
	history *history.Log
	queue   *queue.Queue
	relay   *relay.Relay
	certs   *smtpd.Certificates
	session *smtpd.Gateway
	server  *smtpd.Server
	own     atomic.Pointer[[]netip.Prefix] // own_networks, for the engine

	listeners []net.Listener
	failed    chan error // a part that must not end has ended
	stops     []stop     // in order of start
	wg        sync.WaitGroup
}

// stop is how one part is ended; stops run last in, first out.
type stop struct {
	name string
	fn   func(context.Context) error
}

func (g *gateway) onStop(name string, fn func(context.Context) error) {
	g.stops = append(g.stops, stop{name, fn})
}

// startOptions are what the config does not say.
type startOptions struct {
	inherited []net.Listener // sockets that systemd passed
	tee       smtpd.Recorder // sees every record too; nil: none
}

// start builds and starts all parts, from the disk up to the sockets: nothing
// is accepted before everything behind it is there.
func start(ctx context.Context, cfg *config.Config, log *slog.Logger, o startOptions) (*gateway, error) {
	ctx = context.WithoutCancel(ctx) // parts end by stop, in order, not all at once
	g := &gateway{cfg: cfg, log: log, ready: metrics.NewReadiness(), failed: make(chan error, 8)}
	g.setOwn(cfg)
	for _, notice := range cfg.Notices() {
		log.Warn(notice)
	}
	for _, step := range []func(context.Context) error{
		g.startState, g.startMetrics, g.startJudge, g.startQueue, g.startControl,
		func(context.Context) error { return g.startServer(o) },
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, g.stop(ctx))
		}
	}
	smtpd.Notify("READY=1")
	log.Info("ready", "version", version, "hostname", string(cfg.Hostname), "rules", g.judge.settings.Pipeline.RulesHash())
	return g, nil
}

// stop ends all parts, last started first, each within what is left of ctx.
func (g *gateway) stop(ctx context.Context) error {
	smtpd.Notify("STOPPING=1")
	var errs []error
	for k := len(g.stops) - 1; k >= 0; k-- {
		if err := g.stops[k].fn(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stopping %s: %w", g.stops[k].name, err))
		}
	}
	g.stops = nil
	g.wg.Wait()
	return errors.Join(errs...)
}

func (g *gateway) startState(context.Context) error {
	if err := os.MkdirAll(tlsDir(g.cfg), 0o700); err != nil { // and data_dir above it
		return err
	}
	var err error
	g.history, err = history.Open(historyDir(g.cfg), g.cfg.History.Keep, g.log)
	if err != nil {
		return err
	}
	g.onStop("history", func(context.Context) error { return g.history.Close() })
	return nil
}

func (g *gateway) startMetrics(context.Context) error {
	registry := metrics.NewRegistry(version)
	g.m = newGatewayMetrics(registry)
	registry.MustRegister(g.history)
	if g.cfg.Metrics.Address == "" {
		return nil
	}
	s := metrics.New(metrics.Options{
		Address: string(g.cfg.Metrics.Address), Registry: registry, Ready: g.problems, Logger: g.log,
	})
	if err := s.Listen(); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	g.background("metrics", s.Serve)
	g.onStop("metrics", s.Shutdown)
	return nil
}

// problems is what /readyz says: what the parts have reported, and the queue
// as it is this moment.
func (g *gateway) problems() []metrics.Problem {
	if g.queue != nil {
		if err := g.queue.Health(); err != nil {
			g.ready.Set("queue", metrics.Failed, err.Error())
		} else {
			g.ready.Set("queue", metrics.OK, "")
		}
	}
	return g.ready.Problems()
}

func (g *gateway) startJudge(ctx context.Context) error {
	g.verify = newVerifiers(g.log)
	var err error
	if g.dns, err = newResolver(g.cfg, g.log, g.m.judge); err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	g.onStop("dns", func(context.Context) error { g.dns.Close(); return nil })
	if g.judge, err = g.newJudge(ctx, g.cfg, g.dns); err != nil {
		return err
	}
	g.onStop("judge", func(context.Context) error { g.judge.close(); return nil })
	return nil
}

func (g *gateway) newJudge(ctx context.Context, cfg *config.Config, resolver *dns.Resolver) (*judge, error) {
	if cfg.ClamAV.Address == "" {
		g.ready.Set("clamav", metrics.Degraded, "not configured: mail is not scanned for viruses")
	}
	return newJudge(ctx, cfg, judgeOptions{
		log: g.log, m: g.m.judge, ready: g.ready, resolver: resolver,
		verify: func(d *config.Domain) (smtpd.Verifier, error) { return g.verify.make(cfg, d) },
	})
}

func (g *gateway) startQueue(ctx context.Context) error {
	var err error
	g.queue, err = queue.Open(fsx.OS{}, spoolDir(g.cfg), queue.Options{
		Hostname: string(g.cfg.Hostname),
		Retry:    queue.Schedule{First: g.cfg.Queue.RetryFirst, Max: g.cfg.Queue.RetryMax},
		Expire:   g.cfg.Queue.Expire, QuarantineKeep: g.cfg.Queue.Quarantine,
		Logger: g.log, Metrics: g.m.queue, Observe: g.observe,
	})
	if err != nil {
		return err
	}
	g.onStop("queue", func(context.Context) error { return g.queue.Close() })
	g.relay = relay.New(g.relayOptions(g.cfg))
	g.onStop("relay", func(context.Context) error { return g.relay.Close() })
	running, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	g.background("queue", func() error {
		defer close(done)
		return g.queue.Run(running, g.relay)
	})
	g.onStop("deliveries", func(ctx context.Context) error {
		cancel()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return nil
}

// relayOptions turns the config into routes.
func (g *gateway) relayOptions(cfg *config.Config) relay.Options {
	policy := relay.TLSOpportunistic
	if cfg.Relay.TLS == "required" {
		policy = relay.TLSRequired
	}
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
	if cfg.Relay.Outbound != "" {
		o.Outbound = &relay.Route{NextHops: []string{string(cfg.Relay.Outbound)}, TLS: policy}
	}
	return o
}

// attemptRecord is what is kept and logged of a delivery attempt.
type attemptRecord struct {
	Recipient   string     `json:"recipient"`
	Result      string     `json:"result"`
	State       string     `json:"state"`
	Hold        string     `json:"hold,omitempty"`
	Destination string     `json:"destination"`
	NextHop     string     `json:"next_hop"`
	Reply       string     `json:"reply"`
	Attempts    int        `json:"attempts"`
	Next        *time.Time `json:"next_attempt,omitempty"`
	DelayMS     int64      `json:"delay_ms"`    // since the message arrived
	DurationMS  int64      `json:"duration_ms"` // of this attempt
}

// observe logs and keeps the end of a delivery attempt.
func (g *gateway) observe(a queue.Attempt) {
	r := &attemptRecord{
		Recipient: string(a.Recipient), Result: a.Outcome.Result.String(), State: a.State, Hold: a.Hold,
		Destination: string(a.Destination), NextHop: a.Outcome.NextHop, Reply: a.Outcome.Reply.String(),
		Attempts: a.Attempts, DelayMS: a.Delay.Milliseconds(), DurationMS: a.Duration.Milliseconds(),
	}
	if !a.Next.IsZero() {
		r.Next = &a.Next
	}
	g.log.LogAttrs(context.Background(), slog.LevelInfo, "delivery",
		slog.String("id", a.ID.String()),
		slog.String("reverse_path", string(a.ReversePath)),
		slog.String("recipient", r.Recipient),
		slog.String("result", r.Result),
		slog.String("state", r.State),
		slog.String("hold", r.Hold),
		slog.String("next_hop", r.NextHop),
		slog.String("reply", r.Reply),
		slog.Int("attempts", r.Attempts),
		slog.Int64("delay_ms", r.DelayMS),
		slog.Int64("duration_ms", r.DurationMS),
	)
	g.history.Append(a.ID, "attempt", time.Now(), r)
}

func (g *gateway) startServer(o startOptions) error {
	var err error
	if g.certs, err = g.certificates(); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	g.m.certificate(g.certs)
	var recorder smtpd.Recorder = g.history
	if o.tee != nil {
		recorder = both{g.history, o.tee}
	}
	g.session = smtpd.NewGateway(g.judge.settings, acceptor{g.queue}, recorder, g.log, g.m.session)
	g.server = smtpd.NewServer(smtpd.Options{
		Hostname: string(g.cfg.Hostname), Limits: limits(g.cfg), TLS: g.certs.Config(),
		Exempt: g.isOwn, Logger: g.log, Metrics: g.m.smtpd,
	}, g.session)
	for k := range g.cfg.Listeners {
		l, err := listen(string(g.cfg.Listeners[k].Address), o.inherited)
		if err != nil {
			return fmt.Errorf("listener: %w", err)
		}
		g.listeners = append(g.listeners, l)
	}
	for k, l := range g.listeners {
		c := g.cfg.Listeners[k]
		g.log.Info("listening", "address", l.Addr().String())
		g.background("smtpd", func() error {
			err := g.server.Serve(l, smtpd.ListenerOptions{
				TrustedProxies: c.TrustedProxies, ProxyProtocol: c.ProxyProtocol, ImplicitTLS: c.ImplicitTLS,
			})
			if errors.Is(err, smtpd.ErrServerClosed) {
				return nil
			}
			return err
		})
	}
	g.onStop("smtpd", g.server.Shutdown)
	return nil
}

// both records twice.
type both struct{ a, b smtpd.Recorder }

func (r both) Append(id mail.ID, kind string, at time.Time, v any) {
	r.a.Append(id, kind, at, v)
	r.b.Append(id, kind, at, v)
}

// certificates are those of the config, or a self-signed one.
func (g *gateway) certificates() (c *smtpd.Certificates, err error) {
	if g.cfg.TLS.Certificate != "" {
		return smtpd.LoadCertificates(string(g.cfg.TLS.Certificate), string(g.cfg.TLS.Key), func(err error) {
			g.log.Error("the new certificate is wrong, the old one stays in use", "error", err)
		})
	}
	c, made, err := smtpd.SelfSigned(tlsDir(g.cfg), string(g.cfg.Hostname))
	if made {
		g.log.Warn("made a self-signed certificate", "dir", tlsDir(g.cfg))
	}
	return c, err
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

// background runs a part; an end that nobody asked for stops the program.
func (g *gateway) background(name string, fn func() error) {
	g.wg.Go(func() {
		if err := fn(); err != nil {
			select {
			case g.failed <- fmt.Errorf("%s: %w", name, err):
			default: // somebody else has failed before
			}
		}
	})
}

// apply puts a new config into force: all of it or, when a part of it is
// wrong, nothing.
func (g *gateway) apply(cfg *config.Config) error {
	if err := sameSockets(g.cfg, cfg); err != nil {
		return err
	}
	resolver, err := g.resolverFor(cfg)
	if err != nil {
		return err
	}
	next, err := g.newJudge(context.Background(), cfg, resolver)
	if err != nil {
		return err
	}
	if err := g.certs.Reload(); err != nil {
		next.close()
		return fmt.Errorf("tls: %w", err)
	}
	old := g.judge
	if resolver != g.dns {
		g.retire("old resolver", g.dns.Close)
	}
	g.cfg, g.judge, g.dns = cfg, next, resolver
	g.setOwn(cfg)
	g.session.Reload(next.settings)
	g.relay.Reload(g.relayOptions(cfg))
	g.server.SetLimits(limits(cfg))
	for k, l := range g.listeners {
		g.server.SetTrustedProxies(l, cfg.Listeners[k].TrustedProxies)
	}
	// Sessions under way keep the old parts until their next transaction.
	g.retire("old settings", old.close)
	return nil
}

// resolverFor keeps the resolver, and with it a warm cache, while [dns] stays
// the same.
func (g *gateway) resolverFor(cfg *config.Config) (*dns.Resolver, error) {
	if slices.Equal(cfg.DNS.Servers, g.cfg.DNS.Servers) && cfg.DNS.Timeout == g.cfg.DNS.Timeout {
		return g.dns, nil
	}
	return newResolver(cfg, g.log, g.m.judge)
}

// retireAfter is how long the parts of old settings live on: longer than any
// transaction that began with them may take.
const retireAfter = 30 * time.Minute

func (g *gateway) retire(name string, end func()) {
	t := time.AfterFunc(retireAfter, end)
	// Stops last: transactions under way may still use it.
	g.stops = slices.Insert(g.stops, 0, stop{name, func(context.Context) error {
		if t.Stop() {
			end()
		}
		return nil
	}})
}

// sameSockets refuses what cannot change while running.
func sameSockets(old, cfg *config.Config) error {
	fixed := func(key string, same bool) error {
		if same {
			return nil
		}
		return fmt.Errorf("%s has changed: that needs a restart", key)
	}
	listeners := len(old.Listeners) == len(cfg.Listeners)
	for k := 0; listeners && k < len(cfg.Listeners); k++ {
		a, b := old.Listeners[k], cfg.Listeners[k]
		listeners = a.Address == b.Address && a.ProxyProtocol == b.ProxyProtocol && a.ImplicitTLS == b.ImplicitTLS
	}
	return errors.Join(
		fixed("a listener", listeners),
		fixed("data_dir", old.DataDir == cfg.DataDir),
		fixed("hostname", old.Hostname == cfg.Hostname),
		fixed("[tls]", old.TLS == cfg.TLS),
		fixed("metrics.address", old.Metrics.Address == cfg.Metrics.Address),
		fixed("[queue]", old.Queue == cfg.Queue),
	)
}

// acceptor is the queue as smtpd sees it.
type acceptor struct{ q *queue.Queue }

func (a acceptor) Begin(ctx context.Context, size int64) (smtpd.Intake, error) {
	return a.q.Begin(ctx, size)
}
func (a acceptor) Room(size int64) error { return a.q.Room(size) }
func (a acceptor) Discarded(n int)       { a.q.Discard(n) }

// gatewayMetrics are the metrics of all parts, registered once.
type gatewayMetrics struct {
	judge   *instruments
	smtpd   *smtpd.Metrics
	session *smtpd.SessionMetrics
	queue   *queue.Metrics
	relay   *relay.Metrics
	reloads struct {
		done, failed prometheus.Counter
		ok, at       prometheus.Gauge
	}
	registry prometheus.Registerer
}

func newGatewayMetrics(reg prometheus.Registerer) *gatewayMetrics {
	m := &gatewayMetrics{
		judge: newInstruments(reg), smtpd: smtpd.NewMetrics(reg), session: smtpd.NewSessionMetrics(reg),
		queue: queue.NewMetrics(reg), relay: relay.NewMetrics(reg), registry: reg,
	}
	reloads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mailweir_config_reloads_total", Help: "Reloads of the config by result."}, []string{"result"})
	m.reloads.done, m.reloads.failed = reloads.WithLabelValues("ok"), reloads.WithLabelValues("failed")
	m.reloads.ok = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mailweir_config_last_reload_successful", Help: "1 unless the last reload failed and the old settings are in force."})
	m.reloads.at = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mailweir_config_last_reload_success_timestamp_seconds", Help: "When the settings in force were read."})
	m.reloads.ok.Set(1)
	m.reloads.at.SetToCurrentTime()
	reg.MustRegister(reloads, m.reloads.ok, m.reloads.at)
	return m
}

// certificate exports when the certificate in use ends.
func (m *gatewayMetrics) certificate(c *smtpd.Certificates) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mailweir_tls_certificate_expiry_timestamp_seconds",
		Help: "When the certificate that clients get ends to be valid.",
	}, func() float64 { return float64(c.NotAfter().Unix()) }))
}

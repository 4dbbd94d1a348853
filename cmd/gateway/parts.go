package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"mailweir/internal/config"
	"mailweir/internal/dns"
	"mailweir/internal/events"
	"mailweir/internal/fsx"
	"mailweir/internal/history"
	"mailweir/mail"
	"mailweir/metrics"
	"mailweir/queue"
	"mailweir/smtpd"
)

func (g *gateway) startState(context.Context) error {
	if err := os.MkdirAll(tlsDir(g.cfg), 0o700); err != nil { // and data_dir above it
		return err
	}
	var err error
	if g.sealing, err = openHistoryKeys(g.cfg); err != nil {
		return fmt.Errorf("keys of the history: %w", err)
	}
	if g.history, err = history.Open(historyDir(g.cfg), g.cfg.History.Keep, g.sealing, g.log); err != nil {
		return err
	}
	g.onStop("history", func(context.Context) error { return g.history.Close() })
	if g.events, err = events.Open(eventsDir(g.cfg), g.cfg.Events.Keep, g.log); err != nil {
		return err
	}
	g.onStop("events", func(context.Context) error { return g.events.Close() })
	return g.startCensus()
}

func (g *gateway) startMetrics(context.Context) error {
	registry := metrics.NewRegistry(version)
	g.m = newGatewayMetrics(registry)
	registry.MustRegister(g.history, g.events, g.census)
	if g.cfg.Metrics.Address == "" {
		return nil
	}
	s := metrics.New(metrics.Options{
		Address: string(g.cfg.Metrics.Address), Registry: registry, Ready: g.problems, Logger: g.log,
	})
	if err := s.Listen(); err != nil {
		return err
	}
	g.background("metrics", s.Serve)
	g.onStop("metrics", s.Shutdown)
	return nil
}

// problems is what /readyz says: what the parts have reported, and the queue
// as it is this moment.
func (g *gateway) problems() []metrics.Problem {
	if q := g.opened.Load(); q != nil {
		if err := q.Health(); err != nil {
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
	g.signer.Store(g.judge.settings.Signer)
	g.m.inForce(g.cfg, g.dns)
	g.onStop("judge", func(context.Context) error { g.judge.close(); return nil })
	return nil
}

func (g *gateway) newJudge(ctx context.Context, cfg *config.Config, resolver *dns.Resolver) (*judge, error) {
	if cfg.ClamAV.Address == "" {
		g.ready.Set("clamav", metrics.Degraded, "not configured: mail is not scanned for viruses")
	}
	signer, err := loadSigner(cfg)
	if err != nil {
		return nil, err
	}
	return newJudge(ctx, cfg, judgeOptions{
		log: g.log, m: g.m.judge, ready: g.ready, resolver: resolver, signer: signer, guard: g.guard, memory: &g.memory,
		access: g.access,
		verify: func(d *config.Domain) (smtpd.Verifier, error) { return g.verify.make(cfg, d) },
	})
}

func (g *gateway) startQueue(ctx context.Context) error {
	keys, err := spoolKeys(g.cfg)
	if err != nil {
		return err
	}
	g.queue, err = queue.Open(fsx.OS{}, spoolDir(g.cfg), queue.Options{
		Hostname: string(g.cfg.Hostname),
		Retry:    queue.Schedule{First: g.cfg.Queue.RetryFirst, Max: g.cfg.Queue.RetryMax, Jitter: g.cfg.Queue.RetryJitter},
		Expire:   g.cfg.Queue.Expire, QuarantineKeep: g.cfg.Queue.Quarantine, DelayWarning: g.cfg.Queue.DelayWarning,
		MinFreeBytes: int64(g.cfg.Queue.MinFree), MinFreeInodes: int64(g.cfg.Queue.MinFreeInodes), Keys: keys,
		Compress: g.cfg.Queue.Compression == "s2", LowRate: g.cfg.Queue.ReportsPerMinute,
		Logger: g.log, Metrics: g.m.queue, Observe: g.observe, Sign: g.signOwn,
	})
	if err != nil {
		return err
	}
	g.opened.Store(g.queue)
	g.onStop("queue", func(context.Context) error { return g.queue.Close() })
	g.relay = newRouter(g.relayOptions(g.cfg), tlsPolicy(g.cfg), g.queue.Reroutes())
	g.relay.know(g.judge.rules)
	g.onStop("relay", func(context.Context) error { return g.relay.Close() })
	running, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	g.background("queue", func() error {
		defer close(done)
		// A disk that failed for good ends deliveries, not the gateway: it
		// answers 451, and /readyz says why.
		if err := g.queue.Run(running, g.relay); err != nil {
			g.log.Error("deliveries have stopped", "error", err)
		}
		return nil
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

func (g *gateway) startServer(o startOptions) error {
	var err error
	if g.certs, err = g.certificates(g.cfg); err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	g.m.certificate(g.certs)
	var recorder smtpd.Recorder = both{both{g.history, eventRecorder{g.events, g.names}}, censusRecorder{g.census}}
	if o.tee != nil {
		recorder = both{recorder, o.tee}
	}
	g.session = smtpd.NewGateway(g.judge.settings, acceptor{g.queue}, recorder, g.log, g.m.session)
	g.session.NameLogs(g.names)
	g.session.Answer(g.responder)
	g.server = smtpd.NewServer(smtpd.Options{
		Hostname: string(g.cfg.Hostname), Limits: limits(g.cfg), TLS: g.certs.Config(),
		Exempt: g.isOwn, Logger: g.log, Names: g.names, Metrics: g.m.smtpd,
	}, g.session)
	for k := range g.cfg.Listeners {
		l, err := listen(string(g.cfg.Listeners[k].Address), o.inherited)
		if err != nil {
			return fmt.Errorf("listener: %w", err)
		}
		g.listeners = append(g.listeners, l)
	}
	for _, address := range unused(o.inherited, g.listeners) {
		g.log.Error("a socket from systemd is not served: no listener has its address", "address", address)
	}
	for k, l := range g.listeners {
		c := g.cfg.Listeners[k]
		clientCAs := g.judge.clientCAs(c.Role)
		g.log.Info("listening", "address", l.Addr().String())
		g.background("smtpd", func() error {
			err := g.server.Serve(l, smtpd.ListenerOptions{
				TrustedProxies: c.TrustedProxies, ProxyProtocol: c.ProxyProtocol, ImplicitTLS: c.ImplicitTLS,
				Outbound: c.Role == config.RoleOutbound, ClientCAs: clientCAs,
			})
			if errors.Is(err, smtpd.ErrServerClosed) {
				return nil
			}
			return err
		})
	}
	g.onStop("smtpd", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
		defer cancel()
		return g.server.Shutdown(ctx)
	})
	return nil
}

// both records twice.
type both struct{ a, b smtpd.Recorder }

func (r both) Append(id mail.ID, kind string, at time.Time, v any) {
	r.a.Append(id, kind, at, v)
	r.b.Append(id, kind, at, v)
}

// certificates are those of the config, or a self-signed one.
func (g *gateway) certificates(cfg *config.Config) (c *smtpd.Certificates, err error) {
	if cfg.TLS.Certificate != "" {
		return smtpd.LoadCertificates(string(cfg.TLS.Certificate), string(cfg.TLS.Key), func(err error) {
			g.log.Error("the new certificate is wrong, the old one stays in use", "error", err)
		})
	}
	c, made, err := smtpd.SelfSigned(tlsDir(cfg), string(cfg.Hostname))
	if made {
		g.log.Warn("made a self-signed certificate", "dir", tlsDir(cfg))
	}
	return c, err
}

// acceptor is the queue as smtpd sees it.
type acceptor struct{ q *queue.Queue }

func (a acceptor) Begin(ctx context.Context, size int64) (smtpd.Intake, error) {
	return a.q.Begin(ctx, size)
}

func (a acceptor) Room(size int64) error { return a.q.Room(size) }

func (a acceptor) Discarded(n int) { a.q.Discard(n) }

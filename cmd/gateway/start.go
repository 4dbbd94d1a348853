package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"mailweir/filter/access"
	"mailweir/internal/census"
	"mailweir/internal/config"
	"mailweir/internal/daykey"
	"mailweir/internal/dkimcore"
	"mailweir/internal/dns"
	"mailweir/internal/events"
	"mailweir/internal/history"
	"mailweir/internal/password"
	"mailweir/metrics"
	"mailweir/queue"
	"mailweir/report"
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
	sealing *daykey.Keys // of the history
	events  *events.Store
	census  *census.Store
	queue   *queue.Queue
	opened  atomic.Pointer[queue.Queue] // for /readyz, which answers during the start
	relay   *router
	teacher *teacher
	access  *access.Store // [[allow]] and [[block]] entries of commands
	// accessChanged wakes whoever drops what expires.
	accessChanged chan struct{}
	responder     *responder
	reports       *report.Reporter
	certs         *smtpd.Certificates
	session       *smtpd.Gateway
	server        *smtpd.Server
	guard         *password.Guard
	memory        remembered
	names         smtpd.Names
	own           atomic.Pointer[[]netip.Prefix]  // own_networks, for the engine
	signer        atomic.Pointer[dkimcore.Signer] // for the queue
	mxPort        uint16                          // startOptions.mxPort

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
	names     smtpd.Names    // in the log; nil: everything as it is
	mxPort    uint16         // of mail exchangers; 0: 25, which a test cannot listen on
}

// start builds and starts all parts, from the disk up to the sockets: nothing
// is accepted before everything behind it is there.
func start(ctx context.Context, cfg *config.Config, log *slog.Logger, o startOptions) (*gateway, error) {
	ctx = context.WithoutCancel(ctx) // parts end by stop, in order, not all at once
	g := &gateway{cfg: cfg, log: log, ready: metrics.NewReadiness(), failed: make(chan error, 8), mxPort: o.mxPort, guard: password.NewGuard(), names: o.names}
	if g.names == nil {
		g.names = smtpd.PlainNames{}
	}
	g.setOwn(cfg)
	g.ready.Set("start", metrics.Failed, "starting: what is in the spool is being read")
	for _, notice := range cfg.Notices() {
		log.Warn(notice)
	}
	for _, step := range []func(context.Context) error{
		g.startState, g.startMetrics, g.startMemory, g.startAccess, g.startJudge, g.startQueue, g.startTeacher, g.startResponder,
		g.startReports, g.startControl,
		func(context.Context) error { return g.startServer(o) },
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, g.stop(ctx))
		}
	}
	g.ready.Set("start", metrics.OK, "")
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

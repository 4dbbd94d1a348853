package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"mailweir/internal/config"
	"mailweir/smtpd"
)

const runHelp = `
gateway run --config FILE

Runs the gateway in the foreground. SIGTERM and SIGINT stop it in order: no new
connections, 421 to clients that send no data, messages under way are finished
(40 s at most, then 421 to these as well), then the deliveries (15 s). SIGHUP
reads config, rules, certificates and recipient files again; when one of them
is wrong the old ones stay in force and the log says why. Listener addresses,
data_dir and the metrics address need a restart.

Sockets passed by systemd (LISTEN_FDS) are used for the listeners of the same
address; one that no listener has is not served, and the log says so.

exit status: 0 after an orderly stop, 1 when it could not start or run, 2 for
wrong arguments.
`

// stopTimeout bounds an orderly stop: systemd kills after 90 s by default. The
// sessions must end before that, since deliveries end behind them: those that
// get the last messages need time, too.
const (
	stopTimeout    = 60 * time.Second
	sessionTimeout = 40 * time.Second
)

func runCommand(ctx context.Context, std stdio, args []string) (int, error) {
	fs := flags(std, "run", runHelp)
	path := fs.String("config", "", "config `FILE`")
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if *path == "" || len(rest) > 0 {
		return 0, errUsage
	}
	cfg, err := loadConfig(*path)
	if err != nil {
		return exitError, err
	}
	logs, err := newLogs(std, cfg)
	if err != nil {
		return exitError, err
	}
	defer logs.end()
	defer logs.expireHourly()()
	log := logs.logger
	defer tuneMemory()()
	if err := slackenTimers(); err != nil {
		log.Debug("timers stay exact, which costs CPU under load", "reason", err)
	}
	inherited, err := smtpd.ListenFDs()
	if err != nil {
		return exitError, err
	}
	g, err := start(ctx, cfg, log, startOptions{inherited: inherited, names: logs.names})
	if err != nil {
		return exitError, err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	err = g.serve(ctx, hup, func() (*config.Config, error) { return loadConfig(*path) })
	return exitOK, err
}

func loadConfig(path string) (*config.Config, error) {
	return config.Load(path, config.Known{Checks: checkNames})
}

// serve runs until ctx ends or a part fails, and then stops in order.
func (g *gateway) serve(ctx context.Context, hup <-chan os.Signal, load func() (*config.Config, error)) error {
	var failed error
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
		case failed = <-g.failed:
			g.log.Error("a part failed, stopping", "error", failed)
			running = false
		case <-hup:
			g.reload(load)
		}
	}
	g.log.Info("stopping")
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return errors.Join(failed, g.stop(stopping))
}

// reload reads everything again; the old settings stay when the new are wrong.
func (g *gateway) reload(load func() (*config.Config, error)) {
	cfg, err := load()
	if err == nil {
		err = g.apply(cfg)
	}
	if err != nil {
		g.m.reloads.ok.Set(0)
		g.m.reloads.failed.Inc()
		g.log.Error("reload failed, the old settings stay in force", "error", err)
		return
	}
	g.m.reloads.ok.Set(1)
	g.m.reloads.at.SetToCurrentTime()
	g.m.reloads.done.Inc()
	g.log.Info("reloaded", "rules", g.judge.settings.Pipeline.RulesHash())
}

// listen opens a listener's socket, or takes the one that systemd passed for
// the same address.
func listen(address string, inherited []net.Listener) (net.Listener, error) {
	for _, l := range inherited {
		if sameAddress(l.Addr().String(), address) {
			return l, nil
		}
	}
	l, err := net.Listen("tcp", address)
	return l, explainBind(err)
}

// explainBind says what to do about a port that is not for everybody.
func explainBind(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: a port below 1024 needs root, CAP_NET_BIND_SERVICE, or a socket from systemd for this very address", err)
	}
	return err
}

// unused are the sockets that systemd passed for no listener of the config.
func unused(inherited, listeners []net.Listener) (addresses []string) {
	for _, l := range inherited {
		if !slices.Contains(listeners, l) {
			addresses = append(addresses, l.Addr().String())
		}
	}
	return addresses
}

// sameAddress compares addresses as they are bound: ":25" and "[::]:25" are
// the same socket.
func sameAddress(bound, configured string) bool {
	bh, bp, err1 := net.SplitHostPort(bound)
	ch, cp, err2 := net.SplitHostPort(configured)
	if err1 != nil || err2 != nil || bp != cp {
		return false
	}
	any := func(h string) bool { return h == "" || h == "::" || h == "0.0.0.0" }
	return bh == ch || any(bh) && any(ch)
}

// spool and the other places below data_dir.
func spoolDir(cfg *config.Config) string   { return filepath.Join(string(cfg.DataDir), "spool") }
func historyDir(cfg *config.Config) string { return filepath.Join(string(cfg.DataDir), "history") }
func learnedDir(cfg *config.Config) string { return filepath.Join(string(cfg.DataDir), "learned") }
func eventsDir(cfg *config.Config) string  { return filepath.Join(string(cfg.DataDir), "events") }
func tlsDir(cfg *config.Config) string     { return filepath.Join(string(cfg.DataDir), "tls") }
func controlPath(cfg *config.Config) string {
	return filepath.Join(string(cfg.DataDir), "control.sock")
}

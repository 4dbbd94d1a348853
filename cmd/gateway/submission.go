package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"

	"mailweir/filter"
	"mailweir/filter/privacy"
	"mailweir/internal/config"
	"mailweir/internal/password"
	"mailweir/smtpd"
)

// outbound makes what holds for listeners with that role.
func (j *judge) outbound(cfg *config.Config, o judgeOptions, p *filter.Pipeline) error {
	if !cfg.HasOutbound() {
		return nil
	}
	class, err := privacy.ParseClass(cfg.Outbound.Redact)
	if err != nil {
		return fmt.Errorf("outbound: %w", err)
	}
	policy := &filter.DomainPolicy{
		TagMode: cfg.Mode == "tag", Tag: cfg.Score.Tag, Quarantine: cfg.Score.Quarantine, Reject: cfg.Score.Reject,
		DMARCReject: "never", DNSOnError: filter.Accept,
		OnState: enginePolicy(cfg.Engines), ScannerOnError: filter.Action(cfg.ClamAV.OnError), OnOversize: filter.Action(cfg.ClamAV.OnOversize),
	}
	out := &smtpd.Outbound{
		Pipeline: p, Senders: cfg.Outbound.Senders,
		Domain: &smtpd.Domain{Policy: policy, Postmaster: policy, Redact: class, SignedFields: cfg.Privacy.SignedFields},
	}
	if out.Login, err = login(cfg, o.guard, o.log); err != nil {
		return err
	}
	if j.clients, err = certPool(string(cfg.Outbound.ClientCA)); err != nil {
		return err
	}
	j.settings.Outbound = out
	return nil
}

// outboundOff switches off what is asked about strangers alone.
func outboundOff(off map[string]string) map[string]string {
	all := maps.Clone(off)
	for _, name := range needDNS {
		all[name] = "the mail goes out"
	}
	return all
}

// login checks passwords of the file; nil where there is none.
func login(cfg *config.Config, guard *password.Guard, log *slog.Logger) (smtpd.Login, error) {
	if cfg.Outbound.Passwords == "" {
		return nil, nil
	}
	file, err := password.Open(string(cfg.Outbound.Passwords), func(err error) {
		log.Error("the new passwords are wrong, the old ones stay in use", "error", err)
	})
	if err != nil {
		return nil, fmt.Errorf("outbound.passwords: %w", err)
	}
	if guard == nil {
		guard = password.NewGuard()
	}
	return func(ctx context.Context, client netip.Addr, user, secret string) password.Result {
		return guard.Check(ctx, file, client, user, secret)
	}, nil
}

func certPool(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("outbound.client_ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("outbound.client_ca: %s has no certificate in PEM form", file)
	}
	return pool, nil
}

// clientCAs are the issuers for a listener of that role.
func (j *judge) clientCAs(role string) *x509.CertPool {
	if role == config.RoleOutbound {
		return j.clients
	}
	return nil
}

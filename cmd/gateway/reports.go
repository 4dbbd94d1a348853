package main

import (
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"

	"mailweir/internal/config"
	"mailweir/internal/dns"
	"mailweir/mail"
	"mailweir/report"
)

func reportsDir(cfg *config.Config) string { return filepath.Join(string(cfg.DataDir), "reports") }

func (g *gateway) startReports(ctx context.Context) error {
	g.reports = report.New(report.Options{
		History: historyDir(g.cfg), Keys: g.sealing, Dir: reportsDir(g.cfg), Queue: g.queue,
		Sign: g.signOwn, Logger: g.log, Metrics: g.m.report,
	})
	g.reports.Configure(reportSettings(g.cfg, g.dns))
	running, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	g.background("reports", func() error {
		defer close(done)
		return g.reports.Run(running)
	})
	g.onStop("reports", func(ctx context.Context) error {
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

// reportSettings is nil when no reports are to be sent.
func reportSettings(cfg *config.Config, resolver *dns.Resolver) *report.Settings {
	if cfg.DMARC.Reports.Email == "" {
		return nil
	}
	return &report.Settings{Submitter: submitter(cfg), Hidden: hiddenClients(cfg), Resolver: resolver}
}

func submitter(cfg *config.Config) report.Submitter {
	r := &cfg.DMARC.Reports
	return report.Submitter{
		Host: string(cfg.Hostname), Organization: r.Organization, Email: string(r.Email),
		Contact: r.Contact, Version: version,
	}
}

// hiddenClients tells whose address privacy.redact hides: what the next hop may
// not know is not for strangers either. A message that went to several domains
// is as private as the strictest wants it.
func hiddenClients(cfg *config.Config) report.Hidden {
	classes := map[string]string{"": cfg.Domains[0].Redact} // <postmaster> is the first domain's
	for _, d := range cfg.Domains {
		classes[mail.CanonicalDomain(string(d.Name))] = d.Redact
	}
	return func(domain string, own bool) bool {
		class := classes[domain]
		return class == "all" || class == "own" && own
	}
}

// reportsRequest is the body of POST /reports/send.
type reportsRequest struct {
	Day     string   `json:"day"`
	Domains []string `json:"domains"`
}

// reportsResult is one line of the answer: an entry, or the last one.
type reportsResult struct {
	*report.Entry
	Left  *int   `json:"left,omitempty"` // reports that wait for DNS or the queue
	Error string `json:"error,omitempty"`
}

func (g *gateway) serveReports(w http.ResponseWriter, r *http.Request) {
	var body reportsRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	day, err := report.ParseDay(body.Day)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	by := peerOf(r)
	g.log.Info("DMARC reports are sent", "day", day, "domains", body.Domains, "uid", by.UID, "pid", by.PID)
	out := newStream(w)
	left, err := g.reports.Send(r.Context(), day, body.Domains, func(e report.Entry) { _ = out.write(reportsResult{Entry: &e}) })
	last := reportsResult{Left: &left}
	if err != nil {
		last.Error = err.Error()
	}
	_ = out.write(last) // the client may have gone: then r.Context() has ended, too
}

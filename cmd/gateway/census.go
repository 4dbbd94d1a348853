package main

import (
	"context"
	"net/netip"
	"path/filepath"
	"time"

	"mailweir/internal/census"
	"mailweir/internal/config"
	"mailweir/mail"
	"mailweir/smtpd"
)

func censusDir(cfg *config.Config) string { return filepath.Join(string(cfg.DataDir), "stats") }

func (g *gateway) startCensus() (err error) {
	files := make([]string, len(g.cfg.Stats.MMDB))
	for i, name := range g.cfg.Stats.MMDB {
		files[i] = string(name)
	}
	if g.census, err = census.Open(censusDir(g.cfg), g.cfg.Stats.Keep, files, g.log); err != nil {
		return err
	}
	g.onStop("statistics", func(context.Context) error { return g.census.Close() })
	return nil
}

// censusRecorder counts where judged messages come from.
type censusRecorder struct{ store *census.Store }

// Append implements smtpd.Recorder.
func (r censusRecorder) Append(_ mail.ID, kind string, at time.Time, v any) {
	record, ok := v.(*smtpd.Record)
	if !ok || kind != "verdict" || record.Facts == nil {
		return
	}
	client, _ := netip.ParseAddr(record.Client) // else unknown
	r.store.Add(at, client, record.Facts.Header.Mailer)
}

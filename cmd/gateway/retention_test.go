package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/internal/census"
	"mailweir/internal/config"
	"mailweir/internal/events"
	"mailweir/internal/history"
	"mailweir/internal/jsonx"
	"mailweir/internal/logline"
	"mailweir/mail"
	"mailweir/report"
	"mailweir/smtpd"
)

// classLine is a line of a class that tells of a client.
type classLine string

func (c classLine) Class() string                { return string(c) }
func (c classLine) LogValue() slog.Value         { return slog.StringValue(string(c)) }
func (c classLine) AppendFields(o *jsonx.Object) { o.String("class", string(c)) }

// TestRetention is a hundred days of all that is kept, in virtual time: each
// hour what there is is no older than promised, and so says verify-retention;
// and when the gateway stops dropping things, it says that, too.
func TestRetention(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := &config.Config{DataDir: config.Path(filepath.Join(dir, "data"))}
		cfg.Privacy.Logs, cfg.Privacy.LogAddresses = "pseudonymous", "pseudonymous"
		const day = 24 * time.Hour
		cfg.Log = config.Log{Dir: config.Path(filepath.Join(dir, "log")), Level: "info", Format: "json", Keep: 30 * day, KeepConnections: 20 * day, KeepAbuse: 90 * day}
		cfg.History.Keep, cfg.Events.Keep, cfg.Stats.Keep = 7*day, 30*day, 60*day
		begin := time.Now()
		l, err := newLogs(stdio{err: io.Discard}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		stop := l.expireHourly()
		keys, err := openHistoryKeys(cfg)
		if err != nil {
			t.Fatal(err)
		}
		h, err := history.Open(historyDir(cfg), cfg.History.Keep, keys, l.logger)
		if err != nil {
			t.Fatal(err)
		}
		e, err := events.Open(eventsDir(cfg), cfg.Events.Keep, l.logger)
		if err != nil {
			t.Fatal(err)
		}
		o, err := census.Open(censusDir(cfg), cfg.Stats.Keep, nil, l.logger)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stopReports := context.WithCancel(t.Context())
		go report.New(report.Options{Dir: reportsDir(cfg)}).Run(ctx) // switched off: what was made once goes, too
		if err := os.MkdirAll(reportsDir(cfg), 0o700); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			now := time.Now()
			journal := filepath.Join(reportsDir(cfg), string(report.DayOf(now))+".jsonl")
			if err := os.WriteFile(journal, []byte("{}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			id := mail.NewID(now)
			for _, class := range []string{smtpd.ClassMail, smtpd.ClassConnection, smtpd.ClassAbuse} {
				logline.Log(l.logger, now, slog.LevelInfo, "transaction", classLine(class))
			}
			l.names.Client(now, "192.0.2.1")
			h.Append(id, "verdict", now, "x")
			o.Add(now, netip.MustParseAddr("192.0.2.1"), "Outlook")
			e.Received(&events.Event{ID: id, At: now, Recipient: "bob@example.org"})
			time.Sleep(day)
			if code, out := verifyNow(t, cfg); code != exitOK {
				t.Fatalf("after %s:\n%s", time.Since(begin), out)
			}
		}
		_, out := verifyNow(t, cfg)
		for _, what := range []string{"mail log", "connection log", "abuse log", "pseudonym keys", "history keys", "history ", "events", "statistics", "report journals"} {
			if !bytes.Contains(out, []byte(what)) {
				t.Errorf("no %s in\n%s", what, out)
			}
		}
		for pattern, most := range map[string]int{"log/mail-*": 31, "log/connection-*": 21, "log/abuse-*": 91, "data/history/*": 8, "data/events/*.db": 31, "data/stats/*": 61, "data/reports/*": 31, "data/keys/log/*": 31, "data/keys/history/*": 8} {
			if files, _ := filepath.Glob(filepath.Join(dir, pattern)); len(files) < most-2 || len(files) > most+1 {
				t.Errorf("%d files %s, want about %d", len(files), pattern, most)
			}
		}
		stop()
		stopReports()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := l.end(); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * day)
		if code, out := verifyNow(t, cfg); code == exitOK || bytes.Count(out, []byte("TOO OLD")) < 7*9 {
			t.Errorf("ten days after the end: exit %d\n%s", code, out)
		}
	})
}

func verifyNow(t *testing.T, cfg *config.Config) (int, []byte) {
	t.Helper()
	var out bytes.Buffer
	code, err := verifyRetention(&out, cfg, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return code, out.Bytes()
}

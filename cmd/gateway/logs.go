package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"mailweir/internal/config"
	"mailweir/internal/logfile"
	"mailweir/internal/logline"
	"mailweir/internal/pseudonym"
	"mailweir/smtpd"
)

// logs are the program's log, and what in it tells of people.
type logs struct {
	logger *slog.Logger
	names  smtpd.Names
	end    func() error // writes what still waits

	keys  *pseudonym.Keys // nil: everything appears as it is
	files []*logfile.Writer
}

func logKeys(cfg *config.Config) string {
	return filepath.Join(string(cfg.DataDir), "keys", "log")
}

// logClasses are the files in log.dir.
func logClasses(cfg *config.Config) []logfile.Class {
	return []logfile.Class{
		{Name: smtpd.ClassMail, Keep: cfg.Log.Keep},
		{Name: smtpd.ClassConnection, Keep: cfg.Log.KeepConnections},
		{Name: smtpd.ClassAbuse, Keep: cfg.Log.KeepAbuse},
	}
}

// newLogs makes the log: on standard error, but for lines of a class where
// there is a log.dir.
func newLogs(std stdio, cfg *config.Config) (*logs, error) {
	l := &logs{names: smtpd.PlainNames{}, end: func() error { return nil }}
	if cfg.Privacy.Logs == "pseudonymous" || cfg.Privacy.LogAddresses == "pseudonymous" {
		var err error
		if l.keys, err = pseudonym.Open(logKeys(cfg), cfg.Log.Keep); err != nil {
			return nil, fmt.Errorf("keys of the log: %w", err)
		}
		l.names = pseudonyms{l.keys, cfg.Privacy.Logs != "plain", cfg.Privacy.LogAddresses != "plain"}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	switch {
	case cfg.Log.Format == "text":
		l.logger = slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: level}))
	case cfg.Log.Dir == "":
		w := logline.NewWriter(std.err)
		l.logger, l.end = slog.New(logline.NewHandler(w, level)), w.Close
	default:
		w, err := l.open(std, cfg)
		if err != nil {
			return nil, fmt.Errorf("log.dir: %w", err)
		}
		l.logger, l.end = slog.New(logline.NewHandler(w, level)), w.close
	}
	return l, nil
}

// classWriters are the outputs of log.dir.
type classWriters struct {
	*logline.Writer // standard error
	classes         map[string]*logline.Writer
	files           []*logfile.Writer
}

func (l *logs) open(std stdio, cfg *config.Config) (*classWriters, error) {
	w := &classWriters{Writer: logline.NewWriter(std.err), classes: map[string]*logline.Writer{}}
	for _, class := range logClasses(cfg) {
		f, err := logfile.Open(string(cfg.Log.Dir), class)
		if err != nil {
			return nil, errors.Join(err, w.close())
		}
		w.files = append(w.files, f)
		w.classes[class.Name] = logline.NewWriter(orElse{f, std.err})
	}
	l.files = w.files
	return w, nil
}

// For implements logline.Router.
func (w *classWriters) For(class string) io.Writer {
	if c := w.classes[class]; c != nil {
		return c
	}
	return w.Writer
}

func (w *classWriters) close() error {
	errs := []error{w.Writer.Close()}
	for _, c := range w.classes {
		errs = append(errs, c.Close())
	}
	for _, f := range w.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// orElse writes to another output what the first does not take: a full disk
// must not silence the log.
type orElse struct{ first, other io.Writer }

func (w orElse) Write(p []byte) (int, error) {
	if n, err := w.first.Write(p); err != nil {
		return w.other.Write(p[n:])
	}
	return len(p), nil
}

// expireHourly drops what is too old, also on a gateway that logs nothing. The
// result ends it.
func (l *logs) expireHourly() (stop func()) {
	ticker, done, ended := time.NewTicker(time.Hour), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case now := <-ticker.C:
				if err := l.expire(now); err != nil {
					l.logger.Error("old logs cannot be dropped", "error", err)
				}
			case <-done:
				return
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(done)
		<-ended
	}
}

func (l *logs) expire(now time.Time) error {
	var errs []error
	if l.keys != nil {
		errs = append(errs, l.keys.Expire(now))
	}
	for _, f := range l.files {
		errs = append(errs, f.Expire(now))
	}
	return errors.Join(errs...)
}

// pseudonyms implements smtpd.Names.
type pseudonyms struct {
	keys             *pseudonym.Keys
	clients, mailbox bool
}

func (p pseudonyms) Client(at time.Time, addr string) string {
	if !p.clients {
		return addr
	}
	return p.keys.Of(at, pseudonym.IP, addr)
}

func (p pseudonyms) Host(at time.Time, name string) string {
	if !p.clients {
		return name
	}
	return p.keys.Of(at, pseudonym.Name, name)
}

func (p pseudonyms) Mail(at time.Time, address string) string {
	if !p.mailbox {
		return address
	}
	return p.keys.Of(at, pseudonym.Mail, address)
}

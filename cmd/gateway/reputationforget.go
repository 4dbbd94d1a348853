package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"

	"mailweir/filter"
	"mailweir/filter/greylist"
	"mailweir/filter/reputation"
	"mailweir/internal/config"
	"mailweir/internal/fsx"
	"mailweir/internal/memo"
	"mailweir/mail"
)

// sender is a registered domain, or the network of an address.
type sender struct {
	domain string
	addr   netip.Addr // valid: it is a network
}

func parseSender(s string) (sender, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return sender{addr: addr}, nil
	}
	if mail.ValidDomain(s, false) {
		return sender{domain: filter.Organization(mail.CanonicalDomain(s))}, nil
	}
	return sender{}, fmt.Errorf("%q is neither a domain nor an IP address", s)
}

func (s sender) String() string {
	if s.addr.IsValid() {
		return filter.ClientNetwork(s.addr).String()
	}
	return s.domain
}

// forget drops what is remembered of a sender, and reports whether that was
// anything. What the greylist knows of a domain at single networks ages by itself.
func (m *remembered) forget(s sender) bool {
	if s.addr.IsValid() {
		return reputation.ForgetNetwork(m.reputation, s.addr)
	}
	counts, known := reputation.ForgetDomain(m.reputation, s.domain), greylist.ForgetDomain(m.greylist, s.domain)
	return counts || known
}

// forgetRequest is the body of POST /reputation/forget.
type forgetRequest struct {
	Sender string `json:"sender"`
}

func (g *gateway) serveForget(w http.ResponseWriter, r *http.Request) {
	var body forgetRequest
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body)
	s, perr := parseSender(body.Sender)
	if err = errors.Join(err, perr); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	known, by := g.memory.forget(s), peerOf(r)
	g.log.Info("what is remembered of a sender is forgotten", "known", known, "uid", by.UID, "pid", by.PID)
	_ = json.NewEncoder(w).Encode(known) // the client may have gone
}

// forgetSender asks the running gateway, or changes the files of one that is not.
func forgetSender(ctx context.Context, cfg *config.Config, name string) (s sender, known bool, err error) {
	if s, err = parseSender(name); err != nil {
		return s, false, err
	}
	b, err := json.Marshal(forgetRequest{name})
	if err != nil {
		return s, false, err
	}
	body, err := newControl(ctx, cfg).do(http.MethodPost, "/reputation/forget", bytes.NewReader(b))
	if errors.Is(err, errNotRunning) {
		known, err = forgetOnDisk(cfg, s)
		return s, known, err
	}
	if err != nil {
		return s, false, err
	}
	err = json.NewDecoder(body).Decode(&known)
	return s, known, errors.Join(err, body.Close())
}

func forgetOnDisk(cfg *config.Config, s sender) (known bool, err error) {
	m := &remembered{}
	for _, t := range m.tables(cfg) {
		if *t.table, err = memo.Open(fsx.OS{}, filepath.Join(memoDir(cfg), t.name), memo.Options{Most: t.most, Keep: t.keep}); err != nil {
			return false, err
		}
	}
	if known = m.forget(s); !known {
		return false, nil
	}
	for _, t := range m.tables(cfg) {
		if err := (*t.table).Write(); err != nil {
			return true, err
		}
	}
	return true, sameOwner(string(cfg.DataDir), memoDir(cfg))
}

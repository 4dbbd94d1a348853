package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"mailweir/filter/access"
	"mailweir/internal/config"
	"mailweir/internal/fsx"
)

func accessFile(cfg *config.Config) string { return filepath.Join(string(cfg.DataDir), "access.json") }

// accessLists are those of a config and of a store; nil: what the store in
// data_dir has now.
func accessLists(cfg *config.Config, store *access.Store) (*access.Lists, error) {
	if store == nil {
		var err error
		if store, err = access.OpenStore(fsx.OS{}, accessFile(cfg)); err != nil {
			return nil, err
		}
	}
	return access.New(accessEntries(cfg.Allow), accessEntries(cfg.Block), store), nil
}

func accessEntries(list []config.Access) []access.Entry {
	out := make([]access.Entry, len(list))
	for k, a := range list {
		// What config took, ParseScope takes.
		scope, _ := access.ParseScope(texts(a.For))
		out[k] = access.Entry{
			Network: a.Network, Domain: string(a.Domain), Scope: scope, Reason: a.Reason, Expires: a.Expires.Time(),
		}
		if a.Address != "" {
			e, _ := access.Parse(string(a.Address))
			out[k].Address = e.Address
		}
	}
	return out
}

// startAccess opens the store and drops what expires in it; what marks messages
// that rules send on is made beside it.
func (g *gateway) startAccess(ctx context.Context) error {
	if err := makeMarks(g.cfg); err != nil {
		return err
	}
	var err error
	if g.access, err = access.OpenStore(fsx.OS{}, accessFile(g.cfg)); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	g.accessChanged = make(chan struct{}, 1)
	done := make(chan struct{})
	g.background("access", func() error {
		defer close(done)
		g.expireAccess(ctx)
		return nil
	})
	g.onStop("access", func(context.Context) error {
		cancel()
		<-done
		return nil
	})
	return nil
}

// expireEvery bounds the sleep, so that a clock that is set is noticed.
const expireEvery = time.Hour

// expireAccess drops entries when they are over, and says so, until ctx ends.
func (g *gateway) expireAccess(ctx context.Context) {
	for {
		now := time.Now()
		dropped, next, err := g.access.Expire(now)
		if err != nil {
			g.log.Error("expired entries cannot be dropped; they count no more all the same", "error", err)
		}
		for kind, list := range dropped {
			for _, e := range list {
				g.log.Info("access entry expired", "list", string(kind), "entry", e.What(), "for", e.Scope.String(), "reason", e.Reason)
			}
		}
		wait := expireEvery
		if !next.IsZero() {
			wait = min(wait, max(next.Sub(now), time.Second))
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-g.accessChanged:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// accessRequest is the body of POST /access/{list}/{verb}.
type accessRequest struct {
	What    string    `json:"what"`
	For     []string  `json:"for,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}

// serveAccess adds or removes an entry. It leaves an audit line, also when that
// could not be done.
func (g *gateway) serveAccess(w http.ResponseWriter, r *http.Request) {
	var body accessRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	kind, verb, by := access.Kind(r.PathValue("list")), r.PathValue("verb"), peerOf(r)
	entries, err := g.changeAccess(kind, verb, &body, by)
	attrs := []any{"list", string(kind), "verb", verb, "entry", body.What, "for", body.For, "reason", body.Reason, "uid", by.UID, "pid", by.PID}
	if err != nil {
		g.log.Warn("access entry not changed", append(attrs, "error", err)...)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	g.log.Info("access entry changed", attrs...)
	select {
	case g.accessChanged <- struct{}{}:
	default: // it will look soon anyway
	}
	json.NewEncoder(w).Encode(entries)
}

// changeAccess returns the entries that were added or removed.
func (g *gateway) changeAccess(kind access.Kind, verb string, r *accessRequest, by peer) ([]access.Entry, error) {
	if kind != access.Allow && kind != access.Block {
		return nil, fmt.Errorf("no list %q", kind)
	}
	e, err := access.Parse(r.What)
	if err == nil {
		e.Scope, err = access.ParseScope(r.For)
	}
	if err != nil {
		return nil, err
	}
	switch verb {
	case "add":
		now := time.Now()
		e.Reason, e.Expires, e.Added, e.UID = r.Reason, r.Expires, now.UTC().Truncate(time.Second), by.UID
		if err := mayAdd(kind, &e, now); err != nil {
			return nil, err
		}
		return []access.Entry{e}, g.access.Add(kind, e)
	case "remove":
		return g.access.Remove(kind, e.What(), e.Scope)
	}
	return nil, fmt.Errorf("no verb %q", verb)
}

// mayAdd refuses what the config refuses, too.
func mayAdd(kind access.Kind, e *access.Entry, now time.Time) error {
	switch {
	case strings.TrimSpace(e.Reason) == "":
		return errors.New("an entry needs a reason, for whoever reads it later")
	case strings.ContainsFunc(e.Reason, unicode.IsControl):
		return errors.New("the reason is more than one line, or has control characters")
	case kind == access.Allow && config.IsEverybodys(e.Domain):
		return fmt.Errorf("%s is no domain of anybody's: everybody can have one below it", e.Domain)
	case e.Network.IsValid() && e.Network.Bits() == 0:
		return fmt.Errorf("%s is every client there is", e.What())
	case !e.Expires.IsZero() && !now.Before(e.Expires):
		return fmt.Errorf("it would have expired on %s", e.Expires.UTC().Format(time.DateTime))
	}
	return nil
}

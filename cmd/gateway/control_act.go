package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"mailweir/internal/config"
	"mailweir/mail"
	"mailweir/queue"
)

// actionRequest is the body of POST /queue/{verb}.
type actionRequest struct {
	IDs []string `json:"ids"`
	To  string   `json:"to,omitempty"` // reroute: the next hop; routeOfConfig gives it back
	// Held: nothing is done to a message that is not held. Who works on the
	// quarantine must not delete those that are under way by mistake.
	Held bool `json:"held,omitempty"`
	// Keys are master keys, as in a key file; only to change them.
	Keys string `json:"keys,omitempty"`
	// Address is whose data an erasure is about.
	Address string `json:"address,omitempty"`
}

// routeOfConfig is the `--to` that ends a reroute.
const routeOfConfig = "config"

// actionResult is what became of one ID, or of all messages.
type actionResult struct {
	ID    string `json:"id,omitempty"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
	// Gone: there is no such message, any more.
	Gone bool `json:"gone,omitempty"`
	Held bool `json:"held,omitempty"` // it cannot be flushed
	// Flushed is how many messages are due now; only without IDs.
	Flushed *int `json:"flushed,omitempty"`
	// Answers is how many were forgotten; only in the first line of an erasure.
	Answers *int `json:"answers,omitempty"`
	// Keys is how many were destroyed; only in its last line.
	Keys *int `json:"keys,omitempty"`
}

// action is one verb asked for by somebody.
type action struct {
	verb string
	to   string
	by   peer
	do   func(mail.ID) error
}

// actionRecord is what the history keeps of an action.
type actionRecord struct {
	peer
	To string `json:"to,omitempty"`
}

func (g *gateway) serveAction(w http.ResponseWriter, r *http.Request) {
	var body actionRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<20)).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a, err := g.action(r.PathValue("verb"), body.To)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.by = peerOf(r)
	if body.Held {
		a.do = g.ifHeld(a.do)
	}
	out := newStream(w)
	if a.verb == "flush" && len(body.IDs) == 0 {
		n := g.queue.Flush()
		g.log.Info("queue action", "verb", a.verb, "messages", n, "uid", a.by.UID, "pid", a.by.PID)
		out.write(actionResult{OK: true, Flushed: &n})
		return
	}
	g.actOn(r.Context(), a, body.IDs, out)
}

// actOn acts on messages, some at a time. It reports whether the client is
// still there at the end: what was not begun before he left is not done.
func (g *gateway) actOn(ctx context.Context, a *action, ids []string, out *stream) bool {
	for some := range slices.Chunk(ids, actTogether) {
		if ctx.Err() != nil {
			return false
		}
		for _, result := range g.actAll(a, some) {
			if out.write(result) != nil {
				return false
			}
		}
	}
	return true
}

// action makes an action ready.
func (g *gateway) action(verb, to string) (*action, error) {
	a := &action{verb: verb, to: to}
	switch verb {
	case "flush":
		a.do = g.flush
	case "hold":
		a.do = g.queue.Hold
	case "release":
		a.do = g.release
	case "delete":
		a.do = g.queue.Delete
	case "bounce":
		a.do = g.queue.Bounce
	case "reroute":
		next, err := nextHop(to)
		if err != nil {
			return nil, err
		}
		if next != "" {
			g.relay.add(next)
		}
		a.do = func(id mail.ID) error { return g.queue.Reroute(id, next) }
	default:
		return nil, fmt.Errorf("no verb %q", verb)
	}
	if to != "" && verb != "reroute" {
		return nil, errors.New("only reroute goes to a next hop")
	}
	return a, nil
}

// nextHop checks where to reroute to; "" is where the config says.
func nextHop(to string) (mail.Destination, error) {
	if to == routeOfConfig {
		return "", nil
	}
	var hop config.HostPort
	if err := hop.UnmarshalText([]byte(to)); err != nil {
		return "", fmt.Errorf("the next hop %q %w", to, err)
	}
	return mail.Destination(hop), nil
}

// actTogether is how many messages share the wait for the disk.
const actTogether = 64

// actAll acts on some messages at once, so that one fdatasync serves them all.
func (g *gateway) actAll(a *action, ids []string) []actionResult {
	results := make([]actionResult, len(ids))
	var wg sync.WaitGroup
	for i, s := range ids {
		wg.Go(func() { results[i] = g.act(a, s) })
	}
	wg.Wait()
	return results
}

// act does one action. It leaves an audit line in the log, also when it could
// not be done, and an event in the history.
func (g *gateway) act(a *action, s string) actionResult {
	id, err := mail.ParseID(s)
	if err == nil {
		err = a.do(id)
	}
	attrs := []any{"verb", a.verb, "id", s, "uid", a.by.UID, "pid", a.by.PID}
	if a.to != "" {
		attrs = append(attrs, "to", a.to)
	}
	if err != nil {
		g.log.Warn("queue action failed", append(attrs, "error", err)...)
		return actionResult{ID: s, Error: err.Error(), Gone: errors.Is(err, queue.ErrNotFound), Held: err == errHeld}
	}
	g.log.Info("queue action", attrs...)
	g.history.Append(id, a.verb, time.Now(), actionRecord{a.by, a.to})
	return actionResult{ID: s, OK: true}
}

var (
	errHeld    = errors.New("held: release it first")
	errNotHeld = errors.New("it is not held: nothing was done; 'gateway queue show' tells where it is")
)

// ifHeld does something to held messages alone.
func (g *gateway) ifHeld(do func(mail.ID) error) func(mail.ID) error {
	return func(id mail.ID) error {
		item, there := g.queue.Get(id)
		if there && item.State != queue.Held {
			return errNotHeld
		}
		return do(id) // which tells who asks for one that is gone
	}
}

func (g *gateway) flush(id mail.ID) error {
	if g.queue.Flush(id) > 0 {
		return nil
	}
	switch item, there := g.queue.Get(id); {
	case !there:
		return queue.ErrNotFound
	case item.State == queue.Held:
		return errHeld
	}
	return nil // it is on its way
}

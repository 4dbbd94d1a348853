package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
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
	// Only is a FILTER: nothing is done to a message that it does not select at
	// the moment of the act. Who works on the quarantine, or has confirmed a list,
	// must not delete what somebody else let go meanwhile.
	Only string `json:"only,omitempty"`
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
	// Changed: the message is none of those that Only selects, any more.
	Changed bool `json:"changed,omitempty"`
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
	a, err := g.action(r.PathValue("verb"), body.To, body.Only)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.by = peerOf(r)
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

// action makes an action ready; only is the filter of those that it is for.
func (g *gateway) action(verb, to, only string) (*action, error) {
	a := &action{verb: verb, to: to}
	f, err := parseOnly(only)
	if err != nil {
		return nil, err
	}
	switch verb {
	case "flush":
		a.do = g.flush
	case "hold":
		a.do = func(id mail.ID) error { return g.queue.Hold(id, f...) }
	case "release":
		a.do = func(id mail.ID) error { return g.release(id, f...) }
	case "delete":
		a.do = func(id mail.ID) error { return g.queue.Delete(id, f...) }
	case "bounce":
		a.do = func(id mail.ID) error { return g.queue.Bounce(id, f...) }
	case "reroute":
		next, err := nextHop(to)
		if err != nil {
			return nil, err
		}
		if next != "" {
			g.relay.add(next)
		}
		a.do = func(id mail.ID) error { return g.queue.Reroute(id, next, f...) }
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
		return actionResult{ID: s, Error: err.Error(), Gone: errors.Is(err, queue.ErrNotFound), Held: err == errHeld, Changed: errors.Is(err, queue.ErrChanged)}
	}
	g.log.Info("queue action", attrs...)
	g.history.Append(id, a.verb, time.Now(), actionRecord{a.by, a.to})
	return actionResult{ID: s, OK: true}
}

var errHeld = errors.New("held: release it first")

// parseOnly reads a filter that may be none.
func parseOnly(query string) ([]queue.Filter, error) {
	if query == "" {
		return nil, nil
	}
	v, err := url.ParseQuery(query)
	if err != nil {
		return nil, err
	}
	f, err := parseFilter(v)
	return []queue.Filter{f}, err
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

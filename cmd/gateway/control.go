package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"mailweir/internal/config"
	"mailweir/mail"
	"mailweir/queue"
)

// The control socket is how the queue commands talk to the running gateway:
// HTTP on a Unix socket in data_dir, which only its owner can enter.
//
//	GET  /queue?state=&domain=    one Item a line
//	GET  /queue/{id}              the Item
//	GET  /queue/{id}/message      the message as it would be relayed
//	POST /queue/{verb}            verb: flush hold release delete; body: {"ids":[...]}
//	                              (flush without ids: all); answer: one result a line

// actionResult is what became of one ID.
type actionResult struct {
	ID    string `json:"id"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

func (g *gateway) startControl(context.Context) error {
	path := controlPath(g.cfg)
	// The spool's lock is ours: a socket that is still there is a dead one's.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /queue", g.serveList)
	mux.HandleFunc("GET /queue/{id}", g.serveItem)
	mux.HandleFunc("GET /queue/{id}/message", g.serveMessage)
	mux.HandleFunc("POST /queue/{verb}", g.serveAction)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	g.background("control", func() error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.onStop("control", s.Shutdown)
	return nil
}

func (g *gateway) serveList(w http.ResponseWriter, r *http.Request) {
	out := json.NewEncoder(w)
	for item := range g.queue.List(queueFilter(r.URL.Query())) {
		if out.Encode(item) != nil {
			return // the client has gone
		}
	}
}

func queueFilter(q url.Values) queue.Filter {
	return queue.Filter{State: queue.State(q.Get("state")), Domain: q.Get("domain")}
}

func (g *gateway) serveItem(w http.ResponseWriter, r *http.Request) {
	if id, ok := pathID(w, r); ok {
		item, found := g.queue.Get(id)
		if !found {
			http.Error(w, queue.ErrNotFound.Error(), http.StatusNotFound)
			return
		}
		json.NewEncoder(w).Encode(item)
	}
}

func (g *gateway) serveMessage(w http.ResponseWriter, r *http.Request) {
	if id, ok := pathID(w, r); ok {
		var b bytes.Buffer
		if err := g.queue.Show(id, 0, &b); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		b.WriteTo(w)
	}
}

func pathID(w http.ResponseWriter, r *http.Request) (mail.ID, bool) {
	id, err := mail.ParseID(r.PathValue("id"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return id, err == nil
}

func (g *gateway) serveAction(w http.ResponseWriter, r *http.Request) {
	var body struct {
		IDs []string `json:"ids"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<20)).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	verb := r.PathValue("verb")
	act := map[string]func(mail.ID) error{
		"flush": g.flush, "hold": g.queue.Hold, "release": g.queue.Release, "delete": g.queue.Delete,
	}[verb]
	if act == nil {
		http.NotFound(w, r)
		return
	}
	out := json.NewEncoder(w)
	if verb == "flush" && len(body.IDs) == 0 {
		n := g.queue.Flush()
		g.log.Info("queue action", "verb", verb, "messages", n)
		out.Encode(actionResult{ID: fmt.Sprintf("%d messages", n), OK: true})
		return
	}
	for _, s := range body.IDs {
		out.Encode(g.act(verb, s, act))
	}
}

// act does one action and leaves an audit line.
func (g *gateway) act(verb, s string, fn func(mail.ID) error) actionResult {
	id, err := mail.ParseID(s)
	if err == nil {
		err = fn(id)
	}
	if err != nil {
		g.log.Warn("queue action failed", "verb", verb, "id", s, "error", err)
		return actionResult{ID: s, Error: err.Error()}
	}
	g.log.Info("queue action", "verb", verb, "id", s)
	g.history.Append(id, verb, time.Now(), struct{}{})
	return actionResult{ID: s, OK: true}
}

func (g *gateway) flush(id mail.ID) error {
	if g.queue.Flush(id) == 0 {
		if _, there := g.queue.Get(id); !there {
			return queue.ErrNotFound
		}
	}
	return nil
}

// control is the client's side of the socket.
type control struct{ http *http.Client }

// errNotRunning tells that no gateway listens on the socket.
var errNotRunning = errors.New("the gateway is not running: its control socket does not answer")

func newControl(cfg *config.Config) *control {
	path := controlPath(cfg)
	return &control{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}}
}

// get returns a body to read; post sends IDs.
func (c *control) get(ctx context.Context, path string) (io.ReadCloser, error) {
	return c.do(ctx, http.MethodGet, path, nil)
}

func (c *control) post(ctx context.Context, path string, ids []string) (io.ReadCloser, error) {
	body, err := json.Marshal(map[string][]string{"ids": ids})
	if err != nil {
		return nil, err
	}
	return c.do(ctx, http.MethodPost, path, bytes.NewReader(body))
}

func (c *control) do(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			return nil, errNotRunning
		}
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return nil, errors.New(string(bytes.TrimSpace(text)))
	}
	return resp.Body, nil
}

// lines decodes one JSON value a line.
func lines[T any](r io.ReadCloser, each func(T) error) error {
	defer r.Close()
	d := json.NewDecoder(bufio.NewReader(r))
	for {
		var v T
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := each(v); err != nil {
			return err
		}
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"mailweir/mail"
	"mailweir/queue"
)

// The control socket is how the queue commands talk to the running gateway:
// HTTP on a Unix socket in data_dir, which only its owner can enter. FILTER is
// state=&domain=&reverse_path=&recipient=&older_than=, each optional.
//
//	GET  /queue?FILTER            one Item a line, as they are read
//	GET  /queue/ids?FILTER        one ID a line
//	GET  /queue/summary?FILTER    one AgeRow a line
//	GET  /queue/{id}              the Item
//	GET  /queue/{id}/why          the Why
//	GET  /queue/{id}/message      the message as it would be relayed
//	POST /queue/rekey             use the first of the master keys in the body's
//	                              "keys", or of those in their file
//	POST /queue/erase             body: {"address":"...","ids":[...]}: forgets
//	                              that the address was answered, ends the
//	                              messages, and the DSNs that tell of them, then
//	                              destroys the keys of all that is over; answer:
//	                              a line with "answers", one result a line, then
//	                              one with "keys", how many there were
//	POST /privacy/settle          writes down the events and the history that wait
//	                              for their batches
//	POST /reports/send            body: {"day":"2026-11-28","domains":[...]}
//	                              (none: all); answer: one Entry a line as
//	                              it is queued, then {"left":N}
//	POST /access/{list}/{verb}    list: allow block; verb: add remove; body:
//	                              {"what":"partner.example","for":[...],
//	                              "reason":"...","expires":TIME}; answer: a
//	                              list of the entries that it concerned
//	POST /reputation/forget       body: {"sender":"sender.example"}, or an IP
//	                              address; answer: true when it was known
//	POST /queue/{verb}            verb: flush hold release delete bounce reroute;
//	                              body: {"ids":[...],"to":"host:port",
//	                              "only":"FILTER"} (flush without ids: all;
//	                              only: nothing is done to what it does not select
//	                              by then); answer: one result a line
//
// No lock of the queue is held while a client is written to: one that reads
// slowly, or not at all, holds up nobody.

// socketPathMost: sun_path of unix(7) has 108 octets, one of them for the end.
const socketPathMost = 107

func (g *gateway) startControl(context.Context) error {
	path := controlPath(g.cfg)
	if len(path) > socketPathMost {
		return fmt.Errorf("control socket: %s is longer than the %d octets that the name of a socket may have: choose a shorter data_dir", path, socketPathMost)
	}
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
	var handlers sync.WaitGroup
	mux := g.controlMux()
	s := &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		ConnContext:       withPeer,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelWarn),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handlers.Add(1)
			defer handlers.Done()
			mux.ServeHTTP(w, r)
		}),
	}
	g.background("control", func() error {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.onStop("control", func(ctx context.Context) error { return stopControl(ctx, s, &handlers) })
	return nil
}

// controlGrace is how long clients may go on when the gateway stops. A listing
// in a pager must not hold it up.
const controlGrace = time.Second

func stopControl(ctx context.Context, s *http.Server, handlers *sync.WaitGroup) error {
	ctx, cancel := context.WithTimeout(ctx, controlGrace)
	defer cancel()
	if s.Shutdown(ctx) == nil {
		return nil
	}
	err := s.Close()
	handlers.Wait() // the queue is closed after them
	return err
}

func (g *gateway) controlMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /queue", g.serveList)
	mux.HandleFunc("GET /queue/ids", g.serveIDs)
	mux.HandleFunc("GET /queue/summary", g.serveSummary)
	mux.HandleFunc("GET /queue/{id}", g.serveItem)
	mux.HandleFunc("GET /queue/{id}/why", g.serveWhy)
	mux.HandleFunc("GET /queue/{id}/message", g.serveMessage)
	mux.HandleFunc("POST /queue/rekey", g.serveRekey(g.cfg))
	mux.HandleFunc("POST /queue/erase", g.serveErase)
	mux.HandleFunc("POST /queue/{verb}", g.serveAction)
	mux.HandleFunc("POST /privacy/settle", g.serveSettle)
	mux.HandleFunc("POST /reports/send", g.serveReports)
	mux.HandleFunc("POST /reputation/forget", g.serveForget)
	mux.HandleFunc("POST /access/{list}/{verb}", g.serveAccess)
	return mux
}

// peer is who is at the other end of the control socket.
type peer struct {
	UID int `json:"uid"`
	PID int `json:"pid"`
}

type peerKey struct{}

// withPeer asks the kernel, which knows, who has connected.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	p := peer{UID: -1}
	if u, ok := c.(*net.UnixConn); ok {
		if raw, err := u.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) {
				if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
					p = peer{int(cred.Uid), int(cred.Pid)}
				}
			})
		}
	}
	return context.WithValue(ctx, peerKey{}, p)
}

func peerOf(r *http.Request) peer {
	p, _ := r.Context().Value(peerKey{}).(peer)
	return p
}

// stream writes one JSON value a line, and sends them on: the first page when
// it is full, later what came in a while.
type stream struct {
	out  *json.Encoder
	flow *http.ResponseController
	n    int
	last time.Time

	gentle bool      // rests after each page but the first
	began  time.Time // with this page
}

const (
	streamPage  = 64
	streamEvery = 50 * time.Millisecond
)

func newStream(w http.ResponseWriter) *stream {
	now := time.Now()
	return &stream{out: json.NewEncoder(w), flow: http.NewResponseController(w), last: now, began: now}
}

// write returns an error when the client has gone.
func (s *stream) write(v any) error {
	if err := s.out.Encode(v); err != nil {
		return err
	}
	if s.n++; s.n == streamPage || time.Since(s.last) > streamEvery {
		s.last = time.Now()
		if err := s.flow.Flush(); err != nil {
			return err
		}
	}
	if s.gentle && s.n%streamPage == 0 {
		s.rest()
	}
	return nil
}

// rest leaves the processor to mail for as long as the last page kept it: a
// listing of a large queue is in no hurry, but for its first page.
func (s *stream) rest() {
	if s.n > streamPage {
		time.Sleep(min(time.Since(s.began), streamEvery))
	}
	s.began = time.Now()
}

func (g *gateway) serveList(w http.ResponseWriter, r *http.Request) {
	f, ok := requestFilter(w, r)
	if !ok {
		return
	}
	out := newStream(w)
	out.gentle = true
	for item := range g.queue.List(f) {
		if out.write(item) != nil {
			return
		}
	}
}

func (g *gateway) serveIDs(w http.ResponseWriter, r *http.Request) {
	f, ok := requestFilter(w, r)
	if !ok {
		return
	}
	out := newStream(w)
	out.gentle = true
	for id := range g.queue.IDs(f) {
		if out.write(id) != nil {
			return
		}
	}
}

func (g *gateway) serveSummary(w http.ResponseWriter, r *http.Request) {
	f, ok := requestFilter(w, r)
	if !ok {
		return
	}
	out := newStream(w)
	for _, row := range g.queue.Summary(f) {
		if out.write(row) != nil {
			return
		}
	}
}

func requestFilter(w http.ResponseWriter, r *http.Request) (queue.Filter, bool) {
	f, err := parseFilter(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return f, err == nil
}

func (g *gateway) serveItem(w http.ResponseWriter, r *http.Request) {
	if id, ok := pathID(w, r); ok {
		item, found := g.queue.Get(id)
		answer(w, item, found)
	}
}

func (g *gateway) serveWhy(w http.ResponseWriter, r *http.Request) {
	if id, ok := pathID(w, r); ok {
		why, found := g.queue.Why(id)
		answer(w, why, found)
	}
}

func answer(w http.ResponseWriter, v any, found bool) {
	if !found {
		http.Error(w, queue.ErrNotFound.Error(), http.StatusNotFound)
		return
	}
	json.NewEncoder(w).Encode(v)
}

func (g *gateway) serveMessage(w http.ResponseWriter, r *http.Request) {
	id, ok := pathID(w, r)
	if !ok {
		return
	}
	if _, found := g.queue.Get(id); !found {
		answer(w, nil, false)
		return
	}
	if err := g.queue.Show(id, 0, w); err != nil {
		// Part of it may have been sent: a broken answer is not taken for a
		// message that ends here.
		g.log.Warn("a message could not be shown", "id", id.String(), "error", err)
		panic(http.ErrAbortHandler)
	}
}

func pathID(w http.ResponseWriter, r *http.Request) (mail.ID, bool) {
	id, err := mail.ParseID(r.PathValue("id"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return id, err == nil
}

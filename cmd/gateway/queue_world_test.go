package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mailweir/internal/config"
	"mailweir/internal/mailtest"
	"mailweir/mail"
	"mailweir/queue"
)

// queueWorld is a gateway in this process with two sinks, for the commands that
// operate the queue. Its messages are put into the queue itself.
type queueWorld struct {
	t           *testing.T
	path        string // of the config
	cfg         *config.Config
	gw          *gateway // nil while it is stopped
	sink, other *mailtest.Sink
	log         syncBuffer
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

const queueConfig = `
hostname = "mx.example.org"
data_dir = %q
[[listener]]
address = "127.0.0.1:0"
[dns]
servers = ["127.0.0.1:9"]
[metrics]
address = "127.0.0.1:0"
[[domain]]
name      = "example.org"
next_hops = [%q]
[[domain]]
name      = "down.example"
next_hops = [%q]
[relay]
outbound = %q
`

// newQueueWorld starts it; nothing of it may be left at the end.
func newQueueWorld(t *testing.T) *queueWorld {
	t.Helper()
	before := goleak.IgnoreCurrent()
	w := &queueWorld{t: t, sink: mailtest.NewSink(t, mailtest.SinkOptions{}), other: mailtest.NewSink(t, mailtest.SinkOptions{})}
	t.Cleanup(func() {
		w.stop()
		w.sink.Close()
		w.other.Close()
		goleak.VerifyNone(t, before)
	})
	dir, err := os.MkdirTemp("", "mailweir-queue-") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w.path = filepath.Join(dir, "gateway.toml")
	text := fmt.Sprintf(queueConfig, filepath.Join(dir, "data"), w.sink.Addr(), closedPort(t), w.sink.Addr())
	if err := os.WriteFile(w.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if w.cfg, err = loadConfig(w.path); err != nil {
		t.Fatal(err)
	}
	w.start()
	return w
}

// closedPort is an address that refuses connections.
func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (w *queueWorld) start() {
	w.t.Helper()
	var err error
	if w.gw, err = start(context.Background(), w.cfg, slog.New(slog.NewJSONHandler(&w.log, nil)), startOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *queueWorld) stop() {
	w.t.Helper()
	if w.gw == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.gw.stop(ctx); err != nil {
		w.t.Error(err)
	}
	w.gw = nil
}

// put queues a message; edit changes it before.
func (w *queueWorld) put(edit func(*mail.Envelope), rcpts ...mail.Path) string {
	w.t.Helper()
	head := []byte("From: a@sender.example\r\nSubject: test\r\n\r\n")
	m := &mail.Message{Heads: [][]byte{head}}
	m.Envelope = mail.Envelope{ID: mail.NewID(time.Now()), Arrived: time.Now(), ReversePath: "a@sender.example", MayReturn: true}
	for _, r := range rcpts {
		m.Envelope.Recipients = append(m.Envelope.Recipients, mail.Recipient{Path: r})
	}
	if edit != nil {
		edit(&m.Envelope)
	}
	in, err := w.gw.queue.Begin(context.Background(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := in.Write(append(head, "hello\r\n"...)); err != nil {
		w.t.Fatal(err)
	}
	m.Body = mail.Section(in.Content(), int64(len(head)))
	if err := in.Commit(context.Background(), m); err != nil {
		w.t.Fatal(err)
	}
	return m.Envelope.ID.String()
}

// hold makes put's message a quarantined one, which stays.
func hold(e *mail.Envelope) {
	for i := range e.Recipients {
		e.Recipients[i].Hold = "quarantine:GTUBE"
	}
}

// deferred queues a message for the domain whose next hop is down, and waits
// for its first attempt.
func (w *queueWorld) deferred(edit func(*mail.Envelope), rcpts ...mail.Path) string {
	w.t.Helper()
	id := w.put(edit, rcpts...)
	parsed, _ := mail.ParseID(id)
	w.until("it is deferred", func() bool {
		i, ok := w.gw.queue.Get(parsed)
		return ok && i.State == queue.Deferred && i.Reason != ""
	})
	return id
}

func (w *queueWorld) until(what string, done func() bool) {
	w.t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("not in time: %s", what)
		}
	}
}

// cli runs a command without a terminal: "queue delete ID" as it is typed.
func (w *queueWorld) cli(line string, more ...string) (code int, out, errs string) {
	w.t.Helper()
	return w.cliIn(stdio{in: strings.NewReader("")}, line, more...)
}

func (w *queueWorld) cliIn(std stdio, line string, more ...string) (code int, out, errs string) {
	w.t.Helper()
	var o, e bytes.Buffer
	std.out, std.err = &o, &e
	args := append(strings.Fields(line), more...)
	code = dispatch(context.Background(), std, append(args, "--config", w.path))
	return code, o.String(), e.String()
}

// expect runs a command and compares its exit code and what its output has.
func (w *queueWorld) expect(code int, line string, parts ...string) string {
	w.t.Helper()
	got, out, errs := w.cli(line)
	all := out + errs
	if got != code {
		w.t.Errorf("%s: exit code %d, want %d\n%s", line, got, code, all)
	}
	for _, p := range parts {
		if !strings.Contains(all, p) {
			w.t.Errorf("%s: no %q in\n%s", line, p, all)
		}
	}
	return out
}

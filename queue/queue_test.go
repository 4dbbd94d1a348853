package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// next is a next hop: it remembers what it got and answers what reply says.
type next struct {
	mu    sync.Mutex
	got   map[string]int // ID and recipient -> deliveries
	order []string
	bad   []string
	route func(mail.Path) mail.Destination
	reply func(d mail.Destination, m *mail.Message, rcpt int) mail.Outcome
	check func(m *mail.Message, content []byte) error
	block chan struct{}
	got1  chan struct{} // one token a delivery, when not nil
}

func newNext() *next { return &next{got: map[string]int{}} }

func (n *next) Route(p mail.Path) mail.Destination {
	if n.route != nil {
		return n.route(p)
	}
	return mail.Destination(p.Domain())
}

func (n *next) Deliver(ctx context.Context, d mail.Destination, m *mail.Message, rcpts []int, done func(mail.Outcome)) {
	if n.block != nil {
		select {
		case <-n.block:
		case <-ctx.Done():
		}
	}
	for _, i := range rcpts {
		o := mail.Outcome{Result: mail.Relayed, Reply: mail.Reply{Code: 250}}
		if n.reply != nil {
			o = n.reply(d, m, i)
		}
		o.Recipient = i
		n.note(m, i, o)
		done(o)
	}
	if n.got1 != nil {
		n.got1 <- struct{}{}
	}
}

func (n *next) note(m *mail.Message, i int, o mail.Outcome) {
	content, err := contentOf(m, i)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil && n.check != nil {
		err = n.check(m, content)
	}
	if err != nil {
		n.bad = append(n.bad, fmt.Sprintf("%s to %s: %v", m.Envelope.ID, m.Envelope.Recipients[i].Path, err))
	}
	n.order = append(n.order, string(m.Envelope.Recipients[i].Path))
	if o.Result == mail.Relayed {
		n.got[m.Envelope.ID.String()+" "+string(m.Envelope.Recipients[i].Path)]++
	}
}

func (n *next) relayed() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.got)
}

func contentOf(m *mail.Message, i int) ([]byte, error) {
	r, err := m.Body.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	return append(bytes.Clone(m.Heads[m.Envelope.Recipients[i].Head]), body...), err
}

func deferral(text string) mail.Outcome {
	return mail.Outcome{Result: mail.Deferred, NextHop: "mx.example.net:25", Reply: mail.Reply{Code: 451, Enhanced: mail.EnhancedCode{4, 3, 0}, Text: text}}
}

func refusal() mail.Outcome {
	return mail.Outcome{Result: mail.Failed, NextHop: "mx.example.net:25", Reply: mail.Reply{Code: 550, Enhanced: mail.EnhancedCode{5, 1, 1}, Text: "no such user"}}
}

func unreachable() mail.Outcome {
	return mail.Outcome{Result: mail.Deferred, Reply: mail.Reply{Text: "connection refused"}}
}

const testHead = "Received: from [192.0.2.66] by mx.example.org; Mon, 1 Jan 2024 00:00:00 +0000\r\nFrom: a@example.com\r\nSubject: test\r\n\r\n"

func newMessage(body []byte, rcpts ...mail.Path) *mail.Message {
	m := &mail.Message{Heads: [][]byte{[]byte(testHead)}, Body: mail.Bytes(body)}
	m.Envelope = mail.Envelope{ID: mail.NewID(time.Now()), Arrived: time.Now(), ReversePath: "a@example.com", MayReturn: true}
	for _, r := range rcpts {
		m.Envelope.Recipients = append(m.Envelope.Recipients, mail.Recipient{Path: r})
	}
	return m
}

// put brings a message in as a session would: through Write, in pieces.
func put(q *Queue, m *mail.Message, body []byte) error {
	in, err := q.Begin(context.Background(), 0)
	if err != nil {
		return err
	}
	whole := append([]byte(testHead), body...)
	for p := whole; len(p) > 0; {
		n := min(len(p), 3000)
		if _, err := in.Write(p[:n]); err != nil {
			in.Abort()
			return err
		}
		p = p[n:]
	}
	m.Body = mail.Section(in.Content(), int64(len(testHead)))
	return in.Commit(context.Background(), m)
}

func mustPut(t testing.TB, q *Queue, body []byte, rcpts ...mail.Path) mail.ID {
	t.Helper()
	m := newMessage(nil, rcpts...)
	if err := put(q, m, body); err != nil {
		t.Fatal(err)
	}
	return m.Envelope.ID
}

func mustOpen(t testing.TB, fsys fsx.FS, dir string, o Options) *Queue {
	t.Helper()
	if o.SegmentSize == 0 {
		o.SegmentSize = 64 << 10
	}
	q, err := Open(fsys, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// run delivers until done reports true.
func run(t testing.TB, q *Queue, d Deliverer, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 100*24*time.Hour)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- q.Run(ctx, d) }()
	for !done() {
		if ctx.Err() != nil {
			t.Fatal("not done in time")
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if l := q.Stats().Ledger; l.Imbalance() != 0 {
		t.Errorf("ledger imbalance %d: %+v", l.Imbalance(), l)
	}
}

func mustClose(t testing.TB, q *Queue) {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func verifyTestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAcceptRestartRelay(t *testing.T) {
	dir := t.TempDir() + "/spool"
	o := Options{SpillAt: 8 << 10}
	q := mustOpen(t, fsx.OS{}, dir, o)
	want := map[string][]byte{}
	for i := range 60 {
		body := bytes.Repeat([]byte(fmt.Sprintf("line %d\r\n", i)), 1+i*40)
		id := mustPut(t, q, body, mail.Path(fmt.Sprintf("u%d@a.example", i)), "x@b.example")
		want[id.String()] = append([]byte(testHead), body...)
	}
	mustClose(t, q)

	q = mustOpen(t, fsx.OS{}, dir, o)
	if s := q.Stats(); s.Messages[Queued] != 60 || s.Recipients != 120 || s.Ledger.Recovered != 120 {
		t.Fatalf("after restart: %+v", s)
	}
	n := newNext()
	n.check = func(m *mail.Message, content []byte) error {
		if !bytes.Equal(content, want[m.Envelope.ID.String()]) {
			return errors.New("content differs")
		}
		return nil
	}
	run(t, q, n, func() bool { return n.relayed() == 120 })
	if len(n.bad) > 0 {
		t.Fatal(n.bad)
	}
	mustClose(t, q)

	q = mustOpen(t, fsx.OS{}, dir, o)
	if s := q.Stats(); s.Recipients != 0 || len(s.Messages) != 0 {
		t.Errorf("relayed mail rose from the dead: %+v", s)
	}
	if list, _ := (fsx.OS{}).ReadDir(dir + "/big"); len(list) != 0 {
		t.Errorf("big files left: %v", list)
	}
	mustClose(t, q)
}

func TestSecondProcessAndFormat(t *testing.T) {
	dir := t.TempDir()
	q := mustOpen(t, fsx.OS{}, dir, Options{})
	if _, err := Open(fsx.OS{}, dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open: %v", err)
	}
	mustClose(t, q)

	m := fsx.NewMem()
	m.MkdirAll("/s/seg", 0o700)
	f, _ := m.Open("/s/FORMAT", 0x42, 0o600)
	f.WriteAt([]byte("mailweir queue 3\n"), 0)
	faulty := &fsx.Faulty{FS: m}
	if _, err := Open(faulty, "/s", Options{}); !errors.Is(err, ErrFormat) {
		t.Errorf("unknown format: %v", err)
	}
	if faulty.Calls() != 0 {
		t.Errorf("an unknown spool was touched: %d calls", faulty.Calls())
	}
}

func TestHoldReleaseDelete(t *testing.T) {
	q := mustOpen(t, fsx.OS{}, t.TempDir(), Options{})
	m := newMessage(nil, "a@x.example", "b@x.example")
	m.Envelope.Recipients[0].Hold = "quarantine:GTUBE"
	if err := put(q, m, []byte("hi\r\n")); err != nil {
		t.Fatal(err)
	}
	n := newNext()
	id := m.Envelope.ID
	run(t, q, n, func() bool { return n.relayed() == 1 && q.Stats().Messages[Held] == 1 })
	it, ok := q.Get(id)
	if !ok || it.State != Held || it.Reason != "quarantine:GTUBE" || it.Recipients[1].State != Relayed {
		t.Fatalf("item: %+v", it)
	}
	for range 3 {
		if err := q.Release(id); err != nil {
			t.Fatal(err)
		}
	}
	run(t, q, n, func() bool { return n.relayed() == 2 && q.Stats().Recipients == 0 })
	if n.got[id.String()+" a@x.example"] != 1 {
		t.Errorf("released once, relayed %d times", n.got[id.String()+" a@x.example"])
	}
	if err := q.Release(id); !errors.Is(err, ErrNotFound) {
		t.Errorf("release of a message that is gone: %v", err)
	}

	id = mustPut(t, q, []byte("x\r\n"), "c@x.example")
	if err := q.Hold(id); err != nil {
		t.Fatal(err)
	}
	if it, _ := q.Get(id); it.State != Held || it.Reason != "admin" {
		t.Errorf("held by admin: %+v", it)
	}
	var b strings.Builder
	if err := q.Show(id, 0, &b); err != nil || b.String() != testHead+"x\r\n" {
		t.Errorf("show: %q %v", b.String(), err)
	}
	if err := q.Delete(id); err != nil {
		t.Fatal(err)
	}
	if l := q.Stats().Ledger; l.Deleted != 1 || l.InQueue != 0 || l.Imbalance() != 0 {
		t.Errorf("ledger %+v", l)
	}
	mustClose(t, q)
}

func sleep(seconds int) { time.Sleep(time.Duration(seconds) * time.Second) }

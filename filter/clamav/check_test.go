package clamav

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"mailweir/filter"
	"mailweir/mail"
)

// TestReport: only a verdict about the whole message counts as scanned.
func TestReport(t *testing.T) {
	k := NewCheck(newClient(t, Options{Address: "unix:/nonexistent"}), nil)
	version := "ClamAV 1.4.6/27817/x"
	k.client.version.Store(&version)
	clean := filter.VirusFacts{Scanned: true, Version: version}
	virus := filter.VirusFacts{Scanned: true, Version: version, Signature: "Evil?.A"}
	for _, tt := range []struct {
		name   string
		v      Verdict
		err    error
		state  filter.State
		symbol string
		detail string
		facts  filter.VirusFacts
	}{
		{"clean", Verdict{Clean: true}, nil, filter.OK, "", "", clean},
		{"virus", Verdict{Signature: "Evil\n.A"}, nil, filter.OK, filter.SymVirus, "Evil?.A", virus},
		{"oversize", Verdict{}, ErrOversize, filter.OK, filter.SymOversize, ErrOversize.Error(), filter.VirusFacts{Version: version}},
		{"timeout", Verdict{}, ErrTimeout, filter.Timeout, "", "", filter.VirusFacts{}},
		{"busy", Verdict{}, ErrBusy, filter.Timeout, "", "", filter.VirusFacts{}},
		{"own deadline", Verdict{}, context.DeadlineExceeded, filter.Timeout, "", "", filter.VirusFacts{}},
		{"unavailable", Verdict{}, ErrUnavailable, filter.Error, "", "", filter.VirusFacts{}},
		{"suspended", Verdict{}, ErrSuspended, filter.Error, "", "", filter.VirusFacts{}},
		{"truncated", Verdict{}, ErrTruncated, filter.Error, "", "", filter.VirusFacts{}},
		{"garbage", Verdict{}, ErrReply, filter.Error, "", "", filter.VirusFacts{}},
		{"aborted", Verdict{}, ErrAborted, filter.Error, "", "", filter.VirusFacts{}},
		{"error beside a verdict", Verdict{Clean: true}, ErrReply, filter.Error, "", "", filter.VirusFacts{}},
		{"no verdict and no error", Verdict{}, nil, filter.Error, "", "", filter.VirusFacts{}},
	} {
		r := k.report(tt.v, "", tt.err, filter.VirusFacts{})
		var f filter.Facts
		if r.Set != nil {
			r.Set(&f)
		}
		if r.State != tt.state || f.Virus != tt.facts || (r.State != filter.OK) != (r.Cause != nil) {
			t.Errorf("%s: state %s, cause %v, facts %+v", tt.name, r.State, r.Cause, f.Virus)
		}
		var want []filter.Symbol
		if tt.symbol != "" {
			want = []filter.Symbol{{Name: tt.symbol, Detail: tt.detail}}
		}
		if d := cmp.Diff(want, r.Symbols); d != "" {
			t.Errorf("%s: symbols %s", tt.name, d)
		}
	}
}

// arrivals plays Transaction.Follow: every follower reads the same message from
// its start, as far as it has come.
type arrivals struct {
	mu   sync.Mutex
	data []byte
	err  error
	more chan struct{}
}

func (a *arrivals) add(p []byte, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.data, a.err = append(a.data, p...), err
	if a.more != nil {
		close(a.more)
	}
	a.more = make(chan struct{})
}

func (a *arrivals) follow(ctx context.Context) io.Reader { return &reading{a: a, ctx: ctx} }

type reading struct {
	a   *arrivals
	ctx context.Context
	off int
}

func (r *reading) Read(p []byte) (int, error) {
	for {
		r.a.mu.Lock()
		n := copy(p, r.a.data[r.off:])
		err, more := r.a.err, r.a.more
		r.a.mu.Unlock()
		r.off += n
		if n > 0 {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		select {
		case <-more:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	}
}

// A large message from a sender who trickles gives its slot back, and is scanned
// whole once it is there.
func TestSlowSenderGivesItsSlotBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(plant)
		p.state.Store(alive)
		c := newClient(t, Options{Address: "clamd.example:3310", Dial: p.dial, MaxConcurrent: 1})
		k := NewCheck(c, nil)
		var a arrivals
		a.add(make([]byte, 3*chunkBytes), nil)
		type result struct {
			v   Verdict
			err error
		}
		done := make(chan result)
		go func() {
			v, err := k.scan(context.Background(), a.follow)
			done <- result{v, err}
		}()
		synctest.Wait()
		if len(c.slots) != 1 {
			t.Error("the large message is not streamed while it arrives")
		}
		for range patience/time.Second + 1 { // he trickles: no single pause is long
			time.Sleep(time.Second)
			a.add([]byte("x"), nil)
			synctest.Wait()
		}
		if len(c.slots) != 0 {
			t.Error("the slow sender keeps the only slot")
		}
		if err := scanErr(c); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * time.Minute)
		a.add([]byte("the end"), io.EOF)
		if r := <-done; r.err != nil || !r.v.Clean {
			t.Errorf("%+v", r)
		}
		if c.breaker.Failures() != 0 {
			t.Error("a slow sender counts as clamd's failure")
		}
		synctest.Wait()
	})
}

// A message that is aborted, at once or after the sender was slow, has no
// verdict; nor has one whose time is over.
func TestAbortedMessage(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			p := new(plant)
			p.state.Store(alive)
			k := NewCheck(newClient(t, Options{Address: "clamd.example:3310", Dial: p.dial}), nil)
			var a arrivals
			a.add(make([]byte, 3*chunkBytes), nil)
			done := make(chan filter.Report)
			go func() {
				v, err := k.scan(context.Background(), a.follow)
				done <- k.report(v, "", err, filter.VirusFacts{})
			}()
			time.Sleep(wait)
			synctest.Wait()
			a.add(nil, io.ErrUnexpectedEOF)
			if r := <-done; r.State != filter.Error || !errors.Is(r.Cause, io.ErrUnexpectedEOF) {
				t.Errorf("%+v", r)
			}
			synctest.Wait()
		})
		synctest.Test(t, func(t *testing.T) {
			p := new(plant)
			p.state.Store(alive)
			k := NewCheck(newClient(t, Options{Address: "clamd.example:3310", Dial: p.dial}), nil)
			var a arrivals
			a.add(make([]byte, 3*chunkBytes), nil)
			ctx, cancel := context.WithTimeout(context.Background(), wait+time.Second)
			defer cancel()
			v, err := k.scan(ctx, a.follow)
			if r := k.report(v, "", err, filter.VirusFacts{}); r.State != filter.Timeout {
				t.Errorf("%+v", r)
			}
			synctest.Wait()
		})
	}
}

// The check in a real pipeline: facts and symbols as the policy will see them.
func TestInPipeline(t *testing.T) {
	for _, tt := range []struct {
		name, address string
		state         filter.State
		symbol        string
		scanned       bool
	}{
		{"clean", fakeClamd(t, answer("stream: OK\x00")), filter.OK, "", true},
		{"virus", fakeClamd(t, answer("stream: X FOUND\x00")), filter.OK, filter.SymVirus, true},
		{"oversize", fakeClamd(t, answer(limitReply)), filter.OK, filter.SymOversize, false},
		{"dead", "unix:/nonexistent", filter.Error, filter.SymScannerError, false},
		{"hangs", fakeClamd(t, hang), filter.Timeout, filter.SymScannerTimeout, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := NewCheck(newClient(t, Options{Address: tt.address, Timeout: 300 * time.Millisecond}), nil)
			msg := "From: a@example.org\r\nSubject: x\r\n\r\n" + strings.Repeat("line\r\n", 50_000)
			f := judge(t, k, []byte(msg)).Facts
			if f.Virus.Scanned != tt.scanned || len(f.Checks) != 1 || f.Checks[0].State != tt.state {
				t.Errorf("facts %+v, checks %+v", f.Virus, f.Checks)
			}
			if got := names(f.Symbols); got != tt.symbol {
				t.Errorf("symbols %q, want %q", got, tt.symbol)
			}
		})
	}
}

func names(symbols []filter.Symbol) string {
	var list []string
	for _, s := range symbols {
		list = append(list, s.Name)
	}
	return strings.Join(list, " ")
}

var _ filter.Check = (*Check)(nil)

// judge runs k alone on msg, which arrives in pieces.
func judge(t *testing.T, k *Check, msg []byte) *filter.Judgement {
	t.Helper()
	m := filter.NewMetrics(prometheus.NewRegistry())
	p := filter.New(filter.Options{
		Chain:  filter.Chain{Data: filter.Group{k}},
		Scorer: func() filter.Scorer { return asReported{} },
		Limits: filter.DefaultLimits(), Pool: filter.NewPool(4, m), Metrics: m,
	})
	conn := p.Connect(t.Context(), mail.Client{})
	defer conn.Close()
	env := &mail.Envelope{ID: mail.NewID(time.Now()), Recipients: []mail.Recipient{{Path: "a@example.org"}}}
	i := conn.Begin(t.Context(), mail.Client{}, env)
	defer i.Close()
	store := new(growing)
	i.Receive(store)
	for piece := range slices.Chunk(msg, 10_000) {
		store.Write(piece)
		if err := i.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	return i.Judge(mail.Bytes(msg))
}

type asReported struct{}

func (asReported) Eval(f *filter.Facts, _ string) []filter.Symbol { return f.Symbols }
func (asReported) Class(*filter.Facts, mail.Path) string          { return "" }
func (asReported) Hash() string                                   { return "" }

// growing is a store that is written while it is read, like the queue's intake.
type growing struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (g *growing) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.buf.Write(p)
}

func (g *growing) ReadAt(p []byte, off int64) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return bytes.NewReader(g.buf.Bytes()).ReadAt(p, off)
}

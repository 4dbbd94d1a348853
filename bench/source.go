package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// source sends messages and takes the time of each reply to a final dot.
type source struct {
	Address     string
	Connections int
	Messages    int
	// PerConnection messages, then QUIT and a new connection; 0: all in one.
	PerConnection int
	Message       []byte // CRLF lines, dots not stuffed yet
	Helo          string
	From          string
	To            string // "%d" is replaced by the number of the message
	First         int    // number of the first message
	// Clients are claimed by XCLIENT, the next one on each connection.
	Clients []netip.Addr
	Rate    float64       // messages a second in all; 0: as fast as replies come
	Trickle time.Duration // spread each message evenly over so much time
}

// sourceResult is what became of the messages.
type sourceResult struct {
	Messages int            `json:"messages"`
	Accepted int            `json:"accepted"` // answered 250 after the final dot
	Failed   int            `json:"failed"`   // no reply: connection refused, closed, timed out
	Replies  map[string]int `json:"replies"`  // by code: of the dot, or of the command that was refused
	Seconds  float64        `json:"seconds"`
	Rate     float64        `json:"rate"` // accepted a second
	AfterDot quantiles      `json:"after_dot"`
	LastID   string         `json:"last_id,omitempty"`
	Error    string         `json:"error,omitempty"` // the first failure
}

// giveUp is how many connections in a row may fail before a worker stops.
const giveUp = 5

// run sends all messages. The error is for a source that could not work at
// all; single failures are counted.
func (s *source) run(ctx context.Context) (sourceResult, error) {
	if s.Connections < 1 || s.Messages < 1 || len(s.Message) == 0 {
		return sourceResult{}, errors.New("nothing to send")
	}
	job := &sourceJob{source: s, data: newPayload(s.Message), begin: time.Now()}
	workers := make([]*worker, min(s.Connections, s.Messages))
	var wg sync.WaitGroup
	for k := range workers {
		w := &worker{job: job, codes: map[string]int{}}
		w.took = make(latencies, 0, s.Messages/len(workers)*2)
		workers[k] = w
		wg.Go(func() { w.run(ctx) })
	}
	wg.Wait()
	r := sumUp(workers, time.Since(job.begin))
	if r.Accepted == 0 && r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, ctx.Err()
}

func sumUp(workers []*worker, took time.Duration) sourceResult {
	r := sourceResult{Replies: map[string]int{}, Seconds: took.Seconds()}
	var all latencies
	for _, w := range workers {
		all = append(all, w.took...)
		r.Messages += w.tried
		r.Failed += w.failed
		for code, n := range w.codes {
			r.Replies[code] += n
		}
		if w.lastID != "" {
			r.LastID = w.lastID
		}
		if r.Error == "" && w.err != nil {
			r.Error = w.err.Error()
		}
	}
	for code, n := range r.Replies {
		if code == "250" {
			r.Accepted = n
		}
	}
	r.Rate = float64(r.Accepted) / took.Seconds()
	r.AfterDot = all.quantiles()
	return r
}

// codes prints counts by reply code, in order.
func (r *sourceResult) codes() string {
	var b strings.Builder
	for _, code := range slices.Sorted(maps.Keys(r.Replies)) {
		fmt.Fprintf(&b, " %s: %d", code, r.Replies[code])
	}
	if r.Failed > 0 {
		fmt.Fprintf(&b, " no reply: %d", r.Failed)
	}
	return strings.TrimPrefix(b.String(), " ")
}

// sourceJob is what the workers share.
type sourceJob struct {
	*source
	data    payload
	begin   time.Time
	taken   atomic.Int64 // messages handed out
	clients atomic.Int64 // connections made
}

// next hands out one message's number, at its time when there is a rate.
func (j *sourceJob) next(ctx context.Context) (int, bool) {
	k := int(j.taken.Add(1)) - 1
	if k >= j.Messages {
		return 0, false
	}
	if j.Rate > 0 {
		at := j.begin.Add(time.Duration(float64(k) / j.Rate * float64(time.Second)))
		if !pause(ctx, time.Until(at)) {
			return 0, false
		}
	}
	return j.First + k, ctx.Err() == nil
}

// left tells whether next would hand out another one.
func (j *sourceJob) left() bool { return int(j.taken.Load()) < j.Messages }

func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// worker is one connection at a time.
type worker struct {
	job    *sourceJob
	tried  int
	failed int
	codes  map[string]int
	took   latencies
	lastID string
	err    error
}

func (w *worker) run(ctx context.Context) {
	for bad := 0; bad < giveUp && w.job.left() && ctx.Err() == nil; bad++ {
		before := w.tried - w.failed
		if err := w.connection(ctx); err != nil && w.err == nil {
			w.err = err
		}
		if w.tried-w.failed > before {
			bad = -1
		}
	}
}

// connection sends up to PerConnection messages.
func (w *worker) connection(ctx context.Context) error {
	c, err := dialSource(ctx, w.job)
	if err != nil {
		return err
	}
	defer c.close()
	for n := 0; w.job.PerConnection == 0 || n < w.job.PerConnection; n++ {
		number, ok := w.job.next(ctx)
		if !ok {
			break
		}
		w.tried++
		if err := w.message(ctx, c, number); err != nil {
			w.failed++
			return err
		}
	}
	return c.quit()
}

func (w *worker) message(ctx context.Context, c *sourceConn, number int) error {
	refused, err := c.envelope(number)
	if err != nil {
		return err
	}
	if refused != "" {
		w.codes[refused]++
		return c.command("RSET")
	}
	dot, err := c.content(ctx)
	if err != nil {
		return err
	}
	code, text, err := c.reply()
	if err != nil {
		return err
	}
	w.took = append(w.took, time.Since(dot))
	w.codes[code]++
	if k := strings.LastIndexByte(text, ' '); code == "250" && k > 0 {
		w.lastID = text[k+1:]
	}
	return nil
}

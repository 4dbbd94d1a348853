package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"mailweir/filter"
	"mailweir/internal/breaker"
	"mailweir/metrics"
)

// Options configure a Check.
type Options struct {
	Scale
	Asker      Asker
	Timeout    time.Duration // of one question, waiting for a slot included
	MaxSize    int64         // octets of a message; longer ones are not shown to it
	Concurrent int           // messages that it has at once
	Metrics    *Metrics      // nil: none
	Log        *slog.Logger  // nil: none
}

// Failures in a row that open the breaker, and how often an engine that is down
// is probed. Mail must flow again within 5 s of its return.
const (
	failures   = 5
	probeDown  = time.Second
	probeEvery = 30 * time.Second
	probeLimit = 3 * time.Second
)

// Check asks one engine. Who makes it keeps Watch going, or a breaker that is open
// stays so.
type Check struct {
	o       Options
	slots   chan struct{}
	breaker breaker.Breaker
	doubt   chan struct{} // a question failed
}

// NewCheck makes the check.
func NewCheck(o Options) *Check {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Check{
		o: o, slots: make(chan struct{}, o.Concurrent), doubt: make(chan struct{}, 1),
		breaker: breaker.Breaker{Limit: failures, Pause: probeDown},
	}
}

// Name implements filter.Check.
func (c *Check) Name() string { return c.o.Name }

// Run implements filter.Check. It waits for the whole message first.
func (c *Check) Run(ctx context.Context, tx *filter.Transaction) filter.Report {
	size, err := tx.Await(ctx)
	if err != nil {
		return filter.Report{State: filter.Error, Cause: err}
	}
	if size > c.o.MaxSize {
		c.o.Metrics.asked(c.o.Name, "skipped")
		return filter.Report{State: filter.Skipped, Cause: fmt.Errorf("the message has more than %d octets", c.o.MaxSize)}
	}
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	a, err := c.admitted(ctx, &Message{
		Client: tx.Client, Envelope: tx.Envelope, Header: tx.Header, Size: size,
		Open: func() io.Reader { return tx.Follow(ctx) },
	})
	state := stateOf(ctx, err)
	c.o.Metrics.asked(c.o.Name, resultOf(state, err))
	if err != nil {
		return filter.Report{State: state, Cause: err}
	}
	return filter.Report{State: filter.OK, Symbols: c.o.Symbols(a)}
}

// admitted asks when the breaker and a slot allow it.
func (c *Check) admitted(ctx context.Context, m *Message) (Answer, error) {
	if c.breaker.IsOpen() {
		return Answer{}, ErrSuspended
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return Answer{}, ErrBusy
	}
	defer func() { <-c.slots }()
	a, err := c.o.Asker.Ask(ctx, m)
	if !errors.Is(ctx.Err(), context.Canceled) { // else the client went away
		c.record(err)
	}
	return a, err
}

// record tells the breaker how a question ended. An engine that refuses to judge
// is not down.
func (c *Check) record(err error) {
	if err == nil || errors.Is(err, ErrRefused) {
		if c.breaker.Good() {
			c.o.Log.Info("engine answers again", "engine", c.o.Name)
		}
		return
	}
	select {
	case c.doubt <- struct{}{}: // Watch finds out more
	default:
	}
	if c.breaker.Bad(time.Now()) {
		c.o.Log.Error("engine keeps failing: not asked until a probe succeeds", "engine", c.o.Name, "error", err)
	}
}

func stateOf(ctx context.Context, err error) filter.State {
	var timeout net.Error
	switch {
	case err == nil:
		return filter.OK
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, ErrBusy), errors.As(err, &timeout) && timeout.Timeout():
		return filter.Timeout
	}
	return filter.Error
}

// Probe asks about a message of ours, past breaker and slots.
func (c *Check) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, max(probeLimit, c.o.Timeout))
	defer cancel()
	_, err := c.o.Asker.Ask(ctx, probe())
	if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		c.record(err)
	}
	return err
}

// Watch probes the engine until ctx ends: at once, every 30 s, when a question
// fails, and every second while it is down. What it finds goes to the metrics,
// to ready as a part of the engine's name, and at changes to the log.
func (c *Check) Watch(ctx context.Context, ready *metrics.Readiness) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	known, down := false, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.doubt:
			if down {
				continue // it is asked every second anyway
			}
		case <-timer.C:
		}
		err := c.Probe(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, ErrRefused) {
			err = nil
		}
		if known, down = c.report(ready, err, known, down), err != nil; down || c.breaker.IsOpen() {
			timer.Reset(probeDown)
		} else {
			timer.Reset(probeEvery)
		}
	}
}

// report says what a probe found; to the log only what has changed.
func (c *Check) report(ready *metrics.Readiness, err error, known, down bool) bool {
	c.o.Metrics.health(c.o.Name, err == nil)
	changed := !known || down != (err != nil)
	switch {
	case err != nil:
		ready.Set(c.o.Name, metrics.Degraded, err.Error())
		if changed {
			c.o.Log.Error("engine is down", "engine", c.o.Name, "error", err)
		}
	default:
		ready.Set(c.o.Name, metrics.OK, "")
		if changed {
			c.o.Log.Info("engine is up", "engine", c.o.Name)
		}
	}
	return true
}

package clamav

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mailweir/metrics"
)

const (
	// probeEvery is how often a healthy clamd is probed, and probeDown a dead
	// one: mail must flow again within 5 s of its return.
	probeEvery = 30 * time.Second
	probeDown  = time.Second

	probeText      = "Mailweir asks whether scans are answered.\r\n"
	versionCommand = "zVERSION\x00"
)

// Probe scans a few octets, past breaker and slots, and reports why that did
// not work. It is the only kind of health question that means anything: PING
// is answered while scans hang.
func (c *Client) Probe(ctx context.Context) error {
	v, err := c.probe(ctx, []byte(probeText))
	if err == nil && !v.Clean {
		err = fmt.Errorf("%w: the probe is a virus: %q", ErrReply, printable(v.Signature))
	}
	c.record(err)
	return err
}

// probe scans data apart from the mail: own time-out, no slot, no breaker, no
// count.
func (c *Client) probe(ctx context.Context, data []byte) (Verdict, error) {
	s := newStream(bytes.NewReader(data))
	defer s.release()
	if err := s.fill(); err != nil {
		return Verdict{}, err
	}
	return c.exchange(ctx, s, time.Now().Add(c.o.ProbeTimeout))
}

// Version asks clamd for the versions of engine and signature database, such
// as "ClamAV 1.4.6/27817/Fri Nov 20 09:21:11 2026".
func (c *Client) Version(ctx context.Context) (string, error) {
	deadline := time.Now().Add(c.o.ProbeTimeout)
	conn, err := c.dial(ctx, deadline)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", broken(err)
	}
	if _, err := conn.Write([]byte(versionCommand)); err != nil {
		return "", broken(err)
	}
	b, err := readUntilNUL(conn)
	if err != nil {
		return "", err
	}
	version := printable(string(b))
	if !strings.HasPrefix(version, "ClamAV ") {
		return "", unexpected(b)
	}
	return version, nil
}

// DatabaseVersion is what the last probe of Run learned from Version; "" before
// it did.
func (c *Client) DatabaseVersion() string {
	if v := c.version.Load(); v != nil {
		return *v
	}
	return ""
}

// Run probes clamd until ctx ends: at once, every 30 seconds, when a scan fails,
// and every second while it is down. What it finds goes to the metrics, to ready as the part
// "clamav" (degraded, never failed: the policy has an answer for mail that is
// not scanned), and at changes to the log.
func (c *Client) Run(ctx context.Context, ready *metrics.Readiness) {
	h := health{client: c, ready: ready}
	defer h.wg.Wait()
	c.o.Metrics.breaker(c.breaker.IsOpen()) // a reload makes a new Client on the same metrics
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.doubt:
			if h.down {
				continue // it is asked every second anyway
			}
		case <-timer.C:
		}
		err := c.Probe(ctx)
		if ctx.Err() != nil {
			return
		}
		h.report(ctx, err)
		if err == nil && !c.breaker.IsOpen() {
			timer.Reset(probeEvery)
		} else {
			timer.Reset(probeDown)
		}
	}
}

// health remembers the last probe, so that only changes are logged.
type health struct {
	client      *Client
	ready       *metrics.Readiness
	known, down bool
	wg          sync.WaitGroup
	finding     atomic.Bool // its limits are looked for
	found       string      // the version that they were found for
}

func (h *health) report(ctx context.Context, err error) {
	c := h.client
	changed := !h.known || h.down != (err != nil)
	h.known, h.down = true, err != nil
	c.o.Metrics.health(err == nil)
	if err != nil {
		h.ready.Set("clamav", metrics.Degraded, printable(err.Error()))
		if changed {
			c.o.Logger.Warn("virus scanner is down", "address", c.o.Address, "error", err)
		}
		return
	}
	if v, verr := c.Version(ctx); verr == nil {
		c.version.Store(&v)
	}
	h.sayReady()
	if v := c.DatabaseVersion(); c.o.MaxMessage > 0 && (v != h.found || changed) && h.finding.CompareAndSwap(false, true) {
		h.found = v
		h.wg.Go(func() {
			defer h.finding.Store(false)
			h.limits(ctx)
		})
	}
	if changed {
		c.o.Logger.Info("virus scanner is up", "address", c.o.Address, "version", c.DatabaseVersion())
	}
}

// sayReady says that scans are answered, and what clamd does not look at.
func (h *health) sayReady() {
	if text := h.client.limits.Load(); text != nil && *text != "" {
		h.ready.Set("clamav", metrics.Degraded, *text)
		return
	}
	h.ready.Set("clamav", metrics.OK, "")
}

// limits finds clamd's limits and says those that are below ours. It runs beside
// the probes, which must not wait for it.
func (h *health) limits(ctx context.Context) {
	c := h.client
	list, err := c.findLimits(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.o.Logger.Warn("the virus scanner's limits could not be found out", "error", err)
		}
		return
	}
	text := limitsText(list)
	old := c.limits.Swap(&text)
	c.o.Metrics.limits(list)
	h.sayReady()
	if old != nil && *old == text {
		return
	}
	if text == "" {
		c.o.Logger.Info("virus scanner looks at all that can come", "address", c.o.Address)
		return
	}
	c.o.Logger.Warn("virus scanner does not look at all that can come", "address", c.o.Address, "limits", text)
}

package clamav

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"mailweir/internal/breaker"
)

// Defaults of Options.
const (
	DefaultMaxConcurrent = 10 // clamd's MaxThreads; more would only queue there
	DefaultTimeout       = 20 * time.Second
	DefaultDialTimeout   = 5 * time.Second
	DefaultProbeTimeout  = 3 * time.Second
	DefaultFailures      = 5
	DefaultPause         = 2 * time.Second
)

// Options configure a Client; zero values take the defaults.
type Options struct {
	Address string // "unix:/path" or "host:port"
	// MaxConcurrent bounds the scans that run at once. The others wait.
	MaxConcurrent int
	// Timeout is what one scan may take of the scanner's time: waiting for a
	// slot, connecting, writing, the answer. What the source of the stream
	// takes is not counted; its end is the caller's context. The default is less
	// than the 30 s after which many clients give up: with a scanner that hangs,
	// they get our answer, and not a broken connection.
	Timeout      time.Duration
	DialTimeout  time.Duration
	ProbeTimeout time.Duration
	// MaxMessage is the largest message that there can be, in octets: Run finds out
	// whether clamd looks at all of one. 0: it does not ask.
	MaxMessage int64
	// Failures in a row open the breaker; every Pause one probe tries again.
	Failures int
	Pause    time.Duration

	Metrics *Metrics     // nil: none
	Logger  *slog.Logger // nil: none
	// Dial replaces the network; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client scans streams with one clamd. It is safe for concurrent use.
type Client struct {
	o                Options
	network, address string
	slots            chan struct{}
	doubt            chan struct{} // a scan failed: clamd may be down
	breaker          breaker.Breaker
	version          atomic.Pointer[string]
	cache            cache
	limits           atomic.Pointer[string] // what clamd does not look at
}

// New makes a client. It does not connect: a clamd that is missing is found by
// the first probe or scan.
func New(o Options) (*Client, error) {
	network, address, err := SplitAddress(o.Address)
	if err != nil {
		return nil, err
	}
	setDefaults(&o)
	return &Client{
		o: o, network: network, address: address,
		slots:   make(chan struct{}, o.MaxConcurrent),
		doubt:   make(chan struct{}, 1),
		breaker: breaker.Breaker{Limit: o.Failures, Pause: o.Pause},
	}, nil
}

func setDefaults(o *Options) {
	if o.MaxConcurrent <= 0 {
		o.MaxConcurrent = DefaultMaxConcurrent
	}
	if o.Failures <= 0 {
		o.Failures = DefaultFailures
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&o.Timeout, DefaultTimeout},
		{&o.DialTimeout, DefaultDialTimeout},
		{&o.ProbeTimeout, DefaultProbeTimeout},
		{&o.Pause, DefaultPause},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
}

// SplitAddress reads the two forms of an address and gives what net.Dial takes.
func SplitAddress(s string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return "", "", fmt.Errorf("clamav: address %q: the path of a socket must be absolute", s)
		}
		return "unix", path, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || port == "" {
		return "", "", fmt.Errorf("clamav: address %q: want unix:/path or host:port", s)
	}
	return "tcp", s, nil
}

// Scan sends r to clamd and gives its verdict. With an error there is none: the
// stream was not judged, whatever the reason. When ctx ends, Scan returns as
// soon as a Read of r that is in progress does.
func (c *Client) Scan(ctx context.Context, r io.Reader) (Verdict, error) {
	s := newStream(r)
	defer s.release()
	// The first chunk first: a slow sender holds neither slot nor connection.
	if err := s.fill(); err != nil {
		return Verdict{}, c.done(Verdict{}, err)
	}
	v, err := c.admitted(ctx, s)
	return v, c.done(v, err)
}

// scanContent is Scan for a part of a message, whose verdict may be remembered.
// The message itself is always sent: a scanner that is dead must not go
// unnoticed because all the parts are known.
func (c *Client) scanContent(ctx context.Context, r io.Reader) (Verdict, error) {
	s := newStream(r)
	defer s.release()
	if err := s.fill(); err != nil {
		return Verdict{}, c.done(Verdict{}, err)
	}
	if !s.last {
		v, err := c.admitted(ctx, s)
		return v, c.done(v, err)
	}
	version, sum := c.DatabaseVersion(), sha256.Sum256(s.data())
	if v, ok := c.cache.get(version, sum); ok {
		c.o.Metrics.remembered()
		return v, nil
	}
	v, err := c.admitted(ctx, s)
	if err == nil {
		c.cache.put(version, sum, v)
	}
	return v, c.done(v, err)
}

// admitted scans once the breaker and a slot allow it.
func (c *Client) admitted(ctx context.Context, s *stream) (Verdict, error) {
	if err := c.permitted(ctx); err != nil {
		return Verdict{}, err
	}
	start := time.Now()
	defer func() { c.o.Metrics.took(time.Since(start)) }()
	deadline := start.Add(c.o.Timeout)
	if err := c.acquire(ctx, deadline); err != nil {
		return Verdict{}, err
	}
	defer func() { <-c.slots }()
	c.o.Metrics.active(1)
	defer c.o.Metrics.active(-1)
	v, err := c.exchange(ctx, s, deadline)
	c.record(err)
	return v, err
}

func (c *Client) permitted(ctx context.Context) error {
	switch c.breaker.Ask(time.Now()) {
	case breaker.Pass:
		return nil
	case breaker.Try:
		if err := c.Probe(ctx); err == nil {
			return nil
		}
	}
	return ErrSuspended
}

// acquire waits for a slot.
func (c *Client) acquire(ctx context.Context, deadline time.Time) error {
	select {
	case c.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return ErrBusy
	case <-ctx.Done():
		return abandoned(ctx)
	}
}

// exchange is one connection from dial to close. The end of ctx closes it,
// which ends every blocked read and write at once.
func (c *Client) exchange(ctx context.Context, s *stream, deadline time.Time) (Verdict, error) {
	conn, err := c.dial(ctx, deadline)
	if err != nil {
		return Verdict{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	v, err := s.exchange(conn, deadline)
	if err != nil && ctx.Err() != nil && !errors.Is(err, ErrAborted) {
		return Verdict{}, abandoned(ctx)
	}
	return v, err
}

func (c *Client) dial(ctx context.Context, deadline time.Time) (net.Conn, error) {
	if soon := time.Now().Add(c.o.DialTimeout); soon.Before(deadline) {
		deadline = soon
	}
	dctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := c.o.Dial(dctx, c.network, c.address)
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, abandoned(ctx)
	}
	return nil, broken(err)
}

// abandoned is the error of a scan that the caller's context ended. A deadline
// that passed while clamd was waited for is clamd's failure all the same.
func abandoned(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrTimeout, context.Cause(ctx))
	}
	return fmt.Errorf("%w: %w", ErrAborted, context.Cause(ctx))
}

// record tells the breaker how an exchange ended, where that says something
// about clamd.
func (c *Client) record(err error) {
	switch {
	case errors.Is(err, ErrAborted):
	case err == nil, errors.Is(err, ErrOversize):
		if c.breaker.Good() {
			c.o.Metrics.breaker(false)
			c.o.Logger.Info("virus scanner answers again", "address", c.o.Address)
		}
	default:
		select {
		case c.doubt <- struct{}{}: // Run finds out more
		default:
		}
		if c.breaker.Bad(time.Now()) {
			c.o.Metrics.breaker(true)
			c.o.Logger.Error("virus scanner keeps failing: not asked until a probe succeeds",
				"address", c.o.Address, "error", err)
		}
	}
}

// done counts a scan and passes its error on.
func (c *Client) done(v Verdict, err error) error {
	c.o.Metrics.scanned(v, err)
	return err
}

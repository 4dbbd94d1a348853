package recipients

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"mailweir/mail"
)

// ProbeOptions make a Probe.
type ProbeOptions struct {
	Hostname string   // the argument of EHLO
	NextHops []string // host:port, asked in order until one answers
	// RequireTLS asks only over verified TLS: an address is not told to
	// whoever answers in the next hop's place.
	RequireTLS bool
	RootCAs    *x509.CertPool // for RequireTLS; nil: the system's

	Timeout     time.Duration // of one probe, all next hops together: 10 s
	Concurrency int           // probes at once; more wait, within their time-out: 4
	KnownFor    time.Duration // 24 h
	UnknownFor  time.Duration // 15 min: a new mailbox should not stay refused for long
	CacheSize   int           // recipients: 10,000

	// Dial replaces net.Dialer, for a private resolver or a test network.
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Logger *slog.Logger // nil: silent
}

// Probe asks the next hop with RCPT whether it would take a recipient, and
// remembers the answer. It never sends a message.
type Probe struct {
	o     ProbeOptions
	slots chan struct{}
	cache *cache
	group singleflight.Group
	tls   *tls.Config
	clear sync.Map // next hops that had no TLS: address to the time.Time until which they are not asked for it
}

// NewProbe makes a probe. It connects to nothing until the first Verify.
func NewProbe(o ProbeOptions) *Probe {
	o.Timeout = orDefault(o.Timeout, 10*time.Second)
	o.Concurrency = orDefault(o.Concurrency, 4)
	o.KnownFor = orDefault(o.KnownFor, 24*time.Hour)
	o.UnknownFor = orDefault(o.UnknownFor, 15*time.Minute)
	o.CacheSize = orDefault(o.CacheSize, 10_000)
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Probe{
		o: o, slots: make(chan struct{}, o.Concurrency), cache: newCache(o.CacheSize),
		tls: &tls.Config{RootCAs: o.RootCAs, InsecureSkipVerify: !o.RequireTLS},
	}
}

func orDefault[T int | time.Duration](v, byDefault T) T {
	if v <= 0 {
		return byDefault
	}
	return v
}

// Verify tells what the next hop says of p. Whoever asks about the same
// recipient at the same time shares one probe. Unavailable is not remembered.
func (p *Probe) Verify(ctx context.Context, rcpt mail.Path) Result {
	if rcpt.IsPostmaster() {
		return Known
	}
	if ctx.Err() != nil {
		return Unavailable
	}
	k := rcpt.Local() + "@" + mail.CanonicalDomain(rcpt.Domain())
	if r, ok := p.cache.get(k); ok {
		return r
	}
	// The probe does not end with the session that asked first: others wait
	// for it too. Its own time-out bounds it.
	ch := p.group.DoChan(k, func() (any, error) { return p.probe(rcpt, k), nil })
	select {
	case res := <-ch:
		return res.Val.(Result)
	case <-ctx.Done():
		return Unavailable
	}
}

func (p *Probe) probe(rcpt mail.Path, k string) Result {
	ctx, cancel := context.WithTimeout(context.Background(), p.o.Timeout)
	defer cancel()
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		p.o.Logger.Warn("recipient probe not made: too many at once")
		return Unavailable
	}
	for _, addr := range p.o.NextHops {
		r, err := p.ask(ctx, addr, rcpt)
		switch r {
		case Known:
			p.cache.put(k, r, p.o.KnownFor)
			return r
		case Unknown:
			p.cache.put(k, r, p.o.UnknownFor)
			// One that takes nothing from us at all says so here, too.
			p.o.Logger.Info("the next hop refuses a recipient", "next_hop", addr, "reply", codes(err))
			return r
		}
		p.o.Logger.Warn("recipient probe without an answer", "next_hop", addr, "error", err.Error())
	}
	return Unavailable
}

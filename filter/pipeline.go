package filter

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/internal/dns"
	"mailweir/mail"
)

// Group is a set of checks that run beside each other. Reports are merged in
// list order.
type Group []Check

// Chain is the order of the checks, by the moment that their input exists.
// cmd/gateway/chain.go fills it: there, and only there, stands the order.
type Chain struct {
	Connect Group // client address: from accept on
	Mail    Group // reverse-path: from MAIL on
	// Data are checks on the arriving data. Streamers work in line; the
	// others run beside the session and pull with Transaction.Follow.
	Data Group
	Done []Group // after the final dot, group after group
}

// Scorer weighs the findings by the rules. Implementations are immutable; a
// reload swaps in another.
type Scorer interface {
	// Class tells which of what has a Scope counts for a recipient: recipients
	// of one class get the same from Eval. "" where nothing with a Scope does,
	// which costs nothing where there is none.
	Class(f *Facts, rcpt mail.Path) string
	// Eval returns every symbol with its weight for recipients of a class:
	// those of f.Symbols, then the rules' own. It looks at f only, so that it
	// can be replayed.
	Eval(f *Facts, class string) []Symbol
	Hash() string
}

// Limits are the deadlines of the stages, and what a header section may hold.
type Limits struct {
	Connect, Mail, Done time.Duration // for each check, from its start
	Data                time.Duration // for each check that follows the data, from the final dot
	HeaderSection       int           // octets
}

// DefaultLimits: a check that asks DNS gets 20 s (RFC 7208 section 4.6.4), within
// the 20 s in all that dns.Clock gives to those of a message; a scanner may need
// minutes for a big archive, and the client waits ten for the reply (RFC 5321
// section 4.5.3.2.6).
func DefaultLimits() Limits {
	return Limits{
		Connect: 20 * time.Second, Mail: 20 * time.Second,
		Data: 5 * time.Minute, Done: 20 * time.Second,
		HeaderSection: 256 << 10,
	}
}

// Options configure a Pipeline.
type Options struct {
	Chain  Chain
	Scorer func() Scorer     // the rules in force now
	Off    map[string]string // checks that are switched off, and why
	Limits Limits
	Pool   *Pool
	// MaxListing is the highest score that DNSBL listings can sum up to. Where
	// it stays below a domain's reject threshold, RCPT need not wait for them.
	MaxListing float64
	Metrics    *Metrics
}

// Pipeline runs a chain. It is immutable; a reload makes a new one, and
// transactions under way finish on theirs.
type Pipeline struct {
	chain      Chain
	scorer     func() Scorer
	off        map[string]*run // of the checks that are switched off
	limits     Limits
	pool       *Pool
	maxListing float64
	m          *Metrics
	durations  map[ending]prometheus.Observer

	prefetchers     []Prefetcher     // those of chain.Done that are not switched off
	bodyPrefetchers []BodyPrefetcher // the same
	checks          int              // in chain
	early           bool             // some of chain.Mail is not switched off
}

// New makes a pipeline.
func New(o Options) *Pipeline {
	p := &Pipeline{
		chain: o.Chain, scorer: o.Scorer, off: make(map[string]*run, len(o.Off)), limits: o.Limits,
		pool: o.Pool, maxListing: o.MaxListing, m: o.Metrics,
	}
	for name, why := range o.Off {
		p.off[name] = &run{name: name, off: &CheckResult{Name: name, State: Skipped, Cause: why}}
	}
	p.durations = p.m.begin(o.Chain)
	p.checks = len(o.Chain.Connect) + len(o.Chain.Mail) + len(o.Chain.Data)
	for _, c := range o.Chain.Mail {
		_, off := p.off[c.Name()]
		p.early = p.early || !off
	}
	for _, g := range o.Chain.Done {
		p.checks += len(g)
		for _, c := range g {
			p.look(c)
		}
	}
	return p
}

// look keeps c where it can begin look-ups ahead of its turn.
func (p *Pipeline) look(c Check) {
	if _, off := p.off[c.Name()]; off {
		return
	}
	if pf, ok := c.(Prefetcher); ok {
		p.prefetchers = append(p.prefetchers, pf)
	}
	if pf, ok := c.(BodyPrefetcher); ok {
		p.bodyPrefetchers = append(p.bodyPrefetchers, pf)
	}
}

// RulesHash names the rules in force.
func (p *Pipeline) RulesHash() string { return p.scorer().Hash() }

// Connection is what the connect phase found out about a client: shared by all
// transactions of a session.
type Connection struct {
	p      *Pipeline
	client mail.Client
	clock  dns.Clock // of its own look-ups; each message has one that starts with what they took
	runs   []*run
	joined bool
}

// Connect starts the checks of the connect phase in the background. The caller
// ends them with Close. ctx is the session's.
func (p *Pipeline) Connect(ctx context.Context, client mail.Client) *Connection {
	c := &Connection{p: p, client: client}
	tx := &Transaction{Client: &c.client}
	ctx = c.clock.Early(ctx)
	for _, check := range p.chain.Connect {
		c.runs = append(c.runs, p.background(ctx, check, tx, p.limits.Connect))
	}
	return c
}

// join waits for the connect phase. Called by the session only.
func (c *Connection) join(ctx context.Context) {
	if c.joined {
		return
	}
	for _, r := range c.runs {
		r.end(ctx)
		c.p.observe(r)
	}
	c.joined = true
}

// Close ends what still runs, and waits for it.
func (c *Connection) Close() {
	for _, r := range c.runs {
		r.abort()
	}
}

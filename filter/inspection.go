package filter

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mailweir/internal/dkimcore"
	"mailweir/internal/dns"
	"mailweir/mail"
)

// Inspection is the pipeline at work on one transaction, from MAIL on. One
// goroutine, the session's, calls its methods; Close must end it.
type Inspection struct {
	p     *Pipeline
	conn  *Connection
	ctx   context.Context
	clock *dns.Clock
	begin time.Time

	client  mail.Client
	tx      Transaction
	facts   Facts
	arrival arrival
	runs    []*run // room for those of all phases
	mail    []*run
	data    []*run
	head    []byte // the header section so far
	header  mail.Header
	bodies  dkimcore.Bodies
	size    int64
	closed  bool
}

// ErrHeaderTooLarge is returned by Write when the header section is.
var ErrHeaderTooLarge = errors.New("filter: header section too large")

// Begin starts the checks of the mail phase. env is read until Close; the
// session adds recipients to it meanwhile. client is complete: HELO is known.
func (c *Connection) Begin(ctx context.Context, client mail.Client, env *mail.Envelope) *Inspection {
	i := &Inspection{p: c.p, conn: c, clock: c.clock.Message(), begin: time.Now(), client: client}
	i.ctx = i.clock.Context(ctx)
	i.tx = Transaction{Client: &i.client, Envelope: env, arrival: &i.arrival}
	i.runs = make([]*run, 0, c.p.checks)
	tx := &i.tx
	if c.p.early {
		// The session appends recipients while they run, and sets what comes later.
		view, envelope := i.tx, *env
		view.Envelope = &envelope
		tx = &view
		ctx = i.clock.Early(ctx)
	}
	i.mail = i.phase(len(c.p.chain.Mail))
	for k, check := range c.p.chain.Mail {
		i.mail[k] = c.p.background(ctx, check, tx, c.p.limits.Mail)
	}
	return i
}

// phase is room for the runs of n checks.
func (i *Inspection) phase(n int) []*run {
	begin := len(i.runs)
	i.runs = i.runs[:begin+n]
	return i.runs[begin:]
}

// ClientAddr is the client's address; the zero Addr when it is not known.
func (i *Inspection) ClientAddr() netip.Addr { return i.client.Addr }

// Listed decides, at RCPT, on the DNSBLs alone: a client that they reject is
// refused before any data. It waits for them only where their scores could
// reach the reject threshold.
func (i *Inspection) Listed(p *DomainPolicy) (Verdict, bool) {
	if p.TagMode || i.client.Own || i.p.maxListing < p.Reject {
		return Verdict{}, false
	}
	i.conn.join(i.ctx)
	var f Facts
	for _, r := range i.conn.runs {
		if r.report.Set != nil {
			r.report.Set(&f)
		}
	}
	return decideListed(f.Listings, p)
}

// Receive tells where the message's bytes will be kept: Write is told of them
// after they are there.
func (i *Inspection) Receive(src io.ReaderAt) { i.arrival.src = src }

// Write takes the next bytes of the message, as received. It fails only with
// ErrHeaderTooLarge.
func (i *Inspection) Write(b []byte) error {
	i.size += int64(len(b))
	i.arrival.advance(len(b))
	if i.tx.Header == nil {
		rest, complete := i.collectHead(b)
		if len(i.head) > i.p.limits.HeaderSection {
			return ErrHeaderTooLarge
		}
		if !complete {
			return nil
		}
		i.startData()
		b = rest
	}
	if len(b) > 0 {
		for _, r := range i.data {
			r.write(b)
		}
	}
	return nil
}

// collectHead appends to head up to the end of the header section, which may
// be split anywhere, and returns what follows it.
func (i *Inspection) collectHead(b []byte) (rest []byte, complete bool) {
	old := len(i.head)
	if old == 0 {
		n, ok := mail.HeaderLength(b)
		i.head = append(make([]byte, 0, n), b[:n]...)
		return b[n:], ok
	}
	// Only the last three octets of what was there can begin the CRLFCRLF.
	i.head = append(i.head, b...)
	from := max(0, old-3)
	if bytes.HasPrefix(i.head, []byte("\r\n")) {
		i.head = i.head[:2]
		return b[2-old:], true
	}
	j := bytes.Index(i.head[from:], []byte("\r\n\r\n"))
	if j < 0 {
		return nil, false
	}
	n := from + j + 4
	i.head = i.head[:n]
	return b[n-old:], true
}

// startData begins the data phase: the header section is complete.
func (i *Inspection) startData() {
	i.header = mail.ParseHeader(i.head)
	i.tx.Header, i.tx.Bodies = &i.header, &i.bodies
	i.data = i.phase(len(i.p.chain.Data))
	for k, check := range i.p.chain.Data {
		if s, ok := check.(Streamer); ok {
			i.data[k] = i.p.start(i.ctx, s, &i.tx)
			continue
		}
		i.data[k] = i.p.follow(i.ctx, check, &i.tx)
	}
	for _, pf := range i.p.prefetchers {
		pf.Prefetch(&i.tx)
	}
}

// Judgement is all that was found out about a message.
type Judgement struct {
	Facts   *Facts
	Header  *mail.Header
	Symbols []Symbol // weighed, in order, for the first recipient
	Rules   string   // the hash of the rules that weighed them

	Views [][]Symbol // by class of recipients; the first one is Symbols
	of    []int      // recipient -> view; nil when there is one view
	one   [1][]Symbol
}

// View is the number of what was weighed for recipient k: recipients with the
// same number share it.
func (j *Judgement) View(k int) int {
	if j.of == nil {
		return 0
	}
	return j.of[k]
}

// For is what was weighed for recipient k.
func (j *Judgement) For(k int) []Symbol {
	return j.Views[j.View(k)]
}

// With is the judgement with one finding more, for all recipients.
func (j *Judgement) With(s Symbol) *Judgement {
	more := *j
	more.Views = make([][]Symbol, len(j.Views))
	for n, view := range j.Views {
		more.Views[n] = append(slices.Clip(view), s)
	}
	more.Symbols = more.Views[0]
	return &more
}

// Weigh has s weigh facts for recipients, once for each class of them.
func Weigh(s Scorer, f *Facts, rcpts []mail.Recipient) *Judgement {
	j := &Judgement{Facts: f, Rules: s.Hash()}
	j.Views = j.one[:0] // mostly there is one
	var few [4]string   // without an allocation
	classes := few[:0]
	for k := range rcpts {
		class := s.Class(f, rcpts[k].Path)
		n := slices.Index(classes, class)
		if n < 0 {
			n = len(classes)
			classes = append(classes, class)
			j.Views = append(j.Views, s.Eval(f, class))
		}
		if n > 0 && j.of == nil {
			j.of = make([]int, len(rcpts))
		}
		if n > 0 {
			j.of[k] = n
		}
	}
	if len(j.Views) == 0 {
		j.Views = [][]Symbol{s.Eval(f, "")}
	}
	j.Symbols = j.Views[0]
	return j
}

// Judge joins all checks after the final dot and weighs what they found, each
// within its own limit. content is the whole message, as written.
func (i *Inspection) Judge(content mail.Content) *Judgement {
	if i.tx.Header == nil { // a message without an empty line is all header
		i.startData()
	}
	i.arrival.finish(io.EOF)
	ctx, streams := i.ctx, i.ctx
	for _, r := range i.data {
		if r.cancel != nil {
			defer r.expire(i.p.limits.Data)()
		}
		if r.stream != nil && streams == ctx {
			var cancel context.CancelFunc
			streams, cancel = context.WithTimeout(ctx, i.p.limits.Data)
			defer cancel()
		}
	}
	i.tx.Content = content
	i.fillFacts()
	i.prefetchBody(streams)
	i.conn.join(ctx)
	i.merge(i.conn.runs)
	i.join(ctx, i.mail)
	i.join(streams, i.data)
	i.tx.Facts = &i.facts
	for _, g := range i.p.chain.Done {
		i.join(ctx, i.runGroup(ctx, g))
	}
	j := Weigh(i.p.scorer(), &i.facts, i.tx.Envelope.Recipients)
	j.Header = &i.header
	i.countSymbols(j)
	return j
}

// prefetchBody ends the streams that need not wait, and begins the look-ups that
// depend on them, before the session waits for others.
func (i *Inspection) prefetchBody(ctx context.Context) {
	if len(i.p.bodyPrefetchers) == 0 {
		return
	}
	var f Facts
	for _, r := range i.data {
		if _, ready := r.stream.(Ready); !ready {
			continue
		}
		if r.end(ctx); r.report.Set != nil {
			r.report.Set(&f)
		}
	}
	for _, pf := range i.p.bodyPrefetchers {
		pf.PrefetchBody(&i.tx, &f)
	}
}

// countSymbols counts each symbol once a message.
func (i *Inspection) countSymbols(j *Judgement) {
	for n, view := range j.Views {
		for _, s := range view {
			seen := slices.ContainsFunc(j.Views[:n], func(earlier []Symbol) bool {
				return slices.ContainsFunc(earlier, func(e Symbol) bool { return e.Name == s.Name })
			})
			if !seen {
				i.p.m.symbol(s.Name)
			}
		}
	}
}

// runGroup runs a group of the last phase: the first check in line, the others
// beside it, so that a group of one costs no goroutine.
func (i *Inspection) runGroup(ctx context.Context, g Group) []*run {
	runs := i.phase(len(g))
	for k := len(g) - 1; k > 0; k-- {
		runs[k] = i.p.background(ctx, g[k], &i.tx, i.p.limits.Done)
	}
	if len(g) > 0 {
		runs[0] = i.p.inline(ctx, g[0], &i.tx, i.p.limits.Done)
	}
	return runs
}

func (i *Inspection) join(ctx context.Context, runs []*run) {
	for _, r := range runs {
		r.end(ctx)
		i.p.observe(r)
	}
	i.merge(runs)
}

// merge adds reports to the facts, in list order.
func (i *Inspection) merge(runs []*run) {
	for _, r := range runs {
		if r.off != nil {
			i.facts.Checks = append(i.facts.Checks, *r.off)
			continue
		}
		rep := &r.report
		result := CheckResult{
			Name: r.name, State: rep.State,
			Start: max(0, r.begin.Sub(i.begin).Microseconds()), Duration: r.took.Microseconds(),
		}
		if rep.State == "" { // a check that forgot to say must not pass for one that ran
			result.State = Error
		}
		if rep.Cause != nil {
			result.Cause = rep.Cause.Error()
		}
		i.facts.Checks = append(i.facts.Checks, result)
		i.facts.Symbols = append(i.facts.Symbols, rep.Symbols...)
		if s := StateSymbol(r.name, result.State); s != "" {
			i.facts.Symbols = append(i.facts.Symbols, Symbol{Name: s, Detail: Printable(result.Cause)})
		}
		i.facts.Auth = append(i.facts.Auth, rep.Auth...)
		if rep.Set != nil {
			rep.Set(&i.facts)
		}
	}
}

func (i *Inspection) fillFacts() {
	env := i.tx.Envelope
	f := &i.facts
	f.Version, f.ID, f.Received, f.Size = FactsVersion, env.ID, env.Arrived, i.size
	f.Client = ClientFacts{
		Name: i.client.Name, Helo: i.client.Helo, ESMTP: i.client.ESMTP,
		TLS: i.client.TLS.Version, Own: i.client.Own,
	}
	if i.client.Addr.IsValid() {
		f.Client.Address = i.client.Addr.String()
	}
	f.Envelope = EnvelopeFacts{
		From:       string(env.ReversePath),
		FromDomain: mail.CanonicalDomain(env.ReversePath.Domain()),
		UTF8:       env.UTF8,
	}
	for _, r := range env.Recipients {
		f.Envelope.Recipients = append(f.Envelope.Recipients, string(r.Path))
	}
	f.Checks = make([]CheckResult, 0, i.p.checks)
}

// Close ends what still runs and waits until nothing reads the message any
// more. It is idempotent.
func (i *Inspection) Close() {
	if i.closed {
		return
	}
	i.closed = true
	i.arrival.finish(errAborted)
	for _, r := range i.mail {
		r.abort()
	}
	for _, r := range i.data {
		r.abort()
	}
}

// Printable keeps evidence to what a log line and a header may hold.
func Printable(s string) string {
	if len(s) > MaxFact {
		s = strings.ToValidUTF8(s[:MaxFact], "")
	}
	b := []byte(s)
	for k, c := range b {
		if c < ' ' || c == 0x7f {
			b[k] = ' '
		}
	}
	return string(b)
}

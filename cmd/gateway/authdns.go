package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"mailweir/internal/dns"
)

// recorder notes every question and what came of it: in its own log, or in
// that of the context, where several messages are judged at once.
type recorder struct {
	src  dns.Source
	step string // who asks through it
	log  *queryLog
}

// queryLog is the questions of one trace or message.
type queryLog struct {
	mu      sync.Mutex
	queries []*query
}

type queryLogKey struct{}

// logQueries makes recorders without a log of their own note in l.
func logQueries(ctx context.Context, l *queryLog) context.Context {
	return context.WithValue(ctx, queryLogKey{}, l)
}

// query is one question, in the order in which they were asked.
type query struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Answers []string `json:"answers"`
	Error   string   `json:"error,omitempty"`
	DNSSEC  bool     `json:"dnssec"` // validated by a server that is trusted to do so
	step    string
}

var _ dns.Source = (*recorder)(nil)

// answers are those for a name.
func (l *queryLog) answers(typ, name string) []string {
	for _, q := range l.queries {
		if q.Type == typ && strings.EqualFold(q.Name, name) {
			return q.Answers
		}
	}
	return nil
}

// txt is the first answer for name that starts with prefix.
func (l *queryLog) txt(name, prefix string) string {
	for _, a := range l.answers("TXT", name) {
		if strings.HasPrefix(strings.ToLower(a), prefix) {
			return a
		}
	}
	return ""
}

func (r *recorder) LookupTXT(ctx context.Context, name string) ([]string, error) {
	ctx, answer := dns.Observe(ctx)
	v, err := r.src.LookupTXT(ctx, name)
	return v, record(ctx, r, "TXT", answer, name, v, err, printable)
}

func (r *recorder) LookupA(ctx context.Context, name string) ([]netip.Addr, error) {
	ctx, answer := dns.Observe(ctx)
	v, err := r.src.LookupA(ctx, name)
	return v, record(ctx, r, "A", answer, name, v, err, netip.Addr.String)
}

func (r *recorder) LookupAAAA(ctx context.Context, name string) ([]netip.Addr, error) {
	ctx, answer := dns.Observe(ctx)
	v, err := r.src.LookupAAAA(ctx, name)
	return v, record(ctx, r, "AAAA", answer, name, v, err, netip.Addr.String)
}

func (r *recorder) LookupMX(ctx context.Context, name string) ([]dns.MX, error) {
	ctx, answer := dns.Observe(ctx)
	v, err := r.src.LookupMX(ctx, name)
	return v, record(ctx, r, "MX", answer, name, v, err, func(m dns.MX) string { return fmt.Sprintf("%d %s", m.Preference, printable(m.Host)) })
}

func (r *recorder) LookupPTR(ctx context.Context, addr netip.Addr) ([]string, error) {
	ctx, answer := dns.Observe(ctx)
	v, err := r.src.LookupPTR(ctx, addr)
	return v, record(ctx, r, "PTR", answer, addr.String(), v, err, printable)
}

// record keeps a question and returns err, so that it can stand in a return.
func record[T any](ctx context.Context, r *recorder, typ string, answer *dns.Validated, name string, answers []T, err error, show func(T) string) error {
	q := &query{Type: typ, Name: printable(name), Answers: []string{}, DNSSEC: answer.All(), step: r.step}
	for _, a := range answers {
		q.Answers = append(q.Answers, show(a))
	}
	switch {
	case dns.IsNotFound(err):
		q.Error = "not found"
	case err != nil:
		q.Error = err.Error()
	}
	log := r.log
	if log == nil {
		log, _ = ctx.Value(queryLogKey{}).(*queryLog)
	}
	if log == nil {
		return err
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	log.queries = append(log.queries, q)
	return err
}

// Prefetch begins a look-up whose answer will be asked for, and noted, later.
func (r *recorder) Prefetch(t dns.Type, name string) {
	if p, ok := r.src.(interface{ Prefetch(dns.Type, string) }); ok {
		p.Prefetch(t, name)
	}
}

// printable keeps a stranger's text from working on the terminal.
func printable(s string) string {
	quoted := strconv.QuoteToGraphic(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

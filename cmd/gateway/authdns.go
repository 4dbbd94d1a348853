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

// recorder notes every question and what came of it.
type recorder struct {
	src dns.Source

	mu      sync.Mutex
	queries []*query
}

// query is one question, in the order in which they were asked.
type query struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Answers []string `json:"answers"`
	Error   string   `json:"error,omitempty"`
	DNSSEC  bool     `json:"dnssec"` // validated by a server that is trusted to do so
}

var _ dns.Source = (*recorder)(nil)

// txt is the first answer for name that starts with prefix.
func (r *recorder) txt(name, prefix string) string {
	for _, q := range r.queries {
		if q.Type == "TXT" && strings.EqualFold(q.Name, name) {
			for _, a := range q.Answers {
				if strings.HasPrefix(strings.ToLower(a), prefix) {
					return a
				}
			}
		}
	}
	return ""
}

func (r *recorder) LookupTXT(ctx context.Context, name string) ([]string, error) {
	ctx, answer := dns.Observe(ctx)
	v, err := r.src.LookupTXT(ctx, name)
	return v, record(r, "TXT", answer, name, v, err, printable)
}

func (r *recorder) LookupA(ctx context.Context, name string) ([]netip.Addr, error) {
	ctx, answer := dns.Observe(ctx)
	v, err := r.src.LookupA(ctx, name)
	return v, record(r, "A", answer, name, v, err, netip.Addr.String)
}

func (r *recorder) LookupAAAA(ctx context.Context, name string) ([]netip.Addr, error) {
	ctx, answer := dns.Observe(ctx)
	v, err := r.src.LookupAAAA(ctx, name)
	return v, record(r, "AAAA", answer, name, v, err, netip.Addr.String)
}

func (r *recorder) LookupMX(ctx context.Context, name string) ([]dns.MX, error) {
	ctx, answer := dns.Observe(ctx)
	v, err := r.src.LookupMX(ctx, name)
	return v, record(r, "MX", answer, name, v, err, func(m dns.MX) string { return fmt.Sprintf("%d %s", m.Preference, printable(m.Host)) })
}

func (r *recorder) LookupPTR(ctx context.Context, addr netip.Addr) ([]string, error) {
	ctx, answer := dns.Observe(ctx)
	v, err := r.src.LookupPTR(ctx, addr)
	return v, record(r, "PTR", answer, addr.String(), v, err, printable)
}

// record keeps a question and returns err, so that it can stand in a return.
func record[T any](r *recorder, typ string, answer *dns.Validated, name string, answers []T, err error, show func(T) string) error {
	q := &query{Type: typ, Name: printable(name), Answers: []string{}, DNSSEC: answer.All()}
	for _, a := range answers {
		q.Answers = append(q.Answers, show(a))
	}
	switch {
	case dns.IsNotFound(err):
		q.Error = "not found"
	case err != nil:
		q.Error = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queries = append(r.queries, q)
	return err
}

// printable keeps a stranger's text from working on the terminal.
func printable(s string) string {
	quoted := strconv.QuoteToGraphic(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

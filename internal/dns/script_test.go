package dns

import (
	"context"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// script is a network without a network, for time under testing/synctest: it
// answers for each server by a function.
type script struct {
	mu    sync.Mutex
	asked []string // server of each query, in order
	reply map[string]func(ctx context.Context, q *query) (*wire.Msg, error)
}

func (s *script) exchange(ctx context.Context, srv *server, q *query) ([]byte, error) {
	s.mu.Lock()
	s.asked = append(s.asked, srv.addr)
	reply := s.reply[srv.addr]
	s.mu.Unlock()
	m, err := reply(ctx, q)
	if err != nil {
		return nil, err
	}
	m.Id = uint16(q.msg[0])<<8 | uint16(q.msg[1])
	return m.Pack()
}

func (s *script) set(addr string, f func(context.Context, *query) (*wire.Msg, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply[addr] = f
}

// count returns how often each server was asked, and forgets it.
func (s *script) count() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[string]int{}
	for _, a := range s.asked {
		n[a]++
	}
	s.asked = nil
	return n
}

func dead(ctx context.Context, _ *query) (*wire.Msg, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// records answers with records of a zone text and optional delay and SOA.
func records(t testing.TB, delay time.Duration, lines ...string) func(context.Context, *query) (*wire.Msg, error) {
	return func(ctx context.Context, q *query) (*wire.Msg, error) {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		m := message(t, q.key, lines...)
		return m, nil
	}
}

func message(t interface{ Error(...any) }, k key, lines ...string) *wire.Msg {
	m := new(wire.Msg)
	m.SetQuestion(wire.Fqdn(k.name), wireTypes[k.typ])
	m.Response = true
	for _, line := range lines {
		rr, err := wire.NewRR(line)
		if err != nil {
			t.Error(err)
			continue
		}
		switch rr.Header().Rrtype {
		case wire.TypeSOA, wire.TypeNS:
			m.Ns = append(m.Ns, rr)
		default:
			m.Answer = append(m.Answer, rr)
		}
	}
	return m
}

func scripted(t testing.TB, servers ...string) (*Resolver, *script) {
	for i := range servers {
		servers[i] += ":53"
	}
	r, err := New(Options{Servers: servers, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s := &script{reply: map[string]func(context.Context, *query) (*wire.Msg, error){}}
	r.exchange = s.exchange
	return r, s
}

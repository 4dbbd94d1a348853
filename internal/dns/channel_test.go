package dns

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// FuzzChannel gives any octets to what reads from a kept-open connection: the
// one who waits gets a reply that is his or an error, and never hangs.
func FuzzChannel(f *testing.F) {
	k := key{"x.example", TypeTXT}
	reply, err := message(f, k, `x.example. 60 TXT "here"`).Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte{0, byte(len(reply))}, reply...), true)
	f.Add([]byte{0, 3, 1, 2, 3}, false)
	f.Add([]byte{0xff, 0xff, 1}, false)
	m := NewMetrics(prometheus.NewRegistry())
	f.Fuzz(func(t *testing.T, octets []byte, takesID bool) {
		us, server := net.Pipe()
		c := newChannel(us, time.Second, m)
		q := newQuery(k, true)
		if takesID && len(octets) >= 4 {
			copy(octets[2:], q.msg[:2])
		}
		go func() {
			buf := make([]byte, 2+len(q.msg))
			_, _ = server.Read(buf)
			_, _ = server.Write(octets)
			_ = server.Close()
		}()
		go c.read()
		got, err := c.exchange(context.Background(), q)
		if err == nil && (!q.matches(got) || truncated(got)) {
			t.Errorf("took % x", got)
		}
		c.end(errClosed)
	})
}

// A connection that nobody uses is closed, one with a query on it is not.
func TestChannelIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		us, server := net.Pipe()
		c := newChannel(us, time.Hour, NewMetrics(prometheus.NewRegistry()))
		go c.read()
		ctx, cancel := context.WithTimeout(t.Context(), 3*channelIdle)
		defer cancel()
		go func() {
			buf := make([]byte, 512)
			for {
				if _, err := server.Read(buf); err != nil {
					return
				}
			}
		}()
		if _, err := c.exchange(ctx, newQuery(key{"x.example", TypeA}, true)); context.Cause(ctx) == nil || err == nil {
			t.Fatal("no time-out:", err)
		}
		if !c.usable() {
			t.Error("closed with a query on it")
		}
		time.Sleep(2*channelIdle + time.Second)
		if c.usable() {
			t.Error("still open")
		}
		if _, err := c.exchange(t.Context(), newQuery(key{"x.example", TypeA}, true)); err == nil {
			t.Error("a query on a closed connection")
		}
	})
}

// Queries of one connection never share an id.
func TestChannelIDs(t *testing.T) {
	us, server := net.Pipe()
	defer server.Close()
	c := newChannel(us, time.Second, NewMetrics(prometheus.NewRegistry()))
	defer c.end(errClosed)
	first := newQuery(key{"a.example", TypeA}, true)
	second := newQuery(key{"b.example", TypeA}, true)
	copy(second.msg, first.msg[:2])
	for _, q := range []*query{first, second} {
		if err := c.enter(&call{query: q, done: make(chan struct{})}); err != nil {
			t.Fatal(err)
		}
	}
	if first.id() == second.id() || len(c.waiting) != 2 {
		t.Errorf("ids %d and %d", first.id(), second.id())
	}
}

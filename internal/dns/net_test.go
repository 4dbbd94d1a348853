package dns_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"mailweir/internal/dns"
	"mailweir/internal/dns/dnstest"
)

// A lost datagram, an answer that does not fit, a server without EDNS, a late
// answer: all of them give the answer.
func TestRecovery(t *testing.T) {
	srv := dnstest.Run(t, `
		lost.example     TXT "here"
		truncate.example TXT "here"
		formerr.example  TXT "here"
		late.example     TXT "here"
		flaky.example    TXT "here"
		!drop     lost.example *1
		!truncate truncate.example
		!formerr  formerr.example
		!late     late.example 350ms
		!wrongid  flaky.example *1
	`)
	r := resolver(t, srv.Addr())
	for name, queries := range map[string]int{
		"lost.example": 2, "truncate.example": 2, "formerr.example": 2, "flaky.example": 2, "late.example": 3,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := r.LookupTXT(context.Background(), name)
			if err != nil || len(got) != 1 || got[0] != "here" {
				t.Errorf("%q, %v", got, err)
			}
			if n := srv.Count(name); n > queries {
				t.Errorf("%d queries", n)
			}
		})
	}
}

// What a record set does not fit into 1232 octets comes whole over TCP.
func TestLargeAnswer(t *testing.T) {
	zone := ""
	for range 60 {
		zone += `big.example TXT "` + longText + "\"\n"
	}
	srv := dnstest.Run(t, zone)
	r := resolver(t, srv.Addr())
	got, err := r.LookupTXT(context.Background(), "big.example")
	if err != nil || len(got) != 60 {
		t.Fatalf("%d records, %v", len(got), err)
	}
	q := srv.Queries()
	if len(q) != 2 || q[0].Net != "udp" || q[1].Net != "tcp" || q[0].EDNS != 1232 {
		t.Errorf("queries %+v", q)
	}
}

const longText = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"

// Ids and ports of queries are fresh: RFC 5452 section 9.2.
func TestIDsAndPorts(t *testing.T) {
	srv := dnstest.Run(t, "*.example A 192.0.2.1")
	r := resolver(t, srv.Addr())
	for i := range 40 {
		if _, err := r.LookupA(context.Background(), string(rune('a'+i%26))+string(rune('a'+i/26))+".example"); err != nil {
			t.Fatal(err)
		}
	}
	ids, ports, steps := map[uint16]bool{}, map[int]bool{}, map[uint16]bool{}
	var last uint16
	for _, q := range srv.Queries() {
		ids[q.ID], ports[q.Port], steps[q.ID-last] = true, true, true
		last = q.ID
	}
	if len(ids) < 38 || len(steps) < 38 || len(ports) < 20 {
		t.Errorf("%d ids, %d differences, %d ports of 40", len(ids), len(steps), len(ports))
	}
}

// The real network has a dead first server too: one that refuses the port, and
// one that says nothing.
func TestFailoverOnTheWire(t *testing.T) {
	silent := dnstest.Run(t, "!drop a.example\n!drop b.example\n!drop c.example")
	good := dnstest.Start(t, "*.example A 192.0.2.1")
	gone, err := dnstest.New("")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	r := resolver(t, gone.Addr(), silent.Addr(), good)
	for i, name := range []string{"a.example", "b.example", "c.example"} {
		start := time.Now()
		if _, err := r.LookupA(context.Background(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := time.Since(start); i > 0 && d > 90*time.Millisecond {
			t.Errorf("%s took %v", name, d)
		}
	}
	if n := silent.Count("c.example"); n != 0 {
		t.Errorf("the silent server was asked %d times for the last name", n)
	}
}

// Fresh asks again, and what it learns replaces what was cached.
func TestFresh(t *testing.T) {
	srv := dnstest.Run(t, "x.example A 192.0.2.1")
	r := resolver(t, srv.Addr())
	ctx := context.Background()
	if _, err := r.LookupA(ctx, "x.example"); err != nil {
		t.Fatal(err)
	}
	if err := srv.Replace("y.example A 192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.LookupA(ctx, "x.example"); err != nil {
		t.Error("not from the cache:", err)
	}
	if _, err := r.LookupA(dns.Fresh(ctx), "x.example"); !dns.IsNotFound(err) {
		t.Error("from the cache:", err)
	}
	if _, err := r.LookupA(ctx, "x.example"); !dns.IsNotFound(err) {
		t.Error("the cache has the old answer:", err)
	}
}

func BenchmarkCacheHit(b *testing.B) {
	r := resolver(b, dnstest.Start(b, records))
	ctx := context.Background()
	addr := netip.MustParseAddr("192.0.2.1")
	b.Run("TXT", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.LookupTXT(ctx, "example.org"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("NotFound", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.LookupA(ctx, "2.2.0.192.zen.example"); !dns.IsNotFound(err) {
				b.Fatal(err)
			}
		}
	})
	b.Run("PTR", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.LookupPTR(ctx, addr); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCacheMiss(b *testing.B) {
	r := resolver(b, dnstest.Start(b, "*.example 0 A 192.0.2.1"))
	ctx := dns.Fresh(context.Background())
	for b.Loop() {
		if _, err := r.LookupA(ctx, "x.example"); err != nil {
			b.Fatal(err)
		}
	}
}

// CachedA says what LookupA would say, or that it does not know.
func TestCachedA(t *testing.T) {
	r := resolver(t, dnstest.Start(t, records))
	ctx := context.Background()
	for _, name := range []string{"a.example.org", "A.example.org", "nx.example", ""} {
		_, want := r.LookupA(ctx, name)
		got, err := r.CachedA(name)
		if name == "" {
			want = dns.ErrNotCached
		}
		if !errors.Is(err, want) || err == nil && len(got) != 1 {
			t.Errorf("%q: %v %v, want %v", name, got, err, want)
		}
	}
	if _, err := r.CachedA("other.example"); !errors.Is(err, dns.ErrNotCached) {
		t.Error(err)
	}
	if _, err := r.LookupPTR(ctx, netip.Addr{}); !dns.IsNotFound(err) {
		t.Error(err)
	}
}

// A flood of forged replies does not hide the true one, and too large a flood
// ends the attempt instead of giving the forger more guesses.
func TestForgedReplies(t *testing.T) {
	for _, c := range []struct {
		forged int
		ok     bool
	}{{5, true}, {60, false}} {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { forge(pc, c.forged) })
		r := resolver(t, pc.LocalAddr().String())
		addrs, err := r.LookupA(context.Background(), "x.example")
		if (err == nil) != c.ok || err != nil && !dns.IsTemporary(err) {
			t.Errorf("%d forged: %v %v", c.forged, addrs, err)
		}
		for _, a := range addrs {
			if a != netip.MustParseAddr("192.0.2.1") {
				t.Errorf("forged %v was taken", a)
			}
		}
		_ = pc.Close()
		wg.Wait()
	}
}

// forge answers each query with replies that are wrong in one way each, and
// then with the true one.
func forge(pc net.PacketConn, n int) {
	buf := make([]byte, 2048)
	for {
		size, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		var q wire.Msg
		if q.Unpack(buf[:size]) != nil {
			return
		}
		for i := range n + 1 {
			m := new(wire.Msg).SetReply(&q)
			addr := "192.0.2.66"
			switch {
			case i == n:
				addr = "192.0.2.1"
			case i%4 == 0:
				m.Id++
			case i%4 == 1:
				m.Question[0].Name = "y.example."
			case i%4 == 2:
				m.Response = false
			default:
				m.Question = nil
			}
			rr, _ := wire.NewRR("x.example. 60 A " + addr)
			m.Answer = []wire.RR{rr}
			raw, _ := m.Pack()
			_, _ = pc.WriteTo(raw, from)
		}
	}
}

// Prefetch asks once and waits for nobody; who comes next shares the answer.
func TestPrefetch(t *testing.T) {
	srv := dnstest.Run(t, "x.example TXT \"here\"\n!late x.example 20ms")
	r := resolver(t, srv.Addr())
	start := time.Now()
	for range 3 {
		r.Prefetch(dns.TypeTXT, "X.example.")
		r.Prefetch(dns.TypeTXT, "not..a.name")
	}
	if d := time.Since(start); d > 15*time.Millisecond {
		t.Errorf("waited %v", d)
	}
	for range 2 {
		if got, err := r.LookupTXT(context.Background(), "x.example"); err != nil || len(got) != 1 {
			t.Errorf("%q %v", got, err)
		}
		r.Prefetch(dns.TypeTXT, "x.example")
	}
	if n := srv.Count("x.example"); n != 1 {
		t.Errorf("%d queries", n)
	}
	r.Close()
	r.Prefetch(dns.TypeTXT, "y.example")
}

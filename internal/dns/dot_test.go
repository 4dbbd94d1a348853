package dns_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"mailweir/internal/dns"
	"mailweir/internal/dns/dnstest"
)

func roots(t testing.TB, pem []byte) *x509.CertPool {
	t.Helper()
	pool, err := dns.LoadRoots(pem)
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

func secured(t testing.TB, o dns.Options) *dns.Resolver {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	r, err := dns.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// Everything goes over one connection, in messages that are all as long, and
// what is slow stands in nobody's way.
func TestTLS(t *testing.T) {
	srv := dnstest.Run(t, "*.example A 192.0.2.1\nslow.example A 192.0.2.1\n!late slow.example 300ms")
	d := srv.RunTLS(t)
	for _, name := range []string{"#" + dnstest.TLSName, ""} { // "": the certificate is for the address too
		r := secured(t, dns.Options{Servers: []string{"tls://" + d.Addr() + name}, Roots: roots(t, d.CA())})
		before := d.Connections()
		var wg sync.WaitGroup
		var slow time.Duration
		start := time.Now()
		wg.Go(func() {
			if _, err := r.LookupA(context.Background(), "slow.example"); err != nil {
				t.Error(err)
			}
			slow = time.Since(start)
		})
		var fast atomic.Int64
		for i := range 100 {
			wg.Go(func() {
				if _, err := r.LookupA(context.Background(), strings.Repeat("x", 1+i%60)+fmt.Sprint(i)+".example"); err != nil {
					t.Error(err)
				}
				fast.Add(int64(time.Since(start)))
			})
		}
		wg.Wait()
		if mean := time.Duration(fast.Load() / 100); slow < 300*time.Millisecond || mean > slow-100*time.Millisecond {
			t.Errorf("slow took %v, the others %v on average", slow, mean)
		}
		if n := d.Connections() - before; n != 1 {
			t.Errorf("%d connections", n)
		}
	}
	for _, q := range srv.Queries() {
		if q.Net != "tls" || q.Size%128 != 0 {
			t.Fatalf("query %+v", q)
		}
	}
}

// A certificate that is for somebody else, or signed by nobody we know, and a
// server that speaks no TLS: a temporary failure, and no query in clear text.
func TestTLSNoFallback(t *testing.T) {
	srv := dnstest.Run(t, "x.example A 192.0.2.1")
	d := srv.RunTLS(t)
	for what, o := range map[string]dns.Options{
		"name":     {Servers: []string{"tls://" + d.Addr() + "#other.test"}, Roots: roots(t, d.CA())},
		"issuer":   {Servers: []string{"tls://" + d.Addr() + "#" + dnstest.TLSName}},
		"no TLS":   {Servers: []string{"tls://" + srv.Addr() + "#" + dnstest.TLSName}, Roots: roots(t, d.CA())},
		"no reply": {Servers: []string{"tls://127.0.0.1:1#" + dnstest.TLSName}, Roots: roots(t, d.CA())},
	} {
		o.Timeout = 300 * time.Millisecond
		if a, err := secured(t, o).LookupA(context.Background(), "x.example"); !dns.IsTemporary(err) {
			t.Errorf("%s: %v %v", what, a, err)
		}
	}
	if q := srv.Queries(); len(q) > 0 {
		t.Errorf("queries went out: %+v", q)
	}
	if _, err := dns.New(dns.Options{Servers: []string{"tls://192.0.2.1:853#a.test", "192.0.2.2:53"}}); err == nil {
		t.Error("a clear-text server beside one over TLS was taken")
	}
	for _, bad := range []string{"tls://dns.test:853", "tls://", "tls://192.0.2.1:x#a", "tls://192.0.2.1:99999"} {
		if _, err := dns.New(dns.Options{Servers: []string{bad}}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// A dead server over TLS costs the first look-up a part of its time, like any.
func TestTLSFailover(t *testing.T) {
	srv := dnstest.Run(t, "*.example A 192.0.2.1")
	good, gone := srv.RunTLS(t), srv.RunTLS(t)
	gone.Close()
	r := secured(t, dns.Options{
		Servers: []string{"tls://" + gone.Addr(), "tls://" + good.Addr()}, Roots: roots(t, good.CA()),
	})
	for i := range 3 {
		if _, err := r.LookupA(context.Background(), fmt.Sprintf("n%d.example", i)); err != nil {
			t.Error(err)
		}
	}
	if n := good.Connections(); n != 1 {
		t.Errorf("%d connections to the good one", n)
	}
}

// Servers close connections when they like, also with a query on the way.
func TestTLSHangup(t *testing.T) {
	srv := dnstest.Run(t, "*.example A 192.0.2.1\nrude.example A 192.0.2.1\n!hangup rude.example *1")
	d := srv.RunTLS(t)
	r := secured(t, dns.Options{Servers: []string{"tls://" + d.Addr()}, Roots: roots(t, d.CA())})
	for i := range 5 {
		if _, err := r.LookupA(context.Background(), fmt.Sprintf("n%d.example", i)); err != nil {
			t.Error(err)
		}
		d.Hangup()
	}
	if _, err := r.LookupA(context.Background(), "rude.example"); err != nil {
		t.Error(err)
	}
	if n := d.Connections(); n < 6 || n > 8 {
		t.Errorf("%d connections", n)
	}
}

// A connection that went dead without a word gets no more queries after a
// quarter of the time-out: the look-up's next attempt opens another.
func TestTLSDeadConnection(t *testing.T) {
	cert, key, ca := dnstest.KeyPair(t)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var conns atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := conns.Add(1)
			go answer(c, func(q *wire.Msg) bool { return n > 1 || q.Question[0].Name == "first.example." })
		}
	}()
	r := secured(t, dns.Options{Servers: []string{"tls://" + l.Addr().String()}, Roots: roots(t, ca)})
	for _, name := range []string{"first.example", "second.example", "third.example"} {
		start := time.Now()
		if _, err := r.LookupA(context.Background(), name); err != nil {
			t.Errorf("%s: %v after %v", name, err, time.Since(start))
		}
	}
	if n := conns.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func answer(c net.Conn, may func(*wire.Msg) bool) {
	defer c.Close()
	conn := &wire.Conn{Conn: c}
	for {
		q, err := conn.ReadMsg()
		if err != nil {
			return
		}
		if !may(q) {
			continue
		}
		m := new(wire.Msg).SetReply(q)
		rr, _ := wire.NewRR(q.Question[0].Name + " 60 A 192.0.2.1")
		m.Answer = []wire.RR{rr}
		if conn.WriteMsg(m) != nil {
			return
		}
	}
}

// Close ends what waits over TLS, and its connection.
func TestTLSClose(t *testing.T) {
	srv := dnstest.Run(t, "!drop x.example")
	d := srv.RunTLS(t)
	r := secured(t, dns.Options{Servers: []string{"tls://" + d.Addr()}, Roots: roots(t, d.CA()), Timeout: 20 * time.Second})
	done := make(chan error)
	go func() {
		_, err := r.LookupA(context.Background(), "x.example")
		done <- err
	}()
	for srv.Count("x.example") == 0 {
		time.Sleep(time.Millisecond)
	}
	r.Close()
	if err := <-done; !dns.IsTemporary(err) {
		t.Error(err)
	}
}

// The AD bit counts from those who are trusted, and is asked for only there.
func TestValidated(t *testing.T) {
	srv := dnstest.Run(t, `
		signed.example   TXT "here"
		unsigned.example TXT "here"
		!ad signed.example
		!ad nothing.example
	`)
	d := srv.RunTLS(t)
	for what, c := range map[string]struct {
		o    dns.Options
		want bool
	}{
		"loopback": {dns.Options{Servers: []string{srv.Addr()}}, true},
		"TLS":      {dns.Options{Servers: []string{"tls://" + d.Addr()}, Roots: roots(t, d.CA())}, true},
		"all":      {dns.Options{Servers: []string{srv.Addr()}, Trust: dns.TrustAll}, true},
		"none":     {dns.Options{Servers: []string{srv.Addr()}, Trust: dns.TrustNone}, false},
	} {
		r := secured(t, c.o)
		for _, round := range []string{"cold", "warm"} {
			whole, all := dns.Observe(context.Background())
			for name, want := range map[string]bool{"signed.example": c.want, "nothing.example": c.want, "unsigned.example": false} {
				ctx, one := dns.Observe(whole)
				if one.All() {
					t.Error("validated before there is an answer")
				}
				if _, err := r.LookupTXT(ctx, name); dns.IsTemporary(err) {
					t.Error(err)
				}
				if one.All() != want {
					t.Errorf("%s, %s: %s validated %v", what, round, name, one.All())
				}
			}
			if all.All() {
				t.Errorf("%s: one answer was not validated", what)
			}
		}
	}
}

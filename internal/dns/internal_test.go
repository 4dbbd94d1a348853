package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	wire "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// script is a network without a network, for time under testing/synctest: it
// answers for each server by a function.
type script struct {
	mu    sync.Mutex
	asked []string // server of each query, in order
	reply map[string]func(ctx context.Context, q *query) (*wire.Msg, error)
}

func (s *script) exchange(ctx context.Context, addr string, q *query) ([]byte, error) {
	s.mu.Lock()
	s.asked = append(s.asked, addr)
	reply := s.reply[addr]
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

const soaLine = "example. %d IN SOA ns.example. h.example. 1 2 3 4 %d"

// An answer is kept for its TTL, the smallest of the chain, within bounds; an
// absence for what the SOA says; a failure for a short time.
func TestTTL(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  time.Duration
	}{
		{"plain", []string{"x.example. 100 A 192.0.2.1"}, 100 * time.Second},
		{"zero", []string{"x.example. 0 A 192.0.2.1"}, minTTL},
		{"long", []string{"x.example. 999999 A 192.0.2.1"}, maxTTL},
		{"top bit", []string{"x.example. 3000000000 A 192.0.2.1"}, minTTL},
		{"smallest", []string{"x.example. 90 A 192.0.2.1", "x.example. 40 A 192.0.2.2"}, 40 * time.Second},
		{"chain", []string{"x.example. 30 CNAME y.example.", "y.example. 900 A 192.0.2.1"}, 30 * time.Second},
		{"chain out of order", []string{"y.example. 900 A 192.0.2.1", "x.example. 30 CNAME Y.example."}, 30 * time.Second},
		{"nodata", []string{fmt.Sprintf(soaLine, 600, 50)}, 50 * time.Second},
		{"nodata, SOA's own TTL", []string{fmt.Sprintf(soaLine, 20, 500)}, 20 * time.Second},
		{"nodata, long", []string{fmt.Sprintf(soaLine, 86400, 86400)}, maxNegativeTTL},
		{"nodata, foreign SOA", []string{"other.test. 600 IN SOA a. b. 1 2 3 4 600"}, minTTL},
		{"nodata, no SOA", nil, minTTL},
		{"referral", []string{"example. 600 NS ns.example."}, failureTTL},
		{"nodata behind a chain", []string{"x.example. 15 CNAME y.example.", fmt.Sprintf(soaLine, 600, 600)}, 15 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s := scripted(t, "a")
				defer r.Close()
				s.set("a:53", records(t, 0, c.lines...))
				ask := func(want int) {
					t.Helper()
					_, _ = r.LookupA(t.Context(), "x.example")
					if got := s.count()["a:53"]; got != want {
						t.Errorf("%d queries, want %d", got, want)
					}
				}
				ask(1)
				time.Sleep(c.want - time.Second)
				ask(0)
				time.Sleep(2 * time.Second)
				ask(1)
			})
		})
	}
}

// A dead first server costs the first look-up a part of its time-out and the
// others nothing; it is probed beside the look-ups, and comes back.
func TestDeadFirstServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := scripted(t, "dead", "good")
		defer r.Close()
		good := func(_ context.Context, q *query) (*wire.Msg, error) {
			return message(t, q.key, q.key.name+". 60 A 192.0.2.1"), nil
		}
		s.set("dead:53", dead)
		s.set("good:53", good)
		ask := func(i int) time.Duration {
			t.Helper()
			start := time.Now()
			if _, err := r.LookupA(t.Context(), fmt.Sprintf("n%d.example", i)); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		if d := ask(0); d == 0 || d > 600*time.Millisecond {
			t.Errorf("first look-up took %v", d)
		}
		s.count()
		for i := 1; i < 100; i++ { // 300 s: several probes
			time.Sleep(3 * time.Second)
			if d := ask(i); d > 0 {
				t.Fatalf("look-up %d took %v", i, d)
			}
		}
		if n := s.count()["dead:53"]; n < 4 || n > 10 {
			t.Errorf("the dead server was probed %d times in 5 minutes", n)
		}
		s.set("dead:53", good)
		time.Sleep(maxBehind)
		ask(1000) // sends the probe
		synctest.Wait()
		s.count()
		ask(1001)
		if n := s.count(); n["dead:53"] != 1 || n["good:53"] != 0 {
			t.Errorf("after it came back: %v", n)
		}
	})
}

// A slow name must not make a server look dead that answers other names.
func TestSlowNameIsNotADeadServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := scripted(t, "a", "b")
		defer r.Close()
		answer := func(ctx context.Context, q *query) (*wire.Msg, error) {
			if q.key.name == "slow.example" {
				return dead(ctx, q)
			}
			return message(t, q.key, q.key.name+". 60 A 192.0.2.1"), nil
		}
		s.set("a:53", answer)
		s.set("b:53", answer)
		done := make(chan error)
		go func() {
			_, err := r.LookupA(t.Context(), "slow.example")
			done <- err
		}()
		for i := range 30 {
			time.Sleep(100 * time.Millisecond)
			if _, err := r.LookupA(t.Context(), fmt.Sprintf("n%d.example", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-done; !IsTemporary(err) || !IsTimeout(err) {
			t.Errorf("slow name: %v", err)
		}
		if behind, _ := r.servers[0].state(time.Now()); behind {
			t.Error("the server was put behind")
		}
	})
}

// One attempt is one failure, even if it is late first and wrong then.
func TestFailureCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := scripted(t, "a", "b")
		defer r.Close()
		s.set("a:53", func(ctx context.Context, q *query) (*wire.Msg, error) {
			time.Sleep(900 * time.Millisecond)
			return nil, errGarbage
		})
		s.set("b:53", records(t, 1200*time.Millisecond, "x.example. 60 A 192.0.2.1"))
		if _, err := r.LookupA(t.Context(), "x.example"); err != nil {
			t.Error(err)
		}
		failures := func(server, reason string) float64 {
			return testutil.ToFloat64(r.metrics.failures.WithLabelValues(server, reason))
		}
		if failures("1", "timeout")+failures("1", "garbage") != 2 { // two attempts: both late, one of them garbage later
			t.Errorf("server 1: %v timeouts, %v garbage", failures("1", "timeout"), failures("1", "garbage"))
		}
	})
}

// Late is better than never: an answer to the first query is still taken when
// a second one has been sent.
func TestLateAnswerIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := scripted(t, "a")
		defer r.Close()
		s.set("a:53", records(t, 1900*time.Millisecond, "x.example. 60 A 192.0.2.1"))
		start := time.Now()
		if _, err := r.LookupA(t.Context(), "x.example"); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d != 1900*time.Millisecond {
			t.Errorf("took %v", d)
		}
	})
}

// The whole look-up ends at its time-out, and the failure is remembered for a
// short time only.
func TestTimeoutInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := scripted(t, "a", "b", "c")
		defer r.Close()
		for _, a := range []string{"a:53", "b:53", "c:53"} {
			s.set(a, dead)
		}
		start := time.Now()
		_, err := r.LookupTXT(t.Context(), "x.example")
		if !IsTimeout(err) || IsNotFound(err) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("took %v", d)
		}
		start = time.Now()
		if _, err = r.LookupTXT(t.Context(), "x.example"); !IsTimeout(err) || time.Since(start) != 0 {
			t.Errorf("again: %v after %v", err, time.Since(start))
		}
	})
}

// One server's SERVFAIL is not the last word while another can be asked, and
// it is not asked again for this name.
func TestServFailGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := scripted(t, "a", "b")
		defer r.Close()
		s.set("a:53", func(_ context.Context, q *query) (*wire.Msg, error) {
			m := message(t, q.key)
			m.Rcode = wire.RcodeServerFailure
			return m, nil
		})
		s.set("b:53", records(t, 0, "x.example. 60 A 192.0.2.1"))
		if _, err := r.LookupA(t.Context(), "x.example"); err != nil {
			t.Error(err)
		}
		s.set("b:53", s.reply["a:53"])
		s.count()
		_, err := r.LookupA(t.Context(), "y.example")
		if !IsTemporary(err) || IsTimeout(err) {
			t.Error(err)
		}
		if n := s.count(); n["a:53"] != 1 || n["b:53"] != 1 {
			t.Errorf("asked %v", n)
		}
		if behind, _ := r.servers[0].state(time.Now()); behind {
			t.Error("SERVFAIL put the server behind")
		}
	})
}

// Many ask at once: one query. The end of one's context ends only his wait.
func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := scripted(t, "a")
		defer r.Close()
		s.set("a:53", records(t, 300*time.Millisecond, "x.example. 60 A 192.0.2.1"))
		first, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			start := time.Now()
			_, err := r.LookupA(first, "x.example")
			if !IsTimeout(err) || time.Since(start) != 100*time.Millisecond {
				t.Errorf("the one who gave up: %v after %v", err, time.Since(start))
			}
		})
		synctest.Wait()
		for range 50 {
			wg.Go(func() {
				addrs, err := r.LookupA(t.Context(), "X.example")
				if err != nil || addrs[0] != netip.MustParseAddr("192.0.2.1") {
					t.Errorf("%v %v", addrs, err)
				}
				addrs[0] = netip.Addr{} // everybody's slice is his own
			})
		}
		wg.Wait()
		if n := s.count()["a:53"]; n != 1 {
			t.Errorf("%d queries", n)
		}
	})
}

// Close ends what is under way, temporarily, and later look-ups too.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := scripted(t, "a")
		s.set("a:53", dead)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := r.LookupA(t.Context(), "x.example"); !IsTemporary(err) {
				t.Error(err)
			}
		})
		synctest.Wait()
		r.Close()
		wg.Wait()
		if _, err := r.LookupA(t.Context(), "y.example"); !IsTemporary(err) {
			t.Error(err)
		}
	})
}

// More questions at once than allowed wait for their turn; those whose turn
// does not come fail temporarily, and nobody remembers that as the name's.
func TestFlightLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := scripted(t, "a")
		defer r.Close()
		s.set("a:53", dead)
		var wg sync.WaitGroup
		for i := range maxFlights {
			wg.Go(func() { _, _ = r.LookupA(t.Context(), fmt.Sprintf("n%d.example", i)) })
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.LookupA(ctx, "extra.example"); !IsTemporary(err) {
			t.Error(err)
		}
		wg.Wait()
		synctest.Wait()
		s.set("a:53", records(t, 0, "extra.example. 60 A 192.0.2.1"))
		time.Sleep(time.Second)
		if _, err := r.LookupA(t.Context(), "extra.example"); err != nil {
			t.Error(err)
		}
	})
}

// The cache stays within its bounds, drops what was not used for longest, and
// accounts for what it drops.
func TestCacheBounds(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	c := newCache(64, m)
	now := time.Now()
	k := func(i int) key { return key{fmt.Sprintf("n%d.example", i), typeTXT} }
	put := func(i int, text string) {
		s := c.shard(k(i))
		s.put(k(i), &answer{texts: []string{text}, ttl: time.Minute}, now)
	}
	put(0, "kept")
	for i := 1; i < 10000; i++ {
		put(i, "x")
		if c.shard(k(0)).get(k(0), now) == nil && len(c.shard(k(0)).entries) > 2 {
			t.Fatal("the most recently used entry was dropped")
		}
	}
	for i := range 1000 {
		put(i, strings.Repeat("x", 1500))
	}
	entries, bytes := 0, 0
	for i := range c.shards {
		s := &c.shards[i]
		n := 0
		for e := s.list.next; e != &s.list; e = e.next {
			n += e.size
		}
		if n != s.bytes || n > s.maxBytes {
			t.Errorf("shard %d holds %d, accounts %d, may %d", i, n, s.bytes, s.maxBytes)
		}
		entries += len(s.entries)
		bytes += n
	}
	if entries > 64 || int(testutil.ToFloat64(m.entries)) != entries || int(testutil.ToFloat64(m.bytes)) != bytes {
		t.Errorf("%d entries, %d bytes", entries, bytes)
	}
	s := c.shard(k(1))
	s.put(k(1), &answer{texts: []string{strings.Repeat("x", 1<<20)}, ttl: time.Minute}, now)
	if s.get(k(1), now) != nil {
		t.Error("an answer larger than a shard was kept")
	}
}

func TestMetricsLint(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	newServer("192.0.2.1:53", 0, m, nil)
	m.failures.WithLabelValues("1", "timeout")
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestServers(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) string {
		t.Helper()
		file := filepath.Join(dir, "resolv.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for text, want := range map[string][]string{
		"nameserver 192.0.2.53\nnameserver 2001:db8::53\n": {"192.0.2.53:53", "[2001:db8::53]:53"},
		"search example.org\n":                             {"127.0.0.1:53"},
		"":                                                 {"127.0.0.1:53"},
	} {
		if got, err := systemServers(write(text)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if got, err := systemServers(dir + "/none"); err != nil || !slices.Equal(got, []string{"127.0.0.1:53"}) {
		t.Errorf("no file: %v, %v", got, err)
	}
	if _, err := New(Options{Servers: []string{"192.0.2.1"}}); err == nil {
		t.Error("a server without a port was taken")
	}
}

// Records that nobody asked for are not taken: other owners, other classes,
// other types.
func TestStrangeRecords(t *testing.T) {
	k := key{"x.example", typeA}
	for _, c := range []struct {
		name  string
		lines []string
		rcode int
		want  Kind // 0: found
	}{
		{"other owner", []string{"evil.example. 60 A 192.0.2.66"}, 0, NotFound},
		{"other class", []string{"x.example. 60 CH A 192.0.2.66"}, 0, NotFound},
		{"other type", []string{"x.example. 60 TXT hello"}, 0, NotFound},
		{"beside", []string{"evil.example. 60 A 192.0.2.66", "x.example. 60 A 192.0.2.1"}, 0, 0},
		{"alias of another", []string{"y.example. 60 CNAME z.example.", "z.example. 60 A 192.0.2.66"}, 0, NotFound},
		{"name error with records", []string{"x.example. 60 A 192.0.2.66"}, wire.RcodeNameError, Temporary},
		{"name error behind an alias", []string{"x.example. 60 CNAME y.example."}, wire.RcodeNameError, NotFound},
		{"refused with records", []string{"x.example. 60 A 192.0.2.66"}, wire.RcodeRefused, Temporary},
		{"extended code", []string{"x.example. 60 A 192.0.2.66"}, wire.RcodeBadVers, Temporary},
		{"chain of 8", chain(8), 0, 0},
		{"chain of 9", chain(9), 0, Temporary},
	} {
		m := message(t, k, c.lines...)
		m.SetEdns0(1232, false)
		m.Rcode = c.rcode
		raw, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		a, err := parse(newQuery(k, true), raw)
		var got Kind
		if err != nil {
			got = Temporary
		} else if a.err != nil {
			got = a.err.Kind
		}
		if got != c.want || got == 0 && a.addrs[0] != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("%s: %v %v", c.name, a, err)
		}
	}
}

func chain(n int) []string {
	name := "x.example."
	var lines []string
	for i := range n {
		next := fmt.Sprintf("c%d.example.", i)
		lines = append(lines, name+" 60 CNAME "+next)
		name = next
	}
	return append(lines, name+" 60 A 192.0.2.1")
}

func TestErrorCauses(t *testing.T) {
	err := error(failed(key{"x", typeA}, Temporary, fmt.Errorf("%w: x", errGarbage)).err)
	if !errors.Is(err, errGarbage) || !IsTemporary(err) || IsNotFound(err) {
		t.Error(err)
	}
	if !IsTemporary(errors.New("anything else")) || IsTemporary(nil) {
		t.Error("an unknown error must count as temporary")
	}
}

package dns

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

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
		{"nodata behind a chain", []string{"x.example. 25 CNAME y.example.", fmt.Sprintf(soaLine, 600, 600)}, 25 * time.Second},
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
		if n := testutil.ToFloat64(r.metrics.entries); n != 0 {
			t.Errorf("%v entries are still accounted for", n)
		}
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
	k := func(i int) key { return key{fmt.Sprintf("n%d.example", i), TypeTXT} }
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
	newServer(endpoint{addr: "192.0.2.1:53"}, 0, m, nil)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

package rate

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestBucket: so many at once, then evenly, and another key is not touched.
func TestBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Limit{10, time.Hour})
		for n := range 10 {
			if w := b.Wait("a", 1); w != 0 {
				t.Fatalf("event %d waits %v", n, w)
			}
			b.Take("a", 1)
		}
		if w := b.Wait("a", 1); w != 6*time.Minute {
			t.Errorf("event 11 waits %v", w)
		}
		if w := b.Wait("b", 10); w != 0 {
			t.Errorf("another key waits %v", w)
		}
		time.Sleep(6 * time.Minute)
		if w := b.Wait("a", 1); w != 0 {
			t.Errorf("waits %v after its time", w)
		}
		if w := b.Wait("a", 3); w != 12*time.Minute {
			t.Errorf("three wait %v", w)
		}
		time.Sleep(2 * time.Hour)
		if w := b.Wait("a", 10); w != 0 {
			t.Errorf("a full bucket waits %v", w)
		}
	})
}

// TestMore: what exceeds the limit by itself is let through when the bucket is
// full, and empties it.
func TestMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Limit{10, time.Hour})
		if w := b.Wait("a", 50); w != 0 {
			t.Errorf("waits %v", w)
		}
		b.Take("a", 50)
		if w := b.Wait("a", 50); w != time.Hour {
			t.Errorf("the second waits %v", w)
		}
	})
}

// TestBounded: an attack from everywhere costs no more than Most buckets, and
// does not free who is near the limit.
func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Limit{10, time.Hour})
		b.Take("a", 10)
		for n := range 3 * Most {
			b.Take(n, 1)
		}
		if len(b.full) > Most {
			t.Errorf("%d buckets", len(b.full))
		}
		if b.Wait("a", 1) == 0 {
			t.Error("the empty bucket was forgotten")
		}
	})
}

func BenchmarkWaitTake(b *testing.B) {
	l := New(Limit{1000, time.Hour})
	for n := range 50_000 {
		l.Take(n, 1)
	}
	key := [16]byte{1}
	b.ReportAllocs()
	for b.Loop() {
		if l.Wait(key, 1) == 0 {
			l.Take(key, 1)
		}
	}
}

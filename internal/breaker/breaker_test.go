package breaker

import (
	"testing"
	"time"
)

func TestBreaker(t *testing.T) {
	b := Breaker{Limit: 3, Pause: time.Second}
	now := time.Unix(0, 0)
	for n := range 3 {
		if p := b.Ask(now); p != Pass {
			t.Fatalf("failure %d: %v", n, p)
		}
		if opened := b.Bad(now); opened != (n == 2) {
			t.Errorf("failure %d opened it: %v", n, opened)
		}
	}
	for _, c := range []struct {
		after time.Duration
		want  Permission
	}{{0, Refuse}, {time.Second, Try}, {time.Second, Refuse}, {2 * time.Second, Try}} {
		if p := b.Ask(now.Add(c.after)); p != c.want {
			t.Errorf("after %v: %v, want %v", c.after, p, c.want)
		}
	}
	if b.Bad(now) || !b.IsOpen() || b.Failures() != 4 {
		t.Error("another failure opened it again")
	}
	if !b.Good() || b.Good() || b.IsOpen() || b.Ask(now) != Pass {
		t.Error("an answer does not close it, once")
	}
}

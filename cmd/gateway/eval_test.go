package main

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestOrdered(t *testing.T) {
	var running, most atomic.Int64
	var got []int
	ordered(1000, 4, func(k int) int {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		if k%97 == 0 {
			time.Sleep(time.Millisecond) // the others overtake
		}
		return k
	}, func(k, result int) {
		if k != result {
			t.Fatalf("%d is result %d", k, result)
		}
		got = append(got, k)
	})
	for i, k := range got {
		if i != k {
			t.Fatalf("position %d has %d", i, k)
		}
	}
	if len(got) != 1000 || most.Load() > 4 {
		t.Errorf("%d results, %d at once", len(got), most.Load())
	}
	ordered(0, 4, func(int) int { return 0 }, func(int, int) { t.Error("a result of nothing") })
}

// points: one letter a message, S spam and h ham, from the highest score down;
// "," has the score stay the same.
func points(s string) (out []point) {
	score := 100.0
	for _, c := range s {
		switch c {
		case ',':
			score += 1
			continue
		default:
			score--
			out = append(out, point{score: score, spam: c == 'S'})
		}
	}
	return out
}

func TestCurve(t *testing.T) {
	for _, c := range []struct {
		points string
		rate   float64
		area   float64
		recall evalRecall
	}{
		{"SShh", 0, 1, evalRecall{Caught: 2, Over: 97}},
		{"ShSh", 0, 0.75, evalRecall{Caught: 1, Over: 98}},
		{"ShSh", 0.5, 0.75, evalRecall{Caught: 2, HamLost: 1, Over: 96}},
		{"hhSS", 0, 0, evalRecall{Caught: 0, Over: 99}},
		{"S,h,S,h", 0, 0.5, evalRecall{Caught: 0, Over: 99}}, // all the same: no threshold tells them apart
		{"S,h,S,h", 1, 0.5, evalRecall{Caught: 2, HamLost: 2, Over: 99}},
		{"SS", 0, 0, evalRecall{Caught: 2, Over: 98}},
		{"", 0, 0, evalRecall{Over: refusedScore + 1}},
	} {
		p := points(c.points)
		ham, spam := strings.Count(c.points, "h"), strings.Count(c.points, "S")
		roc := curve(p)
		if got := area(roc, ham, spam); got != c.area {
			t.Errorf("%s: area %v, want %v", c.points, got, c.area)
		}
		got := recall(roc, c.rate, ham, spam)
		want := c.recall
		want.Rate, want.Ham, want.Spam, want.Recall = c.rate, ham, spam, share(want.Caught, spam)
		if got != want {
			t.Errorf("%s at %v: %+v, want %+v", c.points, c.rate, got, want)
		}
	}
}

func TestWorstMistakes(t *testing.T) {
	w := worst{limit: 2, sign: -1}
	for _, s := range []float64{3, 1, 2, 0.5, 9} {
		w.add(s, &finding{File: "f"})
	}
	if len(w.list) != 2 || w.list[0].Score != 0.5 || w.list[1].Score != 1 {
		t.Errorf("%+v", w.list)
	}
}

func TestProgressLine(t *testing.T) {
	p := &progress{all: 200, n: 50}
	if got, want := p.line(10*time.Second), "[#######.......................] 50 of 200 (25 %), 30s left"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

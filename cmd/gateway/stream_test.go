package main

import (
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// TestGentleStream: a listing rests after each page for as long as the page took
// to make, but not after the first, which somebody waits for, and never long.
func TestGentleStream(t *testing.T) {
	for _, c := range []struct {
		name   string
		gentle bool
		page   time.Duration // to make one
		want   time.Duration // of four pages
	}{
		{"quick pages", true, 10 * time.Millisecond, 70 * time.Millisecond},
		{"slow pages", true, 80 * time.Millisecond, 4*80*time.Millisecond + 3*streamEvery},
		{"something short", false, 10 * time.Millisecond, 40 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := httptest.NewRecorder()
				s := newStream(w)
				s.gentle = c.gentle
				start := time.Now()
				for n := range 4 * streamPage {
					if n%streamPage == 0 {
						time.Sleep(c.page)
					}
					if err := s.write(n); err != nil {
						t.Fatal(err)
					}
					if n == streamPage-1 && !w.Flushed {
						t.Error("the first page was not sent on")
					}
				}
				if d := time.Since(start); d != c.want {
					t.Errorf("four pages took %v, want %v", d, c.want)
				}
			})
		})
	}
}

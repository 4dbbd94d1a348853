package events

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestStats: domains with few are one, and so few that they tell of somebody
// are no number at all.
func TestStats(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	s := openStore(t, dir)
	hour := time.Now().UTC().Truncate(24 * time.Hour).Add(-20 * time.Hour)
	add := func(at time.Time, domain, action, tls string, n int) {
		for i := range n {
			e := sample(at.Add(time.Duration(i)*time.Second), i)
			e.Recipient, e.Action, e.TLS, e.Size = "x@"+domain, action, tls, 100
			s.Received(e)
		}
	}
	add(hour, "example.org", "accept", "TLSv1.3", 12)
	add(hour, "example.org", "reject", "", 3)
	add(hour, "a.example", "accept", "TLSv1.3", 6)
	add(hour, "b.example", "accept", "TLSv1.2", 6)
	add(hour.Add(time.Hour), "example.org", "accept", "TLSv1.3", 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := Stats(dir, hour, hour.Add(3*time.Hour), 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []Count{
		{Hour: hour, Domain: "example.org", Action: "accept", Recipients: 12, Bytes: 1200},
		{Hour: hour, Domain: Other, Action: "accept", Recipients: 12, Bytes: 1200},
		{Hour: hour, Domain: Other, Action: "reject", FewerThan: 10},
		{Hour: hour.Add(time.Hour), Domain: "example.org", Action: "accept", Recipients: 10, Bytes: 1000},
		{TLS: "TLSv1.2", FewerThan: 10},
		{TLS: "TLSv1.3", Recipients: 28, Bytes: 2800},
		{TLS: "none", FewerThan: 10},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got, err := Stats(dir, hour.Add(-2*time.Hour), hour, 10); err != nil || len(got) != 0 {
		t.Errorf("before: %v, %v", got, err)
	}
}

package events

import (
	"flag"
	"path/filepath"
	"testing"
	"time"

	"mailweir/internal/mailtest"
)

var (
	traceDays = flag.Int("days", 3, "days of events for TestTraceTime; the figures in docs/adr are of 30")
	traceRows = flag.Int("rows", 2000, "rows a day; the figures are of 100000")
)

// TestTraceTime: every question has its answer within a second. Who else uses
// the machine can make one slow, not each of three.
func TestTraceTime(t *testing.T) {
	if mailtest.RaceDetector {
		t.Skip("times say nothing under the race detector")
	}
	dir := filepath.Join(t.TempDir(), "events")
	s := openStore(t, dir)
	w := &writer{s: s, days: map[string]*dayDB{}}
	now := time.Now()
	var one *Event
	begin := time.Now()
	for d := range *traceDays {
		for i := range *traceRows {
			e := sample(now.AddDate(0, 0, -d).Add(-time.Duration(i)*time.Millisecond), i)
			if one == nil || d == *traceDays/2 {
				one = e
			}
			if w.waiting = append(w.waiting, change{Event: e}); len(w.waiting) == 4096 {
				w.flush()
			}
		}
		w.flush()
	}
	w.shut(0)
	t.Logf("%d rows in %v", *traceDays**traceRows, time.Since(begin))
	for name, q := range map[string]Query{
		"id":     {ID: one.ID},
		"to":     {To: one.Recipient, Limit: 1000},
		"from":   {From: one.Sender, Limit: 1000},
		"domain": {Domain: "sender7.example", Limit: 1000},
		"ours":   {Domain: "example.org", Limit: 1000},
		"since":  {Since: now.Add(-time.Hour), Limit: 1000},
		"nobody": {To: "nobody@example.org"},
	} {
		var n int
		took := time.Hour
		for try := 0; try < 3 && took > time.Second; try++ {
			begin := time.Now()
			n = len(find(t, dir, q))
			took = min(took, time.Since(begin))
		}
		t.Logf("%-7s %5d events in %v", name, n, took)
		if took > time.Second || (n == 0) != (name == "nobody") {
			t.Errorf("%s: %d events in %v", name, n, took)
		}
	}
}

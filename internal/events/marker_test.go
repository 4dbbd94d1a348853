package events

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mailweir/mail"
)

// TestCrashIsCounted: what a run had not written when it was killed is counted
// by the next one, and what it had is not.
func TestCrashIsCounted(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(dir, time.Hour*24*30, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		event := func() *Event {
			now := time.Now()
			return &Event{ID: mail.NewID(now), At: now, Recipient: "bob@example.org"}
		}
		done := event()
		s.Received(done)
		s.Finished(done) // joined with its row
		s.Finished(event())
		time.Sleep((patience + 2) * flushEvery)
		for range 5 {
			s.Received(event())
		}
		now, err := os.ReadFile(filepath.Join(dir, marker)) // as a crash leaves it
		if err == nil {
			err = os.WriteFile(filepath.Join(copied, marker), now, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		after, err := Open(copied, time.Hour*24*30, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if n := testutil.ToFloat64(after.dropped.WithLabelValues(lostCrash)); n != 5 || testutil.ToFloat64(after.crashes) != 1 || !bytes.Contains(log.Bytes(), []byte("events=5")) {
			t.Errorf("%v events lost by the crash, want 5\n%s", n, &log)
		}
		for _, s := range []*Store{s, after} {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if s, err = Open(dir, time.Hour*24*30, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		if n := testutil.ToFloat64(s.dropped.WithLabelValues(lostCrash)); n != 0 || testutil.ToFloat64(s.crashes) != 0 {
			t.Errorf("%v events lost by an end in order", n)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

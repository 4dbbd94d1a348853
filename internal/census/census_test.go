package census

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailweir/internal/mailtest"
)

func TestStats(t *testing.T) {
	mmdb, dir := mailtest.MMDB(t), t.TempDir()
	log := slog.New(slog.DiscardHandler)
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(dir, 30*24*time.Hour, []string{mmdb}, log)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for i := range 40 {
			s.Add(time.Now(), netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), "Microsoft Outlook 16.0")
			if i%4 == 0 {
				s.Add(time.Now(), netip.MustParseAddr("2001:db8::1"), "Mozilla Thunderbird")
			}
		}
		for _, mailer := range []string{"", "x", "KMail"} {
			s.Add(time.Now(), netip.MustParseAddr("192.0.2.1"), mailer)
		}
		time.Sleep(2 * flushEvery) // a crash
		check := func(k int64, want string) {
			t.Helper()
			list, err := Stats(dir, begin.Add(-time.Hour), time.Time{}, k)
			var got strings.Builder
			for _, c := range list {
				fmt.Fprintf(&got, "%s %s %d", c.Kind, c.Name, c.Messages)
				if c.FewerThan > 0 {
					fmt.Fprintf(&got, "<%d", c.FewerThan)
				}
				got.WriteString("; ")
			}
			if d := cmp.Diff(want, got.String()); d != "" || err != nil {
				t.Errorf("k=%d: %v\n%s", k, err, d)
			}
		}
		check(10, "country DE 40; country FR 10; country other 0<10; network AS64496 Example Net 40; network unknown 13; software outlook 40; software thunderbird 10; software other 0<10; ")
		check(1, "country DE 40; country FR 10; country unknown 3; network AS64496 Example Net 40; network unknown 13; software outlook 40; software thunderbird 10; software kmail 1; software none 1; software other 1; ")
		check(20, "country DE 40; country other 0<20; network AS64496 Example Net 40; network other 0<20; software outlook 40; software other 0<20; ")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(dir, 24*time.Hour, nil, log); err != nil { // a restart goes on with the day
			t.Fatal(err)
		}
		s.Add(time.Now(), netip.MustParseAddr("192.0.2.1"), "Outlook")
		if list, err := Stats(dir, time.Now().Add(time.Hour), time.Time{}, 1); err != nil || len(list) != 0 && !begin.Truncate(time.Hour).Equal(time.Now().Truncate(time.Hour)) {
			t.Errorf("in future: %v, %v", list, err)
		}
		for range 4 {
			time.Sleep(24 * time.Hour)
			s.Add(time.Now(), netip.Addr{}, "")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if files, err := Days(dir); err != nil || len(files) > 3 {
			t.Errorf("%d files after four days, %v", len(files), err)
		}
	})
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, name := range files {
		if b, err := os.ReadFile(name); err != nil || bytes.Contains(b, []byte("198.51")) || bytes.Contains(b, []byte("2001:db8")) {
			t.Errorf("%s: %v\n%s", name, err, b)
		}
	}
}

func TestWrongDatabase(t *testing.T) {
	name := filepath.Join(t.TempDir(), "no.mmdb")
	if err := os.WriteFile(name, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.TempDir(), time.Hour, []string{name}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("%v", err)
	}
}

// TestMidnight: the first message of a day is counted in it, before the ticker
// has turned the day, and so is the first one of a day long after.
func TestMidnight(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(dir, 30*24*time.Hour, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		midnight := time.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
		for _, at := range []time.Time{midnight.Add(-1), midnight, midnight.Add(24*time.Hour - 1), midnight.Add(24 * time.Hour), midnight.Add(96 * time.Hour)} {
			s.Add(at, netip.Addr{}, "")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for day, want := range []int64{1, 2, 1, 0, 0, 1} {
			hours, err := read(s.path(dayOf(midnight.AddDate(0, 0, day-1))))
			var n int64
			for _, c := range hours {
				for _, m := range c[Software] {
					n += m
				}
			}
			if n != want || err != nil {
				t.Errorf("day %d has %d, want %d; %v", day, n, want, err)
			}
		}
	})
}

package pseudonym

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"testing/synctest"
	"time"
)

// TestLife is a pseudonym's: the same all day, another one tomorrow, found
// while the key lives, and by nobody afterwards.
func TestLife(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	synctest.Test(t, func(t *testing.T) {
		const day, keep = 24 * time.Hour, 72 * time.Hour
		k, err := Open(dir, keep)
		if err != nil {
			t.Fatal(err)
		}
		today := time.Now()
		first := k.Of(today, IP, "192.0.2.1")
		if !regexp.MustCompile(`^ip-[A-Z2-7]{16}$`).MatchString(first) || k.Of(today, IP, "192.0.2.1") != first {
			t.Errorf("%q", first)
		}
		if k.Of(today, IP, "192.0.2.2") == first || k.Of(today, Name, "192.0.2.1")[4:] == first[2:] || k.Of(today, IP, "") != "" {
			t.Error("different values have one pseudonym")
		}
		again, err := Open(dir, keep) // a restart
		if err != nil || again.Of(today, IP, "192.0.2.1") != first {
			t.Errorf("after a restart: %v", err)
		}
		time.Sleep(day)
		second := k.Of(time.Now(), IP, "192.0.2.1")
		if second == first {
			t.Error("the key does not change")
		}
		all, err := All(dir, IP, "192.0.2.1")
		if err != nil || len(all) != 2 || all[today.UTC().Truncate(day)] != first {
			t.Errorf("%v, %v", all, err)
		}
		time.Sleep(keep)
		if err := k.Expire(time.Now()); err != nil {
			t.Fatal(err)
		}
		if all, _ = All(dir, IP, "192.0.2.1"); len(all) != 1 || all[today.Add(day).UTC().Truncate(day)] != second {
			t.Errorf("after %s: %v", keep, all)
		}
	})
}

// TestNoKey: where no key can be had the value is not written either.
func TestNoKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	k, err := Open(dir, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if got := k.Of(time.Now().Add(48*time.Hour), IP, "192.0.2.1"); got != "ip-unknown" {
		t.Errorf("%q", got)
	}
}

func BenchmarkOf(b *testing.B) {
	k, err := Open(filepath.Join(b.TempDir(), "keys"), time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	at := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		k.Of(at, IP, "2001:db8::1234:5678")
	}
}

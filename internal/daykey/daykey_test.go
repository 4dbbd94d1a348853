package daykey

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestMasters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	now := time.Now()
	a, b := Master{1}, Master{2}
	k, err := Open(dir, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	key, err := k.Make(now)
	if err != nil || len(key) != Size {
		t.Fatal(len(key), err)
	}
	clear, err := os.Open(k.Path(now)) // as a raw search of the disk would find it
	if err != nil {
		t.Fatal(err)
	}
	defer clear.Close()
	for _, step := range []struct {
		name    string
		open    []Master
		reads   []Master
		refused []Master
	}{
		{"a master key comes", []Master{a}, []Master{a}, []Master{b}},
		{"it changes", []Master{b, a}, []Master{b}, []Master{a}},
		{"again", []Master{b}, []Master{a, b}, nil},
		{"it goes", nil, []Master{a}, nil},
	} {
		if step.open == nil {
			if _, err := Open(dir, time.Hour); !errors.Is(err, ErrOtherMaster) {
				t.Errorf("without the master key: %v", err)
			}
			if err = k.Rekey(nil); err != nil {
				t.Fatal(err)
			}
		} else if k, err = Open(dir, time.Hour, step.open...); err != nil {
			t.Fatal(step.name, err)
		}
		if got, err := New(dir, time.Hour, step.reads...).Read(now); err != nil || !bytes.Equal(got, key) {
			t.Errorf("%s: %x, %v", step.name, got, err)
		}
		if _, err := New(dir, time.Hour, step.refused...).Read(now); len(step.refused) > 0 && !errors.Is(err, ErrOtherMaster) {
			t.Errorf("%s: with another master key: %v", step.name, err)
		}
	}
	var raw [Size]byte
	if _, err := clear.ReadAt(raw[:], 0); err != nil || raw != [Size]byte{} {
		t.Errorf("the file from before the master key has %x, %v", raw, err)
	}
}

func TestDamage(t *testing.T) {
	dir := t.TempDir()
	m := Master{1}
	good := wrap(make([]byte, Size), "2026-11-21", m)
	other := bytes.Clone(good)
	other[headSize] ^= 1
	day := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	k := New(dir, time.Hour, m)
	for name, b := range map[string][]byte{"empty": nil, "short": good[:40], "changed": other, "long": append(bytes.Clone(good), 0)} {
		if err := os.WriteFile(k.Path(day), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Read(day); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := k.Make(day); err == nil {
			t.Errorf("%s: a new key took its place", name)
		}
	}
	if err := os.WriteFile(k.Path(day.AddDate(0, 0, 1)), good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Read(day.AddDate(0, 0, 1)); err == nil {
		t.Error("the key of one day serves another")
	}
}

func TestExpire(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		k, err := Open(dir, 7*day)
		if err != nil {
			t.Fatal(err)
		}
		for range 30 {
			if _, err := k.Make(time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(day)
			if err := k.Expire(time.Now()); err != nil {
				t.Fatal(err)
			}
			days, err := k.Days()
			if err != nil || len(days) > 8 || time.Since(days[0].Add(day)) > 7*day {
				t.Fatalf("%v, %v", days, err)
			}
		}
	})
}

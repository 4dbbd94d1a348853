package events

import (
	"path/filepath"
	"testing"
	"time"

	"mailweir/internal/mailtest"
)

// TestEraseOnDisk: a file system of its own, searched as raw bytes. The address
// is on the disk before, and nowhere on it after; the same again while a store
// is open.
func TestEraseOnDisk(t *testing.T) {
	image, mount := mailtest.MountImage(t, 64<<20)
	dir := filepath.Join(mount.Dir, "events")
	for round := range 3 { // opened and closed, as over days
		s := openStore(t, dir)
		for i := range 3000 {
			e := sample(time.Now().Add(time.Duration(i)*time.Millisecond), i)
			if i%7 == round {
				e.Recipient = "canary@example.org"
			}
			s.Received(e)
			s.Finished(&Event{ID: e.ID, Recipient: e.Recipient, Outcome: Outcome{State: "relayed", Reply: "250 ok, and a longer text than before", Done: time.Now()}})
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(mailtest.OnImage(t, image, onDisk...)) == 0 {
		t.Error("the address was not on the disk before")
	}
	s := openStore(t, dir)
	s.Received(sample(time.Now(), 1))
	time.Sleep(2 * flushEvery) // the store has its database open
	if n, err := Erase(dir, "canary@example.org"); err != nil || n == 0 {
		t.Fatalf("%d, %v", n, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mount.Unmount()
	if len(mailtest.OnImage(t, image, onDisk...)) > 0 {
		t.Error("the address is on the disk")
	}
}

// onDisk are the ways in which the store spells the address.
var onDisk = []string{"example.org@canary", "canary@example.org"}

package events

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"mailweir/internal/mailtest"
)

// TestEraseOnDisk: a file system of its own, searched as raw bytes. The address
// is on the disk before, and nowhere on it after; the same again while a store
// is open.
func TestEraseOnDisk(t *testing.T) {
	if os.Getuid() != 0 {
		mailtest.SkipHarness(t, "mounting needs root")
	}
	image, mount := filepath.Join(t.TempDir(), "image"), t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			mailtest.SkipHarness(t, name+": "+string(out))
		}
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	run("mkfs.ext4", "-q", "-F", image)
	run("mount", "-o", "loop", image, mount)
	mounted := true
	unmount := func() {
		if mounted {
			mounted = false
			if out, err := exec.Command("umount", mount).CombinedOutput(); err != nil {
				t.Errorf("umount: %s", out)
			}
		}
	}
	t.Cleanup(unmount)
	dir := filepath.Join(mount, "events")
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
	if !onImage(t, image) {
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
	unmount()
	if onImage(t, image) {
		t.Error("the address is on the disk")
	}
}

// onImage looks for the address in the raw bytes, as the store spells it.
func onImage(t *testing.T, image string) bool {
	t.Helper()
	exec.Command("sync").Run()
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(b, []byte("example.org@canary")) || bytes.Contains(b, []byte("canary@example.org"))
}

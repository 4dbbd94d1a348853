package mailtest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Mount is a file system in a file.
type Mount struct {
	Dir     string
	t       testing.TB
	mounted bool
}

// MountImage makes an ext4 file system of so many octets and mounts it; image is
// its file, whose raw bytes OnImage searches. Skips the test without root.
func MountImage(t testing.TB, size int64) (image string, m *Mount) {
	t.Helper()
	if os.Getuid() != 0 {
		SkipHarness(t, "mounting needs root")
	}
	image, m = filepath.Join(t.TempDir(), "image"), &Mount{Dir: t.TempDir(), t: t}
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			SkipHarness(t, name+": "+string(out))
		}
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	run("mkfs.ext4", "-q", "-F", image)
	run("mount", "-o", "loop", image, m.Dir)
	m.mounted = true
	t.Cleanup(m.Unmount)
	return image, m
}

// Unmount does it once; the test's end does it, too.
func (m *Mount) Unmount() {
	if !m.mounted {
		return
	}
	m.mounted = false
	if out, err := exec.Command("umount", m.Dir).CombinedOutput(); err != nil {
		m.t.Errorf("umount: %s", out)
	}
}

// OnImage gives those of the words that are in the raw bytes of an image, once
// all that is written has reached it.
func OnImage(t testing.TB, image string, words ...string) (found []string) {
	t.Helper()
	exec.Command("sync").Run()
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range words {
		if bytes.Contains(b, []byte(w)) {
			found = append(found, w)
		}
	}
	return found
}

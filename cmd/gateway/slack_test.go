package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestTimerSlack looks at a gateway that runs: every thread has the slack,
// those made after the start included.
func TestTimerSlack(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root: the slack of another thread takes CAP_SYS_NICE")
	}
	w := newWorld(t, t.TempDir())
	w.write("gateway.toml", plainConfig)
	w.start()
	w.hello(t)
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", w.gw.cmd.Process.Pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads %v, %v", threads, err)
	}
	want := strconv.FormatInt(timerSlack.Nanoseconds(), 10)
	for _, dir := range threads {
		got, err := os.ReadFile("/proc/" + filepath.Base(dir) + "/timerslack_ns")
		if err != nil && !os.IsNotExist(err) { // the thread may have ended
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(got)); err == nil && got != want {
			t.Errorf("thread %s has %s ns of slack, want %s", filepath.Base(dir), got, want)
		}
	}
}

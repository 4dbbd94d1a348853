package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// timerSlack is how late the kernel may wake a thread from a timed sleep. Under
// load Go's monitor thread sleeps for 20 µs at a time, since it has just taken
// a processor from a thread that waits for the disk; Linux makes 70 µs of it.
// With this slack the monitor looks once a millisecond, and a message costs a
// seventh less: docs/adr/0004-timer-slack.md.
const timerSlack = time.Millisecond

// slackenTimers gives this process's threads the timer slack; threads that they
// start have it, too. It needs CAP_SYS_NICE for other threads than the caller's
// (proc_pid_timerslack_ns(5)): where that is missing nothing changes but the
// cost, and the unit in configs/systemd sets the same from outside.
func slackenTimers() error {
	// A thread may start another one just before its turn comes, which then has
	// the slack of before: so until nobody is left.
	for range 100 {
		n, err := slackenThreads()
		if n == 0 || err != nil {
			return err
		}
	}
	return errors.New("timer slack: threads without it keep coming")
}

// slackenThreads gives the slack to those of today, and tells how many had another.
func slackenThreads() (n int, err error) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return 0, fmt.Errorf("timer slack: %w", err)
	}
	want := strconv.FormatInt(timerSlack.Nanoseconds(), 10)
	for _, t := range threads {
		name := "/proc/" + t.Name() + "/timerslack_ns"
		have, err := os.ReadFile(name)
		if err == nil && strings.TrimSpace(string(have)) != want {
			n++
			err = os.WriteFile(name, []byte(want), 0)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // it has ended
			return n, fmt.Errorf("timer slack: %w", err)
		}
	}
	return n, nil
}

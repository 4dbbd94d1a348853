package main

import (
	"fmt"
	"os"
	"strconv"
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
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("timer slack: %w", err)
	}
	for _, t := range threads {
		value := strconv.FormatInt(timerSlack.Nanoseconds(), 10)
		if err := os.WriteFile("/proc/"+t.Name()+"/timerslack_ns", []byte(value), 0); err != nil {
			return fmt.Errorf("timer slack: %w", err)
		}
	}
	return nil
}

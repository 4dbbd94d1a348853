package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// syncs is what strace saw of one run.
type syncs struct {
	Config      string `json:"config"`
	Connections int    `json:"connections"`
	Messages    int    `json:"messages"`
	Datasyncs   int    `json:"fdatasync"`
	Fsyncs      int    `json:"fsync"`
	// Unsynced counts replies "250 ... queued as" with no finished sync since
	// the one before. With one connection there must be none.
	Unsynced int `json:"replies_without_sync"`
}

// straceMessages is a small number: under strace each costs a hundred times
// its price, and counts do not need more.
const straceMessages = 400

// measureSyncs counts with one connection, where every 250 needs a sync of its
// own, and with many, which share syncs.
func measureSyncs(ctx context.Context, out io.Writer, w *world, running map[string]*process) ([]syncs, error) {
	if _, err := exec.LookPath("strace"); err != nil {
		return nil, fmt.Errorf("-strace: %w", err)
	}
	p := running["bench-relay.toml"]
	if p == nil {
		return nil, errors.New("-strace looks at the relay-only gateway, which -only left out")
	}
	fmt.Fprintln(out, "\nsyncs before the 250 (strace, relay-only, 4 KB)")
	var list []syncs
	for _, c := range []int{1, 20} {
		s, err := traceSyncs(ctx, w, p, c)
		if err != nil {
			return list, err
		}
		list = append(list, s)
		fmt.Fprintf(out, "%2d connections: %d messages, %d fdatasync (%.2f a message), %d fsync",
			c, s.Messages, s.Datasyncs, float64(s.Datasyncs)/float64(s.Messages), s.Fsyncs)
		if c == 1 {
			fmt.Fprintf(out, "; replies 250 without one before: %d", s.Unsynced)
			if s.Unsynced > 0 {
				return list, errors.New("a 250 went out before its sync")
			}
		}
		fmt.Fprintln(out)
	}
	return list, nil
}

func traceSyncs(ctx context.Context, w *world, p *process, connections int) (syncs, error) {
	file := filepath.Join(filepath.Dir(p.config), fmt.Sprintf("strace.%d", connections))
	cmd := exec.CommandContext(ctx, "strace", "-f", "-qq", "-s", "40", "-o", file,
		"-e", "trace=fdatasync,fsync,sync_file_range,write,writev,sendto,sendmsg", "-p", strconv.Itoa(p.cmd.Process.Pid))
	if err := cmd.Start(); err != nil {
		return syncs{}, err
	}
	err := awaitTracer(ctx, p)
	var r sourceResult
	if err == nil {
		sc := scenarios[0]
		var s *source
		if s, err = sc.source(w, p.address, straceMessages, connections); err == nil {
			w.sink.expect(s.First, s.Messages)
			r, err = s.run(ctx)
		}
	}
	_ = cmd.Process.Signal(syscall.SIGINT) // strace lets go of the gateway
	_ = cmd.Wait()                         // and ends by that signal
	if err != nil {
		return syncs{}, err
	}
	f, err := os.Open(file)
	if err != nil {
		return syncs{}, err
	}
	defer f.Close()
	result, err := readTrace(f)
	result.Config, result.Connections, result.Messages = "bench-relay.toml", connections, r.Accepted
	return result, err
}

// awaitTracer waits until strace has attached.
func awaitTracer(ctx context.Context, p *process) error {
	for range 200 {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		if err != nil {
			return err
		}
		if !strings.Contains(string(raw), "TracerPid:\t0\n") {
			pause(ctx, 200*time.Millisecond) // the other threads
			return ctx.Err()
		}
		if !pause(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
	return errors.New("strace could not attach to the gateway")
}

// readTrace counts. A call that another thread's interrupted stands in two
// lines, and is finished in the second: "<... fdatasync resumed>) = 0".
func readTrace(r io.Reader) (syncs, error) {
	var s syncs
	fresh := false
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		line := scan.Text()
		unfinished := strings.HasSuffix(line, "<unfinished ...>")
		switch {
		case strings.Contains(line, `"250 2.0.0 Ok: queued as`):
			if !fresh {
				s.Unsynced++
			}
			fresh = false
		case unfinished || !strings.HasSuffix(line, "= 0"):
		case strings.Contains(line, "fdatasync"):
			s.Datasyncs++
			fresh = true
		case strings.Contains(line, "fsync"):
			s.Fsyncs++
			fresh = true
		}
	}
	return s, scan.Err()
}

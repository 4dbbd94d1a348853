package torture

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Half of the spools that are tortured are encrypted. Keys change meanwhile,
// which a gateway that lives for a second would not do by itself.

// keyLine is the line of the config for an encrypted spool, whose key it makes.
func (w *world) keyLine() string {
	if !w.sealed {
		return ""
	}
	name := filepath.Join(w.dir, "spool.key")
	run(w.t, w.binary, "queue", "key", "new", name)
	return fmt.Sprintf("encryption_key = %q", name)
}

// turnKeys runs, beside the load, a command that changes keys: the master key,
// or all of those that sealed something which is over. The gateway may be
// killed under it. The returned function waits for its end.
func (w *world) turnKeys() (wait func()) {
	if !w.sealed || rand.IntN(3) == 0 {
		return func() {}
	}
	args := []string{"queue", "key", "rotate", "--config", w.config}
	if rand.IntN(2) == 0 {
		args = []string{"privacy", "erase", "--config", w.config, "nobody@client.test", "--yes"}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, w.binary, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if cmd.Run() == nil {
			w.turned++
		}
	}()
	return func() { <-done }
}

// speaks finds files of an encrypted spool with clear text of a message.
func (w *world) speaks() (faults []string) {
	if !w.sealed {
		return nil
	}
	files := 0
	err := filepath.WalkDir(filepath.Join(w.data, "spool"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for _, word := range []string{"@client.test", "@example.org", "minutes of the last meeting"} {
			if bytes.Contains(text, []byte(word)) {
				faults = append(faults, fmt.Sprintf("%q lies in clear in %s", word, path))
			}
		}
		return err
	})
	if err != nil || files < 3 {
		faults = append(faults, fmt.Sprintf("the spool cannot be searched: %d files, %v", files, err))
	}
	return faults
}

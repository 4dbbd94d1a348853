package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNotReadyDuringStart: while the spool is read, which may take seconds,
// /readyz is 503 and says why.
func TestNotReadyDuringStart(t *testing.T) {
	dir, address := t.TempDir(), freeAddress(t)
	path := filepath.Join(dir, "gateway.toml")
	text := fmt.Sprintf(queueConfig, dir+"/data", closedPort(t), closedPort(t), closedPort(t))
	text = strings.Replace(text, "[metrics]\naddress = \"127.0.0.1:0\"", fmt.Sprintf("[metrics]\naddress = %q", address), 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	// A pipe in place of a file: the start waits there for somebody to write.
	pipe := spoolDir(cfg) + "/FORMAT"
	if err := os.MkdirAll(spoolDir(cfg), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skipf("skipped: no named pipes here: %v", err)
	}
	ended := make(chan error)
	go func() {
		g, err := start(context.Background(), cfg, slog.New(slog.DiscardHandler), startOptions{})
		if err == nil {
			err = fmt.Errorf("a spool that is a pipe was opened: %w", g.stop(context.Background()))
		}
		ended <- err
	}()
	code, body := 0, ""
	for begin := time.Now(); code == 0 && time.Since(begin) < 10*time.Second; time.Sleep(5 * time.Millisecond) {
		if r, err := http.Get("http://" + address + "/readyz"); err == nil {
			b, _ := io.ReadAll(r.Body)
			r.Body.Close()
			code, body = r.StatusCode, string(b)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := <-ended; err == nil || strings.Contains(err.Error(), "was opened") {
		t.Errorf("start: %v", err)
	}
	if code != http.StatusServiceUnavailable || !strings.Contains(body, "starting") {
		t.Errorf("/readyz during the start: %d %s", code, body)
	}
}

// TestLongDataDir: the path of a socket has a limit that no other file has. What
// the kernel says of one that is longer is "invalid argument".
func TestLongDataDir(t *testing.T) {
	data := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	path := filepath.Join(t.TempDir(), "gateway.toml")
	text := fmt.Sprintf(queueConfig, data, closedPort(t), closedPort(t), closedPort(t))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	err = (&gateway{cfg: cfg}).startControl(context.Background())
	if err == nil || !strings.Contains(err.Error(), "shorter data_dir") {
		t.Errorf("got %v", err)
	}
}

// TestBindHint: who starts without root for the first time learns what is
// missing; a port that is taken needs no advice.
func TestBindHint(t *testing.T) {
	for errno, hint := range map[syscall.Errno]bool{syscall.EACCES: true, syscall.EPERM: true, syscall.EADDRINUSE: false} {
		err := explainBind(&net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", errno)})
		if got := strings.Contains(err.Error(), "CAP_NET_BIND_SERVICE"); got != hint || !errors.Is(err, errno) {
			t.Errorf("%v: %v", errno, err)
		}
	}
	if explainBind(nil) != nil {
		t.Error("success has a hint")
	}
}

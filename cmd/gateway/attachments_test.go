package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"mailweir/internal/config"
)

// TestHoldingDir: who only judges makes no folder that the gateway's own user
// could not write to later.
func TestHoldingDir(t *testing.T) {
	data := t.TempDir()
	cfg := &config.Config{DataDir: config.Path(data)}
	o := judgeOptions{offline: true, log: slog.New(slog.DiscardHandler)}
	if dir := holdingDir(cfg, o); dir != "" {
		t.Errorf("check holds parts in %s", dir)
	}
	if left, err := os.ReadDir(data); err != nil || len(left) > 0 {
		t.Errorf("left in data_dir: %v, %v", left, err)
	}
	o.offline = false
	if dir := holdingDir(cfg, o); dir != filepath.Join(data, "parts") {
		t.Errorf("held in %q", dir)
	}
	if left, err := os.ReadDir(filepath.Join(data, "parts")); err != nil || len(left) > 0 {
		t.Errorf("left in parts: %v, %v", left, err)
	}
	cfg.DataDir = config.Path(filepath.Join(data, "file"))
	if err := os.WriteFile(string(cfg.DataDir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if dir := holdingDir(cfg, o); dir != "" {
		t.Errorf("below a file: %q", dir)
	}
}

package main

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestLearnedByRoot: what root has learned belongs to the owner of data_dir.
func TestLearnedByRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, 12345, 12346); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "gateway.toml")
	text := strings.Replace(evalConfig, "/nonexistent", data, 1)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	std := stdio{strings.NewReader("Subject: test\r\n\r\ntext\r\n"), io.Discard, io.Discard}
	if code, err := learnCommand(context.Background(), std, []string{"--config", config, "--ham", "-"}); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	files := 0
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files++
		if s := info.Sys().(*syscall.Stat_t); s.Uid != 12345 || s.Gid != 12346 {
			t.Errorf("%s belongs to %d:%d", path, s.Uid, s.Gid)
		}
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("%d files: %v", files, err)
	}
}

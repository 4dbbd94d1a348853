package logfile

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestRetention is a month in virtual time: each day has a file, and a file goes
// when its last line is as old as the class allows; others stay.
func TestRetention(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		mail, err := Open(dir, Class{"mail", 3 * day})
		if err != nil {
			t.Fatal(err)
		}
		abuse, err := Open(dir, Class{"abuse", 10 * day})
		if err != nil {
			t.Fatal(err)
		}
		foreign := filepath.Join(dir, "mail-notes.log")
		if err := os.WriteFile(foreign, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 30 {
			for _, w := range []*Writer{mail, abuse} {
				if _, err := w.Write([]byte("line\n")); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(day)
			now := time.Now()
			if err := mail.Expire(now); err != nil {
				t.Fatal(err)
			}
			if err := abuse.Expire(now); err != nil {
				t.Fatal(err)
			}
			counts := map[string]int{}
			files, err := Files(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				counts[f.Class]++
				if age := now.Sub(f.End()); age >= map[string]time.Duration{"mail": 3 * day, "abuse": 10 * day}[f.Class] {
					t.Errorf("%s is %s old", f.Path, age)
				}
			}
			if counts["mail"] > 4 || counts["abuse"] > 11 {
				t.Fatalf("%v", counts)
			}
		}
		if files, _ := Files(dir); len(files) < 12 {
			t.Errorf("only %d files", len(files))
		}
		if _, err := os.Stat(foreign); err != nil {
			t.Error("a file that is not ours is gone")
		}
	})
}

package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const mboxText = "From a@example.org Thu Nov 20 10:00:00 2025\n" +
	"Subject: one\n\nFrom here on it is text.\n\n>From the start\n>>From twice\n\n" +
	"From MAILER-DAEMON Thu Nov 20 10:00 2025\n" +
	"Subject: two\n\nFrom Monday to Friday, 2025, we are open\nFrom b@example.org Thu Nov 20 10:00:00 2025\n\n" +
	"From c@example.org Thu Nov 20 10:00:00 2025\n" +
	"Subject: three\n\nlast\n"

func TestMbox(t *testing.T) {
	file := filepath.Join(t.TempDir(), "all.mbox")
	long := strings.Repeat("x", 100<<10)
	if err := os.WriteFile(file, []byte(mboxText+"\nFrom d@example.org Thu Nov 20 10:00:00 2025\nSubject: "+long+"\n\nfour\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := expand([]string{file})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Subject: one\r\n\r\nFrom here on it is text.\r\n\r\nFrom the start\r\n>From twice\r\n",
		"Subject: two\r\n\r\nFrom Monday to Friday, 2025, we are open\r\nFrom b@example.org Thu Nov 20 10:00:00 2025\r\n",
		"Subject: three\r\n\r\nlast\r\n",
		"Subject: " + long + "\r\n\r\nfour\r\n",
	}
	if len(list) != len(want) {
		t.Fatalf("%d messages, want %d", len(list), len(want))
	}
	for i, s := range list {
		data, err := s.read(nil)
		if err != nil || string(data) != want[i] {
			t.Errorf("%s: %v\n%q\nwant\n%q", s.name(), err, data, want[i])
		}
	}
	if name := list[2].name(); name != file+":3" {
		t.Error(name)
	}
}

// TestNoMbox: what is one message stays one.
func TestNoMbox(t *testing.T) {
	for _, text := range []string{
		"Subject: one\n\ntext\n\nFrom a@example.org Thu Nov 20 10:00:00 2025\nSubject: two\n\n", // does not begin like one
		"From a@example.org Thu Nov 20 10:00:00 2025\nSubject: one\n\ntext\n\nFrom here it goes on at noon\n",
		"", "From ",
	} {
		if list, err := sections(strings.NewReader(text)); err != nil || len(list) > 1 {
			t.Errorf("%q: %v %v", text, list, err)
		}
	}
}

// TestLearnMbox: `gateway learn` counts the messages of an mbox file.
func TestLearnMbox(t *testing.T) {
	dir := t.TempDir()
	config, file := filepath.Join(dir, "gateway.toml"), filepath.Join(dir, "spam.mbox")
	for name, text := range map[string]string{config: strings.Replace(evalConfig, "/nonexistent", filepath.Join(dir, "data"), 1), file: mboxText} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	code, err := learnCommand(context.Background(), stdio{strings.NewReader(""), &out, io.Discard}, []string{"--config", config, "--spam", file})
	if code != 0 || err != nil || !strings.Contains(out.String(), "3 learned\n") {
		t.Errorf("%d %v\n%s", code, err, &out)
	}
}

func FuzzSections(f *testing.F) {
	f.Add([]byte(mboxText))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := sections(strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		at := int64(0)
		for _, s := range list {
			if s.at != at || s.size <= 0 {
				t.Fatalf("%v", list)
			}
			at += s.size
		}
		if len(list) > 0 && at != int64(len(b)) {
			t.Fatalf("%d of %d octets", at, len(b))
		}
	})
}

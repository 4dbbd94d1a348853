package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"mailweir/queue"
)

const credentialConfig = `
hostname = "mx.example.org"
data_dir = "{{.Dir}}/data"
[[listener]]
address         = "{{.Listen}}"
trusted_proxies = ["127.0.0.0/8"]
[dns]
servers = ["{{.DNS}}"]
[metrics]
address = "{{.Metrics}}"
[[domain]]
name      = "example.org"
next_hops = ["{{.Sink}}"]
[queue]
encryption_key = "credential:spool"
`

// TestRotateCredential: a master key that systemd gives is changed without a
// restart, and the next start needs the new one alone.
func TestRotateCredential(t *testing.T) {
	w := newWorld(t, t.TempDir())
	t.Setenv("CREDENTIALS_DIRECTORY", w.path("credentials"))
	if err := os.Mkdir(w.path("credentials"), 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(in string, args ...string) (string, int) {
		var out bytes.Buffer
		code := dispatch(context.Background(), stdio{strings.NewReader(in), &out, &out}, args)
		return out.String(), code
	}
	first, second, third := queue.NewKeyLine(), queue.NewKeyLine(), queue.NewKeyLine()
	put("credentials/spool", first)
	config := w.write("gateway.toml", credentialConfig)
	w.start()
	if out, code := run("", "queue", "key", "rotate", "--config", config); code == exitOK || !strings.Contains(out, "--keys") {
		t.Errorf("rotate without --keys: exit %d\n%s", code, out)
	}
	put("source", second+first)
	out, code := run("", "queue", "key", "rotate", "--config", config, "--keys", w.path("source"))
	if code != exitOK || !strings.Contains(out, "the first key only") {
		t.Fatalf("rotate --keys: exit %d\n%s", code, out)
	}
	sendAs(t, w, "192.0.2.10", "a.example", "bob@example.org", "From: <a@sender.example>\r\nSubject: x\r\n\r\nhello\r\n")
	if _, err := w.sinks["Sink"].wait(1, patience); err != nil {
		t.Fatal(err)
	}
	if err := w.gw.terminate(); err != nil {
		t.Fatal(err)
	}
	put("credentials/spool", second)
	w.start()
	if out, code := run(third+second, "queue", "key", "rotate", "--config", config, "--keys", "-"); code != exitOK {
		t.Fatalf("rotate --keys -: exit %d\n%s", code, out)
	}
	// Killed, it leaves the key of the epoch, sealed with the last one.
	w.gw.kill()
	for keys, want := range map[string]int{second: exitError, third: exitOK} {
		put("credentials/spool", keys)
		if out, code := run("", "queue", "list", "--config", config); code != want {
			t.Errorf("list: exit %d, want %d\n%s", code, want, out)
		}
	}
}

package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"mailweir/internal/mailtest"
)

// plainConfig is a gateway without opinions: what the tests below send must
// arrive.
const plainConfig = `
hostname = "mx.example.org"
data_dir = "{{.Dir}}/data"

[[listener]]
address         = "{{.Listen}}"
trusted_proxies = ["127.0.0.0/8"]

[dns]
servers = ["{{.DNS}}"]

[metrics]
address = "{{.Metrics}}"

[queue]
retry_first = "1s"
retry_max   = "1s"

[[domain]]
name      = "example.org"
next_hops = ["{{.Sink}}"]
`

// tool finds a program of the harness.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name, "/usr/bin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	mailtest.SkipHarness(t, name+" is not installed")
	return ""
}

// mustRun runs a client that must succeed.
func mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// TestSMTPSource: Postfix's load generator, many sessions at once, several
// recipients, several messages a session.
func TestSMTPSource(t *testing.T) {
	t.Parallel()
	source := tool(t, "smtp-source")
	w := newWorld(t, t.TempDir())
	w.write("gateway.toml", plainConfig)
	w.start()
	mustRun(t, source, "-s", "10", "-m", "200", "-l", "4000", "-f", "alice@sender.example", "-t", "bob@example.org", w.names["Listen"])
	mustRun(t, source, "-d", "-s", "5", "-m", "50", "-r", "3", "-S", "a subject", "-f", "alice@sender.example", "-t", "bob@example.org", w.names["Listen"])
	got, err := w.sinks["Sink"].wait(250, 2*patience)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got {
		if len(m.Rcpts) != 1 && len(m.Rcpts) != 3 {
			t.Errorf("a message for %d recipients", len(m.Rcpts))
		}
	}
}

// TestSwaks: the tester's tool, in clear and by STARTTLS, with an attachment,
// by XCLIENT.
func TestSwaks(t *testing.T) {
	t.Parallel()
	swaks := tool(t, "swaks")
	w := newWorld(t, t.TempDir())
	w.write("gateway.toml", plainConfig)
	w.start()
	runs := [][]string{
		{},
		{"--attach-body", "Text", "--attach", "@" + w.path("gateway.toml")},
		{"--xclient-addr", "192.0.2.10", "--xclient-name", "[UNAVAILABLE]"},
	}
	// What swaks needs for TLS is a package of its own.
	if strings.Contains(mustRun(t, swaks, "--support"), "=== TLS supported") {
		runs = append(runs, []string{"--tls"})
	}
	for _, extra := range runs {
		args := append([]string{"--server", w.names["Listen"], "--helo", "client.example",
			"--from", "alice@sender.example", "--to", "bob@example.org,carol@example.org"}, extra...)
		out := mustRun(t, swaks, args...)
		if !strings.Contains(out, "250 2.0.0 Ok: queued as ") {
			t.Errorf("swaks %q:\n%s", extra, out)
		}
	}
	got, err := w.sinks["Sink"].wait(len(runs), patience)
	if err != nil {
		t.Fatal(err)
	}
	if len(got[0].Rcpts) != 2 {
		t.Errorf("recipients %v", got[0].Rcpts)
	}
}

// TestPostfixBehind: Postfix as the next hop, with a sink behind it.
func TestPostfixBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	postfix := mailtest.StartPostfix(t, w.names["Sink"], "smtputf8_enable = yes")
	w.names["Postfix"] = postfix.Addr
	w.write("gateway.toml", strings.ReplaceAll(strings.ReplaceAll(plainConfig, "{{.Sink}}", "{{.Postfix}}"), "example.org\"\nnext", "mx.test\"\nnext"))
	w.start()
	for n := range 20 {
		l := &letter{listen: "Listen", helo: "client.example", from: "alice@sender.example", to: []string{"bob@mx.test"},
			msg: fmt.Appendf(nil, "From: alice@sender.example\r\nSubject: number %d\r\n\r\n.\r\n..\r\nbody %d\r\n", n, n)}
		if reply, _, err := w.post(l); err != nil || !matches("250 2.0.0 Ok: queued as {ID}", reply) {
			t.Fatalf("%s %v", reply, err)
		}
	}
	got, err := w.sinks["Sink"].wait(20, 2*patience)
	if err != nil {
		t.Fatalf("%v\n%s", err, postfix.Log())
	}
	for _, m := range got {
		_, body := split(m.Data)
		if !bytes.HasPrefix(body, []byte(".\r\n..\r\nbody ")) {
			t.Errorf("body %q", body)
		}
	}
}

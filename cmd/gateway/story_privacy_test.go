package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailweir/internal/mailtest"
)

const privacyConfig = `
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
[privacy]
redact        = "all"
log_addresses = "pseudonymous"
[log]
dir = "{{.Dir}}/log"
[relay]
outbound = "{{.Sink2}}"
[stats]
mmdb = ["{{.MMDB}}"]
`

// TestCanaryClient: a client's address, name and HELO, and the addresses of a
// message, in everything that leaves the gateway or stays on its disk where
// that is promised: the next hop, the DSN, log, metrics and spool. Who knows an
// address finds its lines.
func TestCanaryClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	w.names["MMDB"] = mailtest.MMDB(t)
	config := w.write("gateway.toml", privacyConfig)
	w.sinks["Sink"].reply("RCPT refused@", "550 5.1.1 no refused@example.org here")
	w.start()
	const ip, helo = "203.0.113.77", "canary-helo.isp.example"
	big := "X-Originating-IP: " + ip + "\r\nReceived: from " + helo + " (canary-name.isp.example [" + ip + "]) by a.example; Sat, 21 Nov 2026 10:00:00 +0000\r\n" +
		"From: <anna@sender.example>\r\nSubject: minutes\r\n\r\n" + strings.Repeat("a line of some length, to make the message large\r\n", 4000)
	for _, to := range []string{"bob@example.org", "refused@example.org"} {
		for _, size := range []int{400, len(big)} {
			sendAs(t, w, ip, helo, to, big[:size])
		}
	}
	if got, err := w.sinks["Sink"].wait(2, patience); err != nil {
		t.Fatal(err)
	} else {
		noCanary(t, "next hop", got[0].Data, ip, "canary")
		noCanary(t, "next hop", got[1].Data, ip, "canary")
	}
	if err := w.gw.terminate(); err != nil { // not stop: it looks for transactions on standard error
		t.Fatal(err)
	}
	noCanary(t, "standard error", []byte(strings.Join(w.gw.lines(), "\n")), ip, "canary", "bob@", "refused@", "anna@")
	spool := readTree(t, w.path("data/spool"))
	noCanary(t, "spool", spool, ip, "canary")
	logs := readTree(t, w.path("log"))
	noCanary(t, "log", logs, ip, "canary", "bob@", "refused@", "anna@")
	if !bytes.Contains(logs, []byte(`"client":"ip-`)) || !bytes.Contains(logs, []byte(`"recipient":"mail-`)) {
		t.Errorf("no pseudonyms in\n%s", logs)
	}
	for address, want := range map[string]int{ip: 8, helo: 8, "refused@example.org": 4, "BOB@example.org": 4, "203.0.113.78": 0} {
		var out bytes.Buffer
		code := dispatch(context.Background(), stdio{nil, &out, os.Stderr}, []string{"log", "find", "--config", config, "--address", address})
		if got := strings.Count(out.String(), "\n"); got != want || (code == exitOK) != (want > 0) {
			t.Errorf("log find %s: %d lines, exit %d, want %d\n%s", address, got, code, want, &out)
		}
	}
	noCanary(t, "history", readTree(t, w.path("data/history")), ip, "canary", "bob@", "refused@", "anna@")
	traceStory(t, w, config)
	statsStory(t, config)
	noCanary(t, "statistics", append(readTree(t, w.path("data/stats")), config...), ip, "canary", "bob@")
	eraseStory(t, w, config)
	verifyStory(t, w, config)
}

// traceStory: the events know what became of the four messages, and not from
// where they came.
func traceStory(t *testing.T, w *world, config string) {
	t.Helper()
	noCanary(t, "events", readTree(t, w.path("data/events")), "203.0.113.77", "canary")
	for _, c := range []struct {
		args string
		want int
		with string
	}{
		{"--to bob@example.org", 2, "queued"}, {"--to refused@example.org", 2, "held"}, {"--from anna@sender.example", 4, ""},
		{"--domain example.org --since 1h", 4, ""}, {"--domain sender.example --limit 3", 3, ""}, {"--to nobody@example.org", 0, ""}, {"--until 2020-01-01", 0, ""},
	} {
		var out, errs bytes.Buffer
		code := dispatch(context.Background(), stdio{nil, &out, &errs}, append([]string{"trace", "--config", config}, strings.Fields(c.args)...))
		lines := strings.Count(out.String(), "\n")
		if lines != c.want || (code == exitOK) != (c.want > 0) || c.with == "held" && strings.Count(out.String(), c.with) != c.want || c.with == "queued" && !strings.Contains(out.String(), "relayed") {
			t.Errorf("trace %s: exit %d, want %d lines\n%s", c.args, code, c.want, &out)
		}
		if said := strings.Contains(errs.String(), "nothing was found"); said != (c.want == 0) {
			t.Errorf("trace %s: says %q", c.args, &errs)
		}
	}
}

// statsStory: four recipients are too few to be told of, unless asked for.
func statsStory(t *testing.T, config string) {
	t.Helper()
	for args, want := range map[string]string{
		"--json":                "\"fewer_than\":10",
		"--json --threshold 2":  "\"domain\":\"example.org\",\"action\":\"accept\",\"recipients\":",
		"--threshold 2":         "country NL",
		"--threshold 4 --json":  "{\"kind\":\"software\",\"name\":\"none\",\"messages\":4}",
		"--since 2h --until 1h": "",
		"--threshold 0":         "",
	} {
		var out, errs bytes.Buffer
		code := dispatch(context.Background(), stdio{nil, &out, &errs}, append([]string{"stats", "--config", config}, strings.Fields(args)...))
		if !strings.Contains(out.String(), want) || (code == exitOK) != (want != "") {
			t.Errorf("stats %s: exit %d\n%s", args, code, &out)
		}
		if (errs.Len() == 0) != (want != "") {
			t.Errorf("stats %s: says %q", args, &errs)
		}
		if want == "\"fewer_than\":10" && strings.Contains(out.String(), "example.org") {
			t.Errorf("stats tell of few:\n%s", &out)
		}
	}
}

// eraseStory: an address is exported, erased, and then in no file but the spool,
// which is not encrypted here (story 44-erase has one that is); another one is all
// there.
func eraseStory(t *testing.T, w *world, config string) {
	t.Helper()
	run := func(args ...string) (string, int) {
		var out bytes.Buffer
		code := dispatch(context.Background(), stdio{strings.NewReader(""), &out, os.Stderr}, append([]string{"privacy"}, append(args, "--config", config)...))
		return out.String(), code
	}
	got, code := run("export", "bob@example.org")
	for class, want := range map[string]int{"event": 2, "history": 4, "log": 4, "queue": 0} {
		if n := strings.Count(got, `{"class":"`+class+`"`); n != want || code != exitOK {
			t.Errorf("export: exit %d, %d of class %s, want %d\n%s", code, n, class, want, got)
		}
	}
	if _, code := run("erase", "bob@example.org"); code != exitError {
		t.Errorf("erase without --yes: exit %d", code)
	}
	got, code = run("erase", "bob@example.org", "--yes")
	if code != exitError || !strings.Contains(got, "events: 2 erased") || !strings.Contains(got, "history: 4 lines erased") || !strings.Contains(got, "stays: the text") {
		t.Errorf("erase: exit %d\n%s", code, got)
	}
	if got, code = run("erase", "bob@example.org", "--yes"); code != exitError || !strings.Contains(got, "events: 0 erased") || !strings.Contains(got, "log: 0 lines") {
		t.Errorf("erase again: exit %d\n%s", code, got)
	}
	if got, code = run("export", "bob@example.org"); code != exitError || got != "" {
		t.Errorf("export of what is erased: exit %d\n%s", code, got)
	}
	for _, dir := range []string{"data/events", "data/history", "log"} {
		noCanary(t, dir, readTree(t, w.path(dir)), "bob@example.org", "example.org@bob")
	}
	if got, code = run("erase", "refused@example.org", "--yes"); code != exitError || !strings.Contains(got, "stays: 2 held messages") {
		t.Errorf("erase of held messages without a gateway: exit %d\n%s", code, got)
	}
	w.start()
	if got, code = run("erase", "refused@example.org", "--yes"); code != exitError || !strings.Contains(got, "messages: 2 erased") || !strings.Contains(got, "stays: the text") {
		t.Errorf("erase of held messages: exit %d\n%s", code, got)
	}
	if err := w.gw.terminate(); err != nil {
		t.Fatal(err)
	}
}

// verifyStory: what is too old on the disk is found, and so is what nobody knows.
func verifyStory(t *testing.T, w *world, config string) {
	t.Helper()
	verify := func() (string, int) {
		var out bytes.Buffer
		code := dispatch(context.Background(), stdio{nil, &out, os.Stderr}, []string{"log", "verify-retention", "--config", config})
		return out.String(), code
	}
	if out, code := verify(); code != exitOK || !strings.Contains(out, "pseudonym keys") || !strings.Contains(out, "mail log") {
		t.Errorf("verify-retention: exit %d\n%s", code, out)
	}
	old := w.path("log/mail-2020-01-02.log")
	notes := w.path("log/notes.txt")
	for _, name := range []string{old, notes} {
		if err := os.WriteFile(name, []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, code := verify(); code != exitError || !strings.Contains(out, "TOO OLD  "+old) || !strings.Contains(out, "UNKNOWN  "+notes) {
		t.Errorf("verify-retention with an old file: exit %d\n%s", code, out)
	}
	w.start() // drops it
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the old file is still there: %v", err)
	}
	noCanary(t, "metrics", metricsText(t, w), "203.0.113.77", "canary", "bob@")
}

func sendAs(t *testing.T, w *world, ip, helo, to, message string) {
	t.Helper()
	cl, err := w.dial("Listen")
	if err != nil {
		t.Fatal(err)
	}
	defer cl.close()
	cl.reply()
	cl.do("EHLO proxy.example")
	cl.do("XCLIENT ADDR=%s NAME=canary-name.isp.example", ip)
	for _, line := range []string{"EHLO " + helo, "MAIL FROM:<anna@sender.example>", "RCPT TO:<" + to + ">", "DATA"} {
		if got, err := cl.do("%s", line); err != nil || got[0] > '3' {
			t.Fatalf("%s: %s, %v", line, got, err)
		}
	}
	cl.data([]byte(strings.TrimSuffix(message, "\r\n") + "\r\n"))
	if got, err := cl.reply(); err != nil || !strings.HasPrefix(got, "250") {
		t.Fatalf("%s, %v", got, err)
	}
}

// noCanary makes sure that there was something to look at.
func noCanary(t *testing.T, where string, data []byte, canaries ...string) {
	t.Helper()
	if len(data) < 100 {
		t.Errorf("%s: only %d bytes", where, len(data))
	}
	for _, c := range canaries {
		if i := bytes.Index(data, []byte(c)); i >= 0 {
			t.Errorf("%s has %q: ...%s...", where, c, data[max(0, i-100):min(len(data), i+100)])
		}
	}
}

// readTree is the content of all files below dir.
func readTree(t *testing.T, dir string) []byte {
	t.Helper()
	var all []byte
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(all, b...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func metricsText(t *testing.T, w *world) []byte {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	r, err := client.Get(fmt.Sprintf("http://%s/metrics", w.names["Metrics"]))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const loopConfig = `
hostname = "{{.Name}}.example"
data_dir = "{{.Dir}}/data-{{.Name}}"
[[listener]]
address = "{{.Here}}"
[dns]
servers = ["{{.DNS}}"]
[metrics]
address = "{{.Ours}}"
[[domain]]
name      = "example.org"
next_hops = ["{{.There}}"]
[privacy]
redact = "all"
`

// TestRedactedLoopStops: two gateways that redact, each the next hop of the
// other. Redaction leaves the hops to be counted, and the loop ends.
func TestRedactedLoopStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	w.names["Metrics2"] = freeAddress(t)
	var gateways []*process
	for _, side := range [][4]string{{"a", "Listen", "Listen2", "Metrics"}, {"b", "Listen2", "Listen", "Metrics2"}} {
		w.names["Name"], w.names["Here"], w.names["There"], w.names["Ours"] = side[0], w.names[side[1]], w.names[side[2]], w.names[side[3]]
		gateways = append(gateways, startProcess(t, w.binary, w.write("loop-"+side[0]+".toml", loopConfig), w.names[side[3]], nil))
	}
	cl, err := w.dial("Listen")
	if err != nil {
		t.Fatal(err)
	}
	defer cl.close()
	cl.reply()
	for _, line := range []string{"EHLO client.example", "MAIL FROM:<anna@sender.example>", "RCPT TO:<bob@example.org>", "DATA"} {
		cl.do("%s", line)
	}
	cl.data([]byte("From: <anna@sender.example>\r\nSubject: round\r\n\r\nround\r\n"))
	if got, err := cl.reply(); err != nil || !strings.HasPrefix(got, "250") {
		t.Fatalf("%s, %v", got, err)
	}
	var a, b <-chan struct{} = gateways[0].seen("Too many hops", 0), gateways[1].seen("Too many hops", 0)
	select {
	case <-a:
	case <-b:
	case <-time.After(3 * patience):
		t.Error("the loop does not end")
	}
	if n := len(gateways[0].lines()) + len(gateways[1].lines()); n > 600 {
		t.Errorf("%d lines in the logs", n)
	}
}

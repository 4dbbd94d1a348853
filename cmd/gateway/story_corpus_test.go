package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"mailweir/internal/mailtest"
	"mailweir/mail"
)

// corpusAll makes stories of it that need not be fast use the whole corpus.
var corpusAll = flag.Bool("corpus-all", false, "relay every message of the corpus, not 200")

// corpusMessages takes n messages of the corpus, or all when there are fewer:
// archives of real mail that are not part of the repository, in MAILWEIR_CORPUS
// or ../shared/corpus beside it. They are what a client would send: CRLF, no
// bare LF.
func corpusMessages(t *testing.T, n int) map[string][]byte {
	t.Helper()
	dir := os.Getenv("MAILWEIR_CORPUS")
	if dir == "" {
		dir = "../../../shared/corpus"
	}
	archives, _ := filepath.Glob(filepath.Join(dir, "*.tar.xz"))
	if len(archives) == 0 {
		t.Skip("no corpus of mail: name a folder of .tar.xz archives in MAILWEIR_CORPUS")
	}
	tool(t, "xz")
	tree := t.TempDir()
	for _, a := range archives {
		mustRun(t, "tar", "-xJf", a, "-C", tree)
	}
	var files []string
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(files)
	list := map[string][]byte{}
	for k := 0; len(list) < n && k < len(files); k++ {
		path := files[k*7919%len(files)] // spread over all archives, the same each time
		if data, ok := sendable(path); ok {
			list[path] = data
		}
	}
	if len(list) < min(n, 200) {
		t.Fatalf("only %d messages", len(list))
	}
	return list
}

// sendable reads a message, unless no client could send it to us as it is.
func sendable(path string) ([]byte, bool) {
	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return nil, false
	}
	data = normalize(data)
	bare := bytes.ReplaceAll(data, []byte("\r\n"), nil)
	if bytes.ContainsAny(bare, "\r\n\x00") || len(data) > 1<<20 {
		return nil, false
	}
	n, complete := mail.HeaderLength(data)
	return data, complete && n < len(data)
}

// TestCorpusIsRelayed: 200 real messages reach the next hop without a changed
// octet below our own fields, or at least with the very body, where a field of
// theirs had to go.
func TestCorpusIsRelayed(t *testing.T) {
	t.Parallel()
	n := 200
	if *corpusAll {
		n = math.MaxInt
	}
	messages := corpusMessages(t, n)
	sent, whole, refused := relayAll(t, messages)
	if refused > len(messages)/20 {
		t.Errorf("%d of %d real messages were refused for their form", refused, len(messages))
	}
	// What differs had X-Spam fields of another filter.
	t.Logf("%d relayed, %d of them unchanged to the last octet, %d refused for their form", sent, whole, refused)
	if whole < sent/2 {
		t.Errorf("only %d of %d kept their header section", whole, sent)
	}
}

// packagedMail are the places where Debian packages keep odd messages: the test
// data of Python's email package (libpython3.*-testsuite).
var packagedMail = []string{"/usr/lib/python3*/test/test_email/data/*.txt", "/usr/lib/python3*/test/test_email/data/*.eml"}

// TestPackagedMailIsRelayed: messages that were made to try parsers keep every
// octet, or are refused for what is no header section.
func TestPackagedMailIsRelayed(t *testing.T) {
	t.Parallel()
	messages := map[string][]byte{}
	found := 0
	for _, pattern := range packagedMail {
		files, _ := filepath.Glob(pattern)
		found += len(files)
		for _, path := range files {
			if data, ok := sendable(path); ok {
				messages[path] = data
			}
		}
	}
	if found == 0 {
		mailtest.SkipHarness(t, "no messages in "+strings.Join(packagedMail, ", ")+" (Debian package libpython3.*-testsuite)")
	}
	sent, whole, refused := relayAll(t, messages)
	t.Logf("%d files, %d that a client could send, %d relayed, %d refused for their form", found, len(messages), sent, refused)
	if whole != sent {
		t.Errorf("only %d of %d messages are unchanged", whole, sent)
	}
	if sent < len(messages)/2 {
		t.Errorf("only %d of %d messages were taken", sent, len(messages))
	}
}

// relayAll posts messages to a gateway in tag mode, and compares what reaches the
// next hop: the body always, and whole is how many kept all else, too. refused are
// those without a header section.
func relayAll(t *testing.T, messages map[string][]byte) (relayed, whole, refused int) {
	t.Helper()
	w := newWorld(t, t.TempDir())
	w.write("gateway.toml", "mode = \"tag\"\n"+plainConfig)
	w.start()
	sent := map[string][]byte{}
	for path, msg := range messages {
		reply, id, err := w.post(&letter{listen: "Listen", xclient: "ADDR=192.0.2.10", helo: "mail.sender.example",
			from: "alice@sender.example", to: []string{"bob@example.org"}, msg: msg})
		switch {
		case err != nil:
			t.Fatalf("%s: %v", path, err)
		case reply[0] == '2':
			sent[id] = msg
		case matches("550 5.6.0", reply): // a header section that is none
			refused++
		default:
			t.Errorf("%s: %s", filepath.Base(path), reply)
		}
	}
	if _, err := w.sinks["Sink"].wait(len(sent), 2*patience); err != nil {
		t.Fatal(err)
	}
	for _, m := range w.sinks["Sink"].messages() {
		head, body := split(m.Data)
		id := ourID.FindSubmatch(head)
		if id == nil {
			t.Fatalf("no Received of ours:\n%s", head)
		}
		want := sent[string(id[1])]
		_, wantBody := split(want)
		if bytes.HasSuffix(m.Data, want) {
			whole++
		} else if err := same(body, wantBody); err != nil {
			t.Errorf("body: %v", err)
		}
	}
	return len(sent), whole, refused
}

// judgement is what both ways of judging must agree on.
type judgement struct {
	Action  string
	Score   float64
	Symbols []string
}

// TestCheckAgreesWithSMTP: `gateway check` and the running gateway say the same
// about 200 real messages.
func TestCheckAgreesWithSMTP(t *testing.T) {
	t.Parallel()
	messages := corpusMessages(t, 200)
	w := newWorld(t, t.TempDir())
	if err := w.dns.Replace(agreementZone); err != nil {
		t.Fatal(err)
	}
	w.write("gateway.toml", plainConfig+"\n[[dnsbl]]\nzone = \"bl.example\"\nscore = 2.5\n\n[score]\nreject = 9.0\n")
	w.start()
	w.sinks["Sink"].claimed = -1
	online := map[string]judgement{}
	folder := filepath.Join(w.dir, "mail")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	n := 0
	for path, msg := range messages {
		name := fmt.Sprintf("%03d.eml", n)
		n++
		if err := os.WriteFile(filepath.Join(folder, name), msg, 0o600); err != nil {
			t.Fatal(err)
		}
		_, id, err := w.post(&letter{listen: "Listen", xclient: "ADDR=192.0.2.66", helo: "mail.sender.example",
			from: "alice@sender.example", to: []string{"bob@example.org"}, msg: msg})
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		online[name] = w.logged(t, id)
	}
	for name, got := range w.checked(t, folder) {
		want := online[name]
		if got.Action != want.Action || math.Abs(got.Score-want.Score) > 1e-9 || !slices.Equal(got.Symbols, want.Symbols) {
			t.Errorf("%s:\ncheck %+v\nSMTP  %+v", name, got, want)
		}
		delete(online, name)
	}
	if len(online) > 0 {
		t.Errorf("%d messages were not checked", len(online))
	}
}

const agreementZone = `
2.0.0.127.bl.example      A   127.0.0.2
66.2.0.192.bl.example     A   127.0.0.3
66.2.0.192.in-addr.arpa   PTR mail.sender.example.
mail.sender.example       A   192.0.2.66
sender.example            TXT "v=spf1 ip4:192.0.2.66 -all"
`

// logged is what the gateway's log says of a transaction.
func (w *world) logged(t *testing.T, id string) judgement {
	t.Helper()
	if err := w.gw.waitLog(`"msg":"transaction","id":"`+id, 0); err != nil {
		t.Fatal(err)
	}
	for _, line := range w.gw.lines() {
		if !strings.Contains(line, `"msg":"transaction","id":"`+id) {
			continue
		}
		var j judgement
		if err := json.Unmarshal([]byte(line), &j); err != nil {
			t.Fatal(err)
		}
		return j
	}
	return judgement{}
}

// checked runs `gateway check` on a folder, with what the SMTP client had said.
func (w *world) checked(t *testing.T, folder string) map[string]judgement {
	t.Helper()
	cmd := exec.Command(w.binary, "check", "--config", w.path("gateway.toml"), "--json", "--client-ip", "192.0.2.66",
		"--helo", "mail.sender.example", "--mail-from", "alice@sender.example", "--rcpt", "bob@example.org", folder)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]judgement{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var f struct {
			File    string
			Action  string
			Score   float64
			Symbols []struct{ Name string }
		}
		if err := d.Decode(&f); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		j := judgement{Action: f.Action, Score: f.Score}
		for _, s := range f.Symbols {
			j.Symbols = append(j.Symbols, s.Name)
		}
		all[filepath.Base(f.File)] = j
	}
}

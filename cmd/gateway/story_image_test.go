package main

import (
	"bytes"
	"encoding/base64"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailweir/internal/mailtest"
	"mailweir/internal/pseudonym"
)

const imageConfig = `
hostname = "mx.example.org"
data_dir = "{{.Mount}}/data"
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
[relay]
outbound = "{{.Sink2}}"
[privacy]
log_addresses = "{{.LogAddresses}}"
[log]
dir = "{{.Mount}}/log"
[queue]
encryption_key = "{{.Dir}}/spool.key"
min_free       = "16MiB"
[greylist]
enabled = true
[reputation]
enabled = true
[score]
quarantine = 8.0
[rules]
files = ["rules.toml"]
`

const imageRules = `
[[pattern]]
name     = "HELD"
in       = "subject"
any      = ["held"]
score    = 10.0
describe = "The story wants this one held."

[[rule]]
symbol     = "ANSWERED"
when       = 'true'
recipients = ["office@example.org"]
auto_reply = "The office is closed."
describe   = "The sender is answered."

[[rule]]
symbol     = "SENT_ON"
when       = 'true'
recipients = ["desk@example.org"]
redirect   = ["zzcanary@example.org"]
describe   = "She does the work of the desk."
`

// person of this story: whoever finds zzcanary finds her.
const imagePerson = "zzcanary@example.org"

// TestEraseOnImage: data and logs on a file system of their own. A person gets and
// sends mail: it is relayed, held, large, answered, sent back and learned. Her
// address is in the raw bytes of the file system before she is erased, and nowhere
// after; so are the keys of the spool and her pseudonyms. Somebody else is all there.
func TestEraseOnImage(t *testing.T) {
	t.Parallel()
	for _, logs := range []string{"plain", "pseudonymous"} {
		t.Run(logs, func(t *testing.T) {
			t.Parallel()
			eraseOnImage(t, logs)
		})
	}
}

func eraseOnImage(t *testing.T, logs string) {
	w := newWorld(t, t.TempDir())
	image, mount := mailtest.MountImage(t, 256<<20)
	w.names["Mount"], w.names["LogAddresses"] = mount.Dir, logs
	if err := w.dns.Replace("example.org TXT \"v=spf1 ip4:192.0.2.0/24 -all\"\nsender.example TXT \"v=spf1 ip4:192.0.2.0/24 -all\"\n"); err != nil {
		t.Fatal(err)
	}
	mustRun(t, w.binary, "queue", "key", "new", w.path("spool.key"))
	w.write("rules.toml", imageRules)
	config := w.write("gateway.toml", imageConfig)
	w.sinks["Sink"].reply("RCPT gone@", "550 5.1.1 No such user")
	w.start()
	imageMail(t, w)
	run := func(args ...string) (string, int) {
		out, code := runTool(t, w.binary, append(args, "--config", config)...)
		return out, code
	}
	if out, code := run("learn", "--spam", w.path("lesson.eml")); code != exitOK {
		t.Fatalf("learn: exit %d\n%s", code, out)
	}
	out, code := run("privacy", "export", imagePerson)
	for _, class := range []string{"event", "history", "log", "queue", "learned", "answer", "reputation"} {
		if !strings.Contains(out, `{"class":"`+class+`"`) || code != exitOK {
			t.Errorf("export: exit %d, nothing of class %s", code, class)
		}
	}
	words := append(rawForms("zzcanary"), pseudonymsOf(t, config, imagePerson)...)
	if found := mailtest.OnImage(t, image, words...); len(found) < 1 {
		t.Errorf("before: only %q are on the image", found)
	}
	keys := spoolKeyFiles(t, w)
	out, code = run("privacy", "erase", imagePerson, "--yes")
	for _, want := range []string{"events: ", "learned: 1 messages", "answers: 1 erased", "messages: 1 erased", "spool: what is over"} {
		if !strings.Contains(out, want) || code != exitOK {
			t.Errorf("erase: exit %d, no %q in\n%s", code, want, out)
		}
	}
	if out, code := run("privacy", "export", imagePerson); strings.Count(out, "\n") != 1 || !strings.Contains(out, `{"class":"reputation"`) || code != exitOK {
		t.Errorf("export of who is erased: exit %d\n%s", code, out)
	}
	if out, code := run("trace", "--to", "other@example.org"); code != exitOK || strings.Count(out, "\n") != 2 {
		t.Errorf("somebody else: exit %d\n%s", code, out)
	}
	if err := w.gw.terminate(); err != nil {
		t.Fatal(err)
	}
	for name, content := range spoolKeyFiles(t, w) {
		if bytes.Equal(keys[name], content) {
			delete(keys, name) // it is in use
		}
	}
	if len(keys) == 0 {
		t.Error("no key of the spool was destroyed")
	}
	mount.Unmount()
	for _, content := range keys {
		words = append(words, string(content))
	}
	if found := mailtest.OnImage(t, image, words...); len(found) > 0 {
		t.Errorf("after: %q are on the image", found)
	}
	if found := mailtest.OnImage(t, image, "other@example.org", "example.org@other"); len(found) == 0 {
		t.Error("somebody else is gone, too")
	}
}

// imageMail is the mail of that person, and of somebody else.
func imageMail(t *testing.T, w *world) {
	t.Helper()
	message := func(from, subject, body string) []byte {
		return []byte("From: <" + from + ">\r\nTo: <office@example.org>\r\nSubject: " + subject + "\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <" + subject + "@sender.example>\r\n\r\n" + body + "\r\n")
	}
	if err := os.WriteFile(w.path("lesson.eml"), message(imagePerson, "lesson", "buy this"), 0o600); err != nil {
		t.Fatal(err)
	}
	const friend = "friend@sender.example"
	large := strings.Repeat("a line for zzcanary that makes the message large\r\n", 20000)
	for _, c := range []struct{ from, to, subject, body string }{
		{friend, imagePerson, "small", "hello zzcanary"},
		{friend, imagePerson, "large", large},
		{friend, imagePerson, "held", "hello zzcanary"},
		{friend, "other@example.org", "small", "hello"},
		{friend, "other@example.org", "held", "hello"},
		{friend, "desk@example.org", "work", "hello"},
		{imagePerson, "office@example.org", "question", "are you there?"},
		{imagePerson, "gone@example.org", "nobody", "are you there?"},
	} {
		reply, _, err := w.post(&letter{listen: "Listen", xclient: "ADDR=192.0.2.10", helo: "mail.sender.example", from: c.from, to: []string{c.to}, msg: message(c.from, c.subject, c.body)})
		if err != nil || !strings.HasPrefix(reply, "250") {
			t.Fatalf("%+v: %s, %v", c.subject, reply, err)
		}
	}
	// small, large, other, work, question, its answer, and the DSN
	if _, err := w.sinks["Sink"].wait(7, patience); err != nil {
		t.Fatal(err)
	}
}

// rawForms are a word as it may stand on a disk.
func rawForms(word string) []string {
	var wide []byte
	for _, c := range []byte(word) {
		wide = append(wide, c, 0)
	}
	forms := []string{word, strings.ToUpper(word), string(wide)}
	for shift := range 3 {
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + word))
		forms = append(forms, encoded[4:len(encoded)-4]) // what no neighbour changes
	}
	return forms
}

// pseudonymsOf are those that the log has for an address.
func pseudonymsOf(t *testing.T, config, address string) []string {
	t.Helper()
	cfg, err := loadConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	names, err := pseudonym.All(logKeys(cfg), pseudonym.Mail, address)
	if err != nil {
		t.Fatal(err)
	}
	list := slices.Collect(maps.Values(names))
	if len(list) == 0 {
		t.Error("no pseudonyms: there are no keys")
	}
	return list
}

// spoolKeyFiles are the keys of segments, by file name.
func spoolKeyFiles(t *testing.T, w *world) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(w.names["Mount"], "data/spool/keys/*"))
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string][]byte{}
	for _, path := range paths {
		if keys[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if len(keys) == 0 {
		t.Fatal("no keys of the spool")
	}
	return keys
}

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mailweir/internal/mailtest"
)

var canaryStory = flag.Int("canaries", 2000, "how many messages TestCanariesThroughGateway sends; the figure in docs/privacy.md is of 100000")

const canaryConfig = `
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
name      = "all.example"
next_hops = ["{{.Sink}}"]
redact    = "all"
[[domain]]
name      = "own.example"
next_hops = ["{{.Sink}}"]
redact    = "own"
[[domain]]
name      = "none.example"
next_hops = ["{{.Sink}}"]
redact    = "none"
[score]
quarantine = 100.0
reject     = 1000.0
[rules]
files = ["rules.toml"]
[privacy]
own_networks  = ["64.0.0.0/3", "2001:db8::/32", "198.51.100.0/24"]
log_addresses = "pseudonymous"
[log]
dir   = "{{.Dir}}/log"
level = "debug"
[relay]
outbound = "{{.Sink2}}"
[queue]
encryption_key = "{{.Dir}}/spool.key"
[stats]
mmdb = ["{{.MMDB}}"]
[greylist]
enabled = true
from    = 20.0
to      = 60.0
[reputation]
enabled = true
[learn]
minimum = 10
[[rate_limit]]
by       = "network"
messages = 1000000
per      = "1d"
{{.Engines}}
`

const canaryEngine = `
[[engine]]
name     = "%[1]s"
type     = "%[1]s"
address  = "unix:%[2]s"
timeout  = "5s"
weight   = 0.1
on_error = "accept"
`

const canaryRules = `
[[pattern]]
name     = "CANARY_HELD"
in       = "subject"
any      = ["heldcanary"]
score    = 200.0
describe = "The story wants this one held."

[[pattern]]
name     = "CANARY_GREY"
in       = "subject"
any      = ["greycanary"]
score    = 30.0
describe = "The story wants this one to wait, if its sender is not known."

[[rule]]
symbol   = "CANARY_REDIRECTED"
when     = 'subject contains "redirectcanary"'
redirect = ["elsewhere@all.example"]
describe = "Somebody else gets this one."

[[rule]]
symbol     = "CANARY_COPIED"
when       = 'subject contains "copycanary"'
copy       = ["archive@all.example"]
add_header = ["X-Copied: yes"]
describe   = "Somebody else gets this one, too."

[[rule]]
symbol     = "CANARY_ANSWERED"
when       = 'subject contains "answercanary"'
auto_reply = "The office is closed."
describe   = "The sender of this one is answered."

[[rule]]
symbol   = "CANARY_REFUSED"
when     = 'subject contains "refusecanary"'
action   = "reject"
reply    = "No mail about this"
describe = "The story wants this one refused."
`

// fate is what becomes of a message, by its number.
type fate int

const (
	relayed fate = iota
	relayedOwn
	bounced
	heldBack
	deferred
	redirected
	copied
	answered
	greylisted
	refused
	fates
)

// fateOf says what each fate takes.
var fateOf = [fates]struct {
	place  string // what is put before "@" of envelope addresses: "mailcanary" is in no file of the gateway but the events
	sender string // domain
	to     string // domain
	word   string // of the subject
	reply  string // to the data
	copies int    // that Sink gets
}{
	relayed:    {"mailcanary", "sender.example", "all.example", "", "250", 1},
	relayedOwn: {"mailcanary", "sender.example", "own.example", "", "250", 1},
	bounced:    {"mailcanary-gone", "sender.example", "all.example", "", "250", 0},
	heldBack:   {"mailcanary", "sender.example", "all.example", " heldcanary", "250", 0},
	deferred:   {"mailcanary-late", "sender.example", "all.example", "", "250", 0},
	redirected: {"mailcanary", "sender.example", "all.example", " redirectcanary", "250", 1},
	copied:     {"mailcanary", "sender.example", "all.example", " copycanary", "250", 2},
	answered:   {"mailcanary", "sender.example", "all.example", " answercanary", "250", 1},
	greylisted: {"mailcanary", "grey.example", "all.example", " greycanary", "451", 0},
	refused:    {"mailcanary", "sender.example", "all.example", " refusecanary", "554", 0},
}

func (f fate) address(n int, domain string) string {
	return fmt.Sprintf("%s-%d@%s", fateOf[f].place, n, domain)
}

// canaryLetter is a message on its way, and what it must not tell.
type canaryLetter struct {
	*mailtest.Canary
	n    int
	fate fate
	head string
	body string
}

// own networks hold all but these: for them "own" promises nothing.
func isForeign(m *mailtest.Canary) bool { return m.Addr.Is4() && m.Addr.As4()[0] >= 96 }

func newCanaryLetter(n int) *canaryLetter {
	l := &canaryLetter{Canary: mailtest.NewCanary(uint64(n), 13), n: n, fate: fate(n % int(fates))}
	if foreign := isForeign(l.Canary); l.fate == relayedOwn && foreign || l.fate == greylisted && !foreign {
		l.fate = relayed
	}
	from := slices.ContainsFunc(l.Fields, func(f mailtest.CanaryField) bool { return strings.HasPrefix(f.Text, "From:") })
	l.Fields = slices.DeleteFunc(l.Fields, func(f mailtest.CanaryField) bool {
		return strings.HasPrefix(f.Text, "Subject:") || strings.HasPrefix(f.Text, "this is no field") ||
			l.fate == answered && (strings.HasPrefix(f.Text, "List-") || strings.HasPrefix(f.Text, "To:"))
	})
	l.Add("Subject: subjectcanary "+strconv.Itoa(n)+fateOf[l.fate].word, "", false)
	if !from {
		l.Add("From: Anna Personcanary <anna@sender.example>", "", false)
	}
	if l.fate == answered {
		l.Add("To: <"+l.fate.address(n, "all.example")+">", "", false)
	}
	l.head = l.Head()
	l.body = fmt.Sprintf("message %d\r\n%s and %s stay here.\r\n..dots\r\n", n, l.Addr, l.Name)
	return l
}

// TestCanariesThroughGateway sends messages that name one client each, in every
// dialect, field and spelling, through the binary with an encrypted spool and
// all that remembers senders switched on: some are relayed, redirected, copied or
// answered, some fail for good and make a DSN, some are held, some wait, and some
// are refused. No spelling of a client is in what the next hop or the sender gets,
// and neither that nor a mail address or a subject in log, metrics, statistics,
// tables, lessons and spool; the body is the same, octet for octet. That the
// search finds canaries is shown by a message to a domain that asks for no
// redaction.
func TestCanariesThroughGateway(t *testing.T) {
	t.Parallel()
	w := canaryWorld(t)
	search := newCanarySearch()
	letters := sendCanaries(t, w, *canaryStory, search)
	count := [fates]int{}
	arriving := 0
	for _, l := range letters {
		count[l.fate]++
		arriving += fateOf[l.fate].copies
	}
	got, err := w.sinks["Sink"].wait(arriving, 10*patience)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := w.sinks["Sink2"].wait(count[bounced]+count[answered], 10*patience)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got {
		letterOf(t, letters, m.Data).arrived(t, m.Data)
	}
	for _, m := range ours {
		letters[numberOf(m.Rcpts[0].Path)].reported(t, m.Data)
	}
	controlCanary(t, w, letters[0], arriving)
	learnCanaries(t, w, letters, arriving+1)
	for _, args := range [][]string{{"stats", "--json", "--threshold", "1"}, {"rules", "hits"}, {"queue", "summary"}} {
		out, err := exec.Command(w.binary, append(args, "--config", w.path("gateway.toml"))...).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
		search.in(t, strings.Join(args, " "), out)
	}
	search.in(t, "metrics", metricsText(t, w))
	if err := w.gw.terminate(); err != nil {
		t.Fatal(err)
	}
	search.in(t, "standard error", []byte(strings.Join(w.gw.lines(), "\n")))
	search.files(t, w.path("log"), w.path("data"))
	t.Logf("%d messages: %d deliveries, %d of them by class own, %d DSNs, %d answers, %d held, %d waiting, %d greylisted, %d refused; %d spellings searched in %d MB of files",
		len(letters), arriving, count[relayedOwn], count[bounced], count[answered], count[heldBack], count[deferred], count[greylisted], count[refused], search.spellings(), search.octets>>20)
}

// canaryWorld is running, with those of the other filters that are installed.
func canaryWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, t.TempDir())
	if err := w.dns.Replace("sender.example TXT \"v=spf1 ip4:64.0.0.0/2 ip6:2001:db8::/32 -all\"\n"); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(w.binary, "queue", "key", "new", w.path("spool.key")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.names["MMDB"], w.names["Engines"] = mailtest.MMDB(t), ""
	for kind, program := range map[string]string{"rspamd": "rspamd", "spamassassin": "spamd", "milter": "opendkim"} {
		if _, err := exec.LookPath(program); err == nil {
			w.names["Engines"] += fmt.Sprintf(canaryEngine, kind, mailtest.StartEngine(t, kind).Socket)
		}
	}
	w.write("rules.toml", canaryRules)
	w.write("gateway.toml", canaryConfig)
	w.sinks["Sink"].reply("RCPT mailcanary-gone", "550 5.1.1 No such user")
	w.sinks["Sink"].reply("RCPT mailcanary-late", "451 4.2.1 Not now")
	w.start()
	return w
}

// numberOf is the number in an address.
func numberOf(address string) int {
	local, _, _ := strings.Cut(address, "@")
	n, _ := strconv.Atoi(local[strings.LastIndexByte(local, '-')+1:])
	return n
}

// letterOf is the one that a message was, by the first line of its body.
func letterOf(t *testing.T, letters []*canaryLetter, data []byte) *canaryLetter {
	t.Helper()
	_, body := split(data)
	var n int
	if _, err := fmt.Sscanf(string(body), "message %d\r\n", &n); err != nil || n >= len(letters) {
		t.Fatalf("which message is this? %v\n%s", err, data)
	}
	return letters[n]
}

// learnCanaries teaches the learned filter some of them, and releases one that
// is held, which teaches it, too.
func learnCanaries(t *testing.T, w *world, letters []*canaryLetter, before int) {
	t.Helper()
	run := func(args ...string) string {
		return mustRun(t, w.binary, append(args, "--config", w.path("gateway.toml"))...)
	}
	dir := w.path("lessons")
	for _, class := range []string{"ham", "spam"} {
		if err := os.MkdirAll(filepath.Join(dir, class), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for n, l := range letters[:100] {
		name := filepath.Join(dir, []string{"ham", "spam"}[n%2], strconv.Itoa(n))
		if err := os.WriteFile(name, []byte(l.head+l.body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run("learn", "--spam", filepath.Join(dir, "spam"), "--ham", filepath.Join(dir, "ham"))
	var held struct {
		ID string `json:"id"`
	}
	if err := json.NewDecoder(strings.NewReader(run("quarantine", "list", "--json"))).Decode(&held); err != nil {
		t.Fatal(err)
	}
	run("quarantine", "release", held.ID)
	got, err := w.sinks["Sink"].wait(before+1, patience)
	if err != nil {
		t.Fatal(err)
	}
	letterOf(t, letters, got[before].Data).arrived(t, got[before].Data)
	if err := w.gw.waitLog("learned as ham, since it was released", 0); err != nil {
		t.Error(err)
	}
}

// sendCanaries sends n letters over a few connections.
func sendCanaries(t *testing.T, w *world, n int, search *canarySearch) []*canaryLetter {
	t.Helper()
	letters := make([]*canaryLetter, n)
	var wg sync.WaitGroup
	const clients, perConnection = 4, 50
	for k := range clients {
		wg.Go(func() {
			var cl *client
			for i := k; i < n && !t.Failed(); i += clients {
				letters[i] = newCanaryLetter(i)
				if i/clients%perConnection == 0 {
					if cl != nil {
						cl.close()
					}
					cl = openCanary(t, w)
				}
				if cl == nil || !cl.sendCanary(t, letters[i], fateOf[letters[i].fate].to) {
					return
				}
			}
			if cl != nil {
				cl.close()
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, l := range letters {
		search.add(l.Canary)
	}
	return letters
}

func openCanary(t *testing.T, w *world) *client {
	cl, err := w.dial("Listen")
	if err == nil {
		_, err = cl.reply()
	}
	if err == nil {
		_, err = cl.do("EHLO proxy.example")
	}
	if err != nil {
		t.Errorf("%v", err)
		return nil
	}
	return cl
}

func (c *client) sendCanary(t *testing.T, l *canaryLetter, domain string) bool {
	addr := l.Addr.String()
	if l.Addr.Is6() {
		addr = "IPV6:" + addr
	}
	c.nc.SetDeadline(time.Now().Add(2 * patience))
	for _, line := range []string{
		"XCLIENT ADDR=" + addr + " NAME=" + l.Name, "EHLO " + l.Helo, "MAIL FROM:<" + l.fate.address(l.n, fateOf[l.fate].sender) + ">",
		"RCPT TO:<" + l.fate.address(l.n, domain) + ">", "DATA",
	} {
		if got, err := c.do("%s", line); err != nil || got[0] > '3' {
			t.Errorf("message %d: %s: %s, %v", l.n, line, got, err)
			return false
		}
	}
	c.data([]byte(l.head + l.body))
	got, err := c.reply()
	if err != nil || !strings.HasPrefix(got, fateOf[l.fate].reply) {
		t.Errorf("message %d: %s, %v\n%s", l.n, got, err, l.head)
		return false
	}
	return true
}

// arrived looks at what the next hop got.
func (l *canaryLetter) arrived(t *testing.T, data []byte) {
	t.Helper()
	head, body := split(data)
	if string(body) != l.body {
		t.Errorf("message %d: the body became %q", l.n, body)
	}
	l.noClient(t, "the next hop", string(head))
}

// reported looks at what is ours: a DSN, or the answer to one that wants it.
func (l *canaryLetter) reported(t *testing.T, data []byte) {
	t.Helper()
	switch l.fate {
	case bounced:
		if !bytes.Contains(data, []byte("report-type=delivery-status")) || !bytes.Contains(data, []byte("No such user")) {
			t.Errorf("message %d: no DSN:\n%s", l.n, data)
		}
		l.noClient(t, "the DSN", strings.ReplaceAll(string(data), l.body, ""))
	case answered:
		if !bytes.Contains(data, []byte("The office is closed.")) {
			t.Errorf("message %d: no answer:\n%s", l.n, data)
		}
		text := threads.ReplaceAllString(string(data), "") // the message's own names of itself
		for _, form := range l.found(text) {
			t.Errorf("message %d: the answer has %q of %s:\n%s", l.n, form, l.Addr, text)
		}
	default:
		t.Errorf("message %d: nobody expected\n%s", l.n, data)
	}
}

var threads = regexp.MustCompile(`(?m)^(In-Reply-To|References):.*\n([ \t].*\n)*`)

// noClient takes away what is content, which must all be there, and looks for
// the client in the rest.
func (l *canaryLetter) noClient(t *testing.T, where, text string) {
	t.Helper()
	for _, f := range l.Fields {
		if f.Trace {
			continue
		}
		if !strings.Contains(text, f.Text) {
			t.Errorf("message %d: %s has no %q:\n%s", l.n, where, f.Text, text)
		}
		text = strings.Replace(text, f.Text, "", 1)
	}
	for _, form := range l.found(text) {
		t.Errorf("message %d: %s has %q of %s:\n%s", l.n, where, form, l.Addr, text)
	}
}

// found are the spellings of the client in a text, as it stands there and in
// all codings.
func (l *canaryLetter) found(text string) (forms []string) {
	all := strings.ToLower(strings.Join(readings(text), "\n"))
	for _, form := range l.Forms() {
		if strings.Contains(all, form) {
			forms = append(forms, form)
		}
	}
	return forms
}

// controlCanary sends a letter where nothing is promised: the same search finds
// its client.
func controlCanary(t *testing.T, w *world, l *canaryLetter, before int) {
	t.Helper()
	cl := openCanary(t, w)
	if cl == nil || !cl.sendCanary(t, l, "none.example") {
		return
	}
	cl.close()
	got, err := w.sinks["Sink"].wait(before+1, patience)
	if err != nil {
		t.Fatal(err)
	}
	head, _ := split(got[before].Data)
	if forms := l.found(string(head)); len(forms) < 3 {
		t.Errorf("the search finds only %q where nothing is redacted:\n%s", forms, head)
	}
}

// files searches everything below some folders. The keys are looked at, too;
// events keep mail addresses as they are.
func (s *canarySearch) files(t *testing.T, dirs ...string) {
	t.Helper()
	looked := map[string]int{} // by the folder below dirs
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			class, _, _ := strings.Cut(strings.TrimPrefix(path, dir+"/"), "/")
			if class == "events" {
				data = bytes.ReplaceAll(data, []byte("mailcanary"), []byte("mail"))
			}
			looked[class] += len(data)
			s.in(t, path, data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for dir, least := range map[string]int{"events": 10_000, "history": 10_000, "spool": 10_000, "learned": 10_000, "memo": 1000, "stats": 100, "answered": 1000} {
		if looked[dir] < least {
			t.Errorf("only %d octets of %s were searched", looked[dir], dir)
		}
	}
}

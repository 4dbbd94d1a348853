package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
dir = "{{.Dir}}/log"
[relay]
outbound = "{{.Sink2}}"
[queue]
encryption_key = "{{.Dir}}/spool.key"
`

const canaryRules = `
[[pattern]]
name     = "CANARY_HELD"
in       = "subject"
any      = ["heldcanary"]
score    = 200.0
describe = "The story wants this one held."
`

// fate is what becomes of a message, by its number.
type fate int

const (
	relayed fate = iota
	relayedOwn
	bounced
	heldBack
	deferred
	fates
)

// place is what is put before "@" of envelope addresses: "mailcanary" is in no
// file of the gateway but the events.
func (f fate) place(n int) string {
	return [fates]string{"mailcanary", "mailcanary", "mailcanary-gone", "mailcanary", "mailcanary-late"}[f] + "-" + strconv.Itoa(n)
}

func (f fate) domain() string {
	if f == relayedOwn {
		return "own.example"
	}
	return "all.example"
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
	if l.fate == relayedOwn && isForeign(l.Canary) {
		l.fate = relayed
	}
	var from bool
	subject := "Subject: subjectcanary " + strconv.Itoa(n)
	if l.fate == heldBack {
		subject += " heldcanary"
	}
	kept := l.Fields[:0]
	for _, f := range l.Fields {
		switch {
		case strings.HasPrefix(f.Text, "Subject:"), strings.HasPrefix(f.Text, "this is no field"):
			continue
		case strings.HasPrefix(f.Text, "From:"):
			from = true
		}
		kept = append(kept, f)
	}
	l.Fields = kept
	l.Add(subject, "", false)
	if !from {
		l.Add("From: Anna Personcanary <anna@sender.example>", "", false)
	}
	l.head = l.Head()
	l.body = fmt.Sprintf("message %d\r\n%s and %s stay here.\r\n..dots\r\n", n, l.Addr, l.Name)
	return l
}

// TestCanariesThroughGateway sends messages that name one client each, in every
// dialect, field and spelling, through the binary with an encrypted spool: some
// are relayed, some fail for good and make a DSN, some are held, some wait. No
// spelling of a client is in what the next hop or the sender gets, and neither
// that nor a mail address or a subject in log, metrics and spool; the body is
// the same, octet for octet. That the search finds canaries is shown by a
// message to a domain that asks for no redaction.
func TestCanariesThroughGateway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	if err := w.dns.Replace("sender.example TXT \"v=spf1 ip4:64.0.0.0/2 ip6:2001:db8::/32 -all\"\n"); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(w.binary, "queue", "key", "new", w.path("spool.key")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.write("rules.toml", canaryRules)
	w.write("gateway.toml", canaryConfig)
	w.sinks["Sink"].reply("RCPT mailcanary-gone", "550 5.1.1 No such user")
	w.sinks["Sink"].reply("RCPT mailcanary-late", "451 4.2.1 Not now")
	w.start()
	search := newCanarySearch()
	letters := sendCanaries(t, w, *canaryStory, search)
	count := [fates]int{}
	for _, l := range letters {
		count[l.fate]++
	}
	got, err := w.sinks["Sink"].wait(count[relayed]+count[relayedOwn], 10*patience)
	if err != nil {
		t.Fatal(err)
	}
	dsns, err := w.sinks["Sink2"].wait(count[bounced], 10*patience)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got {
		letters[numberOf(m.Rcpts[0].Path)].arrived(t, m.Data)
	}
	for _, m := range dsns {
		letters[numberOf(m.Rcpts[0].Path)].bounced(t, m.Data)
	}
	controlCanary(t, w, letters[0], count[relayed]+count[relayedOwn])
	search.in(t, "metrics", metricsText(t, w))
	if err := w.gw.terminate(); err != nil {
		t.Fatal(err)
	}
	search.in(t, "standard error", []byte(strings.Join(w.gw.lines(), "\n")))
	search.files(t, w.path("log"), w.path("data"))
	t.Logf("%d messages: %d relayed, %d of them by class own, %d DSNs, %d held, %d waiting; %d spellings searched in %d MB of files",
		len(letters), count[relayed]+count[relayedOwn], count[relayedOwn], count[bounced], count[heldBack], count[deferred], search.spellings(), search.octets>>20)
}

// numberOf is the number in an address.
func numberOf(address string) int {
	local, _, _ := strings.Cut(address, "@")
	n, _ := strconv.Atoi(local[strings.LastIndexByte(local, '-')+1:])
	return n
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
				if cl == nil || !cl.sendCanary(t, letters[i], letters[i].fate.domain()) {
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
		"XCLIENT ADDR=" + addr + " NAME=" + l.Name, "EHLO " + l.Helo, "MAIL FROM:<" + l.fate.place(l.n) + "@sender.example>",
		"RCPT TO:<" + l.fate.place(l.n) + "@" + domain + ">", "DATA",
	} {
		if got, err := c.do("%s", line); err != nil || got[0] > '3' {
			t.Errorf("message %d: %s: %s, %v", l.n, line, got, err)
			return false
		}
	}
	c.data([]byte(l.head + l.body))
	got, err := c.reply()
	if err != nil || !strings.HasPrefix(got, "250") {
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

// bounced looks at a DSN.
func (l *canaryLetter) bounced(t *testing.T, data []byte) {
	t.Helper()
	if !bytes.Contains(data, []byte("report-type=delivery-status")) || !bytes.Contains(data, []byte("No such user")) {
		t.Errorf("message %d: no DSN:\n%s", l.n, data)
	}
	l.noClient(t, "the DSN", strings.ReplaceAll(string(data), l.body, ""))
}

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
	for _, dir := range []string{"events", "history", "spool"} {
		if looked[dir] < 10_000 {
			t.Errorf("only %d octets of %s were searched", looked[dir], dir)
		}
	}
}

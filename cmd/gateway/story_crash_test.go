package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// promises is what the clients of the crash test were promised.
type promises struct {
	mu    sync.Mutex
	acked map[string][]byte // body by the ID of the 250
	sent  map[string]bool   // every body that was ever begun
}

// TestKillUnderLoad: SIGKILL at a random moment, again and again, while clients
// send. Everything that got a 250 reaches the sink, octet for octet; what was
// not acknowledged may come too, but nothing that nobody sent, and nothing half.
func TestKillUnderLoad(t *testing.T) {
	t.Parallel()
	const cycles = 12
	w := newWorld(t, t.TempDir())
	w.write("gateway.toml", plainConfig)
	w.sinks["Sink"].claimed = -1 // what was not acknowledged may come or not
	p := &promises{acked: map[string][]byte{}, sent: map[string]bool{}}
	for cycle := range cycles {
		w.start()
		stop := make(chan struct{})
		var clients sync.WaitGroup
		for n := range 4 {
			clients.Go(func() { p.load(w, fmt.Sprintf("%d-%d", cycle, n), stop) })
		}
		time.Sleep(time.Duration(30+rand.IntN(250)) * time.Millisecond)
		w.gw.kill()
		close(stop)
		clients.Wait()
	}
	w.start()
	for deadline := time.Now().Add(patience); p.missing(w) > 0 && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	if n := p.missing(w); n > 0 {
		t.Errorf("%d of %d acknowledged messages are lost", n, len(p.acked))
	}
	p.compare(t, w)
	if len(p.acked) < 10*cycles {
		t.Errorf("only %d messages were acknowledged: that proves little", len(p.acked))
	}
	t.Logf("%d cycles, %d acknowledged, %d at the sink", cycles, len(p.acked), len(w.sinks["Sink"].messages()))
}

// TestKillLosesEvents: what SIGKILL loses of the events came in the last seconds,
// and the next start counts it: rows that are there and rows that are counted as
// missing are all that were made.
func TestKillLosesEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	w.write("rules.toml", "[[rule]]\nsymbol = \"HELD\"\nwhen = 'true'\naction = \"quarantine\"\ndescribe = \"A message is one row, and no attempt changes it.\"\n")
	config := w.write("gateway.toml", plainConfig+"\n[rules]\nfiles = [\"rules.toml\"]\n")
	w.start()
	send := func(n int) {
		t.Helper()
		for range n {
			l := &letter{listen: "Listen", xclient: "ADDR=192.0.2.10", helo: "client.example", from: "alice@sender.example", to: []string{"bob@example.org"}, msg: []byte(smallMessage)}
			if reply, _, err := w.post(l); err != nil || !strings.HasPrefix(reply, "250") {
				t.Fatalf("%s, %v", reply, err)
			}
		}
	}
	const early, late = 10, 7
	send(early)
	time.Sleep(5 * time.Second) // what is older must be there
	send(late)
	w.gw.kill()
	out, code := runTool(t, w.binary, "trace", "--config", config, "--to", "bob@example.org")
	found := strings.Count(out, "\n")
	w.start()
	families, err := w.gw.scrape()
	if err != nil {
		t.Fatal(err)
	}
	missing := -1
	for _, m := range families["mailweir_events_dropped_total"].GetMetric() {
		if m.GetLabel()[0].GetValue() == "crash" {
			missing = int(m.GetCounter().GetValue())
		}
	}
	if code != exitOK || found < early || found+missing != early+late {
		t.Errorf("%d rows are there, %d are counted as missing, of %d that are old and %d that are new", found, missing, early, late)
	}
	t.Logf("%d rows, %d counted as missing", found, missing)
}

// load sends messages in one session until the gateway dies.
func (p *promises) load(w *world, name string, stop <-chan struct{}) {
	c, err := w.dial("Listen")
	if err != nil {
		return
	}
	defer c.close()
	if _, err := c.greet(&letter{helo: "client.example"}); err != nil {
		return
	}
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		body := fmt.Appendf(nil, "%s-%d %s\r\n", name, n, strings.Repeat("x", 10+rand.IntN(60)))
		lines := rand.IntN(60)
		if rand.IntN(25) == 0 {
			lines = 60000 // 2 MB: these go into files of their own
		}
		for range lines {
			body = append(body, "another line of the body, dots: .\r\n.\r\n"...)
		}
		p.mu.Lock()
		p.sent[string(body)] = true
		p.mu.Unlock()
		reply, err := c.transact(&letter{from: "alice@sender.example", to: []string{"bob@example.org"},
			msg: append([]byte("From: alice@sender.example\r\nSubject: load\r\n\r\n"), body...)})
		if err != nil {
			return
		}
		if reply[0] == '2' {
			p.mu.Lock()
			p.acked[c.id] = body
			p.mu.Unlock()
		}
	}
}

var ourID = regexp.MustCompile(`\(Mailweir\) with ESMTP id ([0-9A-Z]{26})`)

// arrived is what the sink has, by our ID.
func arrived(w *world) map[string][]byte {
	got := map[string][]byte{}
	for _, m := range w.sinks["Sink"].messages() {
		head, body := split(m.Data)
		if id := ourID.FindSubmatch(head); id != nil {
			got[string(id[1])] = body
		}
	}
	return got
}

func (p *promises) missing(w *world) int {
	got, n := arrived(w), 0
	for id := range p.acked {
		if got[id] == nil {
			n++
		}
	}
	return n
}

func (p *promises) compare(t *testing.T, w *world) {
	got := arrived(w)
	for id, body := range p.acked {
		if got[id] != nil && !bytes.Equal(got[id], body) {
			t.Errorf("%s: %v", id, same(got[id], body))
		}
	}
	for id, body := range got {
		if !p.sent[string(body)] {
			t.Errorf("%s: nobody sent this: %q", id, body[:min(len(body), 100)])
		}
	}
}

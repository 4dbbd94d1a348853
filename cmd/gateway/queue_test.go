package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailweir/internal/history"
	"mailweir/mail"
)

func TestQueueList(t *testing.T) {
	w := newQueueWorld(t)
	w.expect(0, "queue list", "0 messages")
	one := w.put(hold, "bob@example.org", "eve@example.org")
	two := w.put(func(e *mail.Envelope) {
		hold(e)
		e.ReversePath = mail.NullPath
		e.ID = mail.NewID(time.Now().Add(-time.Hour))
	}, "carol@two.example")
	want := regexp.MustCompile(`^id +size +arrived \(UTC\) +state +sender, recipients
` + one + ` +\d+  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  held      a@sender.example
      \(quarantine:GTUBE\)
      bob@example.org
      eve@example.org
` + two + ` .* <>
      \(quarantine:GTUBE\)
      carol@two.example
2 messages
$`)
	if out := w.expect(0, "queue list"); !want.MatchString(out) {
		t.Errorf("list:\n%s", out)
	}
	for filter, ids := range map[string][]string{
		"--state held": {one, two}, "--state deferred": nil, "--domain TWO.example": {two},
		"--reverse-path <>": {two}, "--reverse-path <a@sender.example>": {one}, "--recipient eve@example.org": {one},
		"--older-than 30m": {two}, "--older-than 1d": nil, "--domain two.example --reverse-path a@sender.example": nil, "--all": {one, two},
	} {
		out := w.expect(0, "queue list --json "+filter)
		if strings.Count(out, "\n") != len(ids) {
			t.Errorf("%s: %s", filter, out)
		}
		for _, id := range ids {
			if !strings.Contains(out, id) {
				t.Errorf("%s: %s is not listed", filter, id)
			}
		}
	}
	checkTable(t, w)
}

// checkTable knows the messages of TestQueueList.
func checkTable(t *testing.T, w *queueWorld) {
	t.Helper()
	want := "                 T      5     10     20     40     80    160    320    640   1280  1280+\n" +
		"      TOTAL      3      2      0      0      0      1      0      0      0      0      0\n" +
		"example.org      2      2      0      0      0      0      0      0      0      0      0\n" +
		"two.example      1      0      0      0      0      1      0      0      0      0      0\n"
	if out := w.expect(0, "queue summary"); out != want {
		t.Errorf("summary:\n%s", out)
	}
	out := w.expect(0, "queue summary --domain two.example --json")
	want = `{"domain":"TOTAL","total":1,"counts":[0,0,0,0,1,0,0,0,0,0],"minutes":[5,10,20,40,80,160,320,640,1280]}`
	if line, _, _ := strings.Cut(out, "\n"); line != want || strings.Count(out, "\n") != 2 {
		t.Errorf("summary in JSON:\n%s", out)
	}
}

// terminal is the end of a pseudo terminal that a command reads, and the other
// one, where the test types.
func terminal(t *testing.T) (in, keys *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no pseudo terminals here:", err)
	}
	t.Cleanup(func() { keys.Close() })
	n, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		in, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Skip("no pseudo terminals here:", err)
	}
	t.Cleanup(func() { in.Close() })
	return in, keys
}

// A person at a terminal is asked before mail is destroyed, and before all that
// a filter selects is touched; without a terminal that needs --yes.
func TestQueueAsks(t *testing.T) {
	w := newQueueWorld(t)
	in, keys := terminal(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if isTerminal(null) || !isTerminal(in) {
		t.Fatal("isTerminal")
	}
	typed := func(answer, line string) (int, string) {
		t.Helper()
		if answer != "" {
			keys.WriteString(answer + "\n")
		}
		code, out, errs := w.cliIn(stdio{in: in}, line)
		return code, out + errs
	}
	id, other := w.put(hold, "bob@example.org"), w.put(hold, "bob@two.example")
	for _, verb := range []string{"delete", "bounce", "hold", "release", "reroute --to mx.example.org:25"} {
		w.expect(1, "queue "+verb+" --domain example.org", "there is no terminal to ask on: nothing was done; add --yes")
	}
	for _, step := range []struct {
		answer, line, want string
		code               int
	}{
		{"", "queue hold " + id, id + ": held", 0}, // destroys nothing
		{"n", "queue delete " + id, "delete " + id + "? [y/N] gateway queue: not confirmed, nothing was done", 1},
		{"no", "queue bounce --all", "bounce 2 messages? [y/N]", 1},
		{"", "queue delete --state deferred", "0 messages: deleted", 0}, // nothing to ask about
		{"Y", "queue delete --domain example.org", "1 message: deleted", 0},
		{"", "queue delete --yes " + other, other + ": deleted", 0},
	} {
		if code, all := typed(step.answer, step.line); code != step.code || !strings.Contains(all, step.want) {
			t.Errorf("%s: %d, %s", step.line, code, all)
		}
	}
	w.expect(0, "queue list", "0 messages")

	id, other = w.put(hold, "bob@example.org"), w.put(hold, "bob@example.org")
	w.expect(1, "queue delete "+id, "there is no terminal to ask on: nothing was done; add --yes")
	w.expect(0, "queue delete --yes "+id, id+": deleted")
	w.expect(0, "queue delete --all --yes", "1 message: deleted")
	w.expect(1, "queue delete --yes "+other, "no such message")
	id = w.put(hold, "bob@example.org")
	code, out, errs := w.cliIn(stdio{in: strings.NewReader(id + "\n\n" + other + "\n")}, "queue delete --yes -")
	if code != 1 || out != id+": deleted\n" || !strings.Contains(errs, other+": queue: no such message") {
		t.Errorf("from standard input: %d %q %q", code, out, errs)
	}
}

// prompt is standard error; it calls then when a question is put.
type prompt struct {
	bytes.Buffer
	then func()
}

func (p *prompt) Write(b []byte) (int, error) {
	if then := p.then; then != nil && bytes.Contains(b, []byte("[y/N]")) {
		p.then = nil
		then()
	}
	return p.Buffer.Write(b)
}

// What somebody else lets go while a person still thinks about the question is
// none of those that he was asked about.
func TestQueueLeavesAloneWhatChanged(t *testing.T) {
	w := newQueueWorld(t)
	in, keys := terminal(t)
	for line, want := range map[string]string{
		"queue delete --state held":                            "0 messages: deleted\n1 were no longer what the filter selects: nothing was done to them\n",
		"queue bounce --state held":                            "0 messages: bounced\n1 were no longer",
		"queue reroute --state held --to 192.0.2.1:25":         "0 messages: rerouted\n1 were no longer",
		"queue delete --state held --recipient b@down.example": "0 messages: deleted\n1 were no longer",
		"quarantine delete --all":                              "0 messages: deleted\n1 were no longer",
	} {
		id, _ := mail.ParseID(w.put(hold, "b@down.example"))
		var out bytes.Buffer
		errs := &prompt{then: func() {
			if err := w.gw.queue.Release(id); err != nil {
				t.Error(err)
			}
			keys.WriteString("y\n")
		}}
		args := append(strings.Fields(line), "--config", w.path)
		if code := dispatch(context.Background(), stdio{in: in, out: &out, err: errs}, args); code != 0 || !strings.HasPrefix(out.String(), want) {
			t.Errorf("%s: %d\n%s%s", line, code, &out, errs)
		}
		if _, there := w.gw.queue.Get(id); !there || len(w.gw.queue.Reroutes()) > 0 {
			t.Errorf("%s: it was touched", line)
		}
		w.until("it is deferred, or was never tried", func() bool { return w.gw.queue.Delete(id) == nil })
	}
}

// Arguments that make no sense are refused before anything is touched.
func TestQueueArguments(t *testing.T) {
	w := newQueueWorld(t)
	id := w.put(hold, "bob@example.org")
	for line, want := range map[string]string{
		"queue":                                   "usage",
		"queue frobnicate":                        "usage",
		"queue delete":                            "IDs, a filter, or --all",
		"queue delete --all " + id:                "either IDs or a filter",
		"queue list " + id:                        "takes no IDs",
		"queue show --state held":                 "takes IDs",
		"queue why":                               "takes IDs",
		"queue list --state sleeping":             `no state "sleeping"`,
		"queue delete --yes --domain=":            "nothing to look for",
		"queue list --older-than yesterday":       "a duration",
		"queue list --recipient bob":              "not a path",
		"queue list --recipient <>":               "not a path",
		"queue reroute " + id:                     "takes --to",
		"queue hold --to mx.example.org:25 " + id: "only reroute",
		"queue reroute --to mx.example.org " + id: "a host and port",
		"queue list --message":                    "belongs to show",
	} {
		w.expect(2, line, want)
	}
	w.expect(1, "queue why 123", "not a message ID")
	w.expect(1, "queue hold 123", "not a message ID")
	w.expect(0, "queue list", "1 message")
}

// events are the kinds in the history of a message; the writer is given time.
func (w *queueWorld) events(id string, last string) (kinds []string, data map[string]string) {
	w.t.Helper()
	parsed, err := mail.ParseID(id)
	if err != nil {
		w.t.Fatal(err)
	}
	w.until("the event "+last+" in the history", func() bool {
		keys, err := historyKeys(w.cfg)
		if err != nil {
			w.t.Fatal(err)
		}
		list, err := history.Find(historyDir(w.cfg), keys, parsed)
		if err != nil {
			w.t.Fatal(err)
		}
		kinds, data = nil, map[string]string{}
		for _, e := range list {
			kinds = append(kinds, e.Kind)
			data[e.Kind] = string(e.Data)
		}
		return data[last] != ""
	})
	return kinds, data
}

// Each act leaves a line in the log and an event, with who asked.
func TestQueueAudit(t *testing.T) {
	w := newQueueWorld(t)
	id := w.put(hold, "bob@example.org")
	w.expect(0, "queue reroute --to 192.0.2.1:25 "+id, id+": rerouted")
	w.expect(0, "queue delete --yes --json "+id, `{"id":"`+id+`","ok":true}`)
	w.expect(1, "queue release "+id, "no such message")
	who := fmt.Sprintf(`"uid":%d,"pid":%d`, os.Getuid(), os.Getpid())
	for _, want := range []string{
		`"msg":"queue action","verb":"reroute","id":"` + id + `",` + who + `,"to":"192.0.2.1:25"}`,
		`"msg":"queue action","verb":"delete","id":"` + id + `",` + who + `}`,
		`"level":"WARN","msg":"queue action failed","verb":"release","id":"` + id + `",` + who + `,"error":"queue: no such message"}`,
	} {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("no %s in the log:\n%s", want, w.log.String())
		}
	}
	kinds, data := w.events(id, "delete")
	if len(kinds) != 2 || data["reroute"] != `{`+who+`,"to":"192.0.2.1:25"}` {
		t.Errorf("history: %v %v", kinds, data)
	}
	w.expect(0, "why "+id, fmt.Sprintf("reroute by an admin (user %d): to 192.0.2.1:25\n", os.Getuid()),
		fmt.Sprintf("delete by an admin (user %d)\n", os.Getuid()))
}

// What fails by an admin's will goes back to a proven sender, and is held for
// a forged one.
func TestQueueBounce(t *testing.T) {
	w := newQueueWorld(t)
	proven := w.deferred(nil, "bob@down.example")
	forged := w.deferred(func(e *mail.Envelope) { e.MayReturn = false }, "bob@down.example")
	w.expect(0, "queue bounce --yes "+proven, proven+": bounced")
	w.expect(1, "queue bounce --yes "+forged, forged+": queue: its sender is not proven")
	w.expect(0, "queue list --state held --json", forged, `"reason":"undeliverable"`)
	w.expect(0, "queue why "+forged, "no DSN may go there")
	dsn := w.sink.Wait(t, 1, 10*time.Second)[0]
	for _, want := range []string{"Content-Type: multipart/report", "Action: failed", "Status: 5.0.0", "given up by the administrator", "connection refused"} {
		if !strings.Contains(string(dsn.Data), want) {
			t.Errorf("no %q in the DSN:\n%s", want, dsn.Data)
		}
	}
	if dsn.From != "" || dsn.Rcpts[0].Path != "a@sender.example" {
		t.Errorf("from <%s> to %v", dsn.From, dsn.Rcpts)
	}
}

// A message that waits for a dead next hop says so, leaves by another one when
// it is told to, and keeps that over a restart.
func TestQueueReroute(t *testing.T) {
	w := newQueueWorld(t)
	id := w.deferred(nil, "bob@down.example")
	sentence := w.expect(0, "queue why "+id, id+"  <bob@down.example>: ", "connection refused")
	if strings.Count(sentence, "\n") != 1 {
		t.Errorf("more than a sentence: %s", sentence)
	}
	w.expect(0, "why "+id, "<bob@down.example>: ", "connection refused")
	w.expect(0, "why --json "+id, `"kind":"queue"`, `"limit":"`)
	w.expect(0, "queue reroute --domain down.example --yes --to "+w.other.Addr(), "1 message: rerouted")
	w.other.Wait(t, 1, 10*time.Second)
	w.until("the queue is empty", func() bool { return w.gw.queue.Stats().Recipients == 0 })

	id = w.put(hold, "bob@down.example")
	back := w.put(hold, "bob@example.org")
	w.expect(0, "queue reroute --to "+w.other.Addr()+" "+id+" "+back)
	w.stop()
	w.start()
	w.expect(0, "queue reroute --to config "+back, back+": rerouted")
	w.expect(0, "queue release "+id+" "+back)
	w.other.Wait(t, 2, 10*time.Second)
	w.sink.Wait(t, 1, 10*time.Second)
	if n := len(w.other.Messages()); n != 2 {
		t.Errorf("%d messages at the other next hop", n)
	}
	if err := w.gw.apply(w.cfg); err != nil { // a reload keeps reroutes
		t.Fatal(err)
	}
	w.put(hold, "carol@down.example")
	w.expect(0, "queue reroute --all --yes --to "+w.other.Addr())
	w.expect(0, "queue release --all --yes", "1 message: released")
	w.other.Wait(t, 3, 10*time.Second)
}

// What changes nothing works without the gateway, the rest says that it is not
// running.
func TestQueueStopped(t *testing.T) {
	w := newQueueWorld(t)
	id := w.put(hold, "bob@example.org")
	w.stop()
	w.expect(0, "queue list", id, "1 message")
	w.expect(0, "queue show --message "+id, "Subject: test\r\n\r\nhello\r\n")
	w.expect(0, "queue why "+id, "in quarantine because of GTUBE")
	w.expect(0, "queue why --json "+id, `"hold":"quarantine:GTUBE"`, `"limit":"held"`)
	w.expect(0, "queue summary", "TOTAL      1")
	w.expect(1, "queue show 01ARZ3NDEKTSV4RRFFQ69G5FAV", "no such message")
	for _, verb := range []string{"flush", "hold", "release", "delete --yes", "bounce --yes", "reroute --to 192.0.2.1:25"} {
		w.expect(1, "queue "+verb+" "+id, "the gateway is not running")
	}
	w.expect(1, "queue delete --all --yes", "the gateway is not running")
	w.expect(0, "queue list", "1 message")
}

// A listing whose reader stands still holds up neither intake nor the stop.
func TestControlSlowReader(t *testing.T) {
	w := newQueueWorld(t)
	for range 2000 { // more than a socket buffers
		w.put(hold, "bob@example.org")
	}
	c := newControl(context.Background(), w.cfg)
	body, err := c.do(http.MethodGet, "/queue", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	var first struct{ ID mail.ID }
	if err := json.NewDecoder(body).Decode(&first); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	w.put(nil, "eve@example.org")
	w.sink.Wait(t, 1, 10*time.Second)
	w.expect(0, "queue delete --domain example.org --yes", "2000 messages: deleted")
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("beside a listing: %v", took)
	}
	begin = time.Now()
	w.stop()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the stop took %v", took)
	}
}

// summary tells of what was damaged, and not of what a crash cut short.
func TestSummaryTellsOfDamage(t *testing.T) {
	dir := t.TempDir()
	var out strings.Builder
	if reportDamage(&out, dir+"/none"); out.Len() > 0 {
		t.Errorf("without a spool: %s", out.String())
	}
	for _, name := range []string{"tail-01-02", "damaged-01-02", "0000000000000001.log"} {
		if err := os.WriteFile(dir+"/"+name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if reportDamage(&out, dir); !strings.Contains(out.String(), "DAMAGE") || !strings.Contains(out.String(), " 2 files ") {
		t.Errorf("%q", out.String())
	}
}

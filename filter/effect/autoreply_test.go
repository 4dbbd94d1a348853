package effect

import (
	"fmt"
	"math/rand/v2"
	"net/mail"
	"strings"
	"testing"
	"time"

	"mailweir/filter"
	"mailweir/internal/fsx"
	values "mailweir/mail"
)

var closed = filter.RuleAct{Symbol: "CLOSED", Act: &filter.Act{AutoReply: &filter.AutoReply{Text: "Wir haben zu.\n.\nöffnen morgen", Days: 3}}}

// TestNewReply: who is answered (RFC 3834 section 2).
func TestNewReply(t *testing.T) {
	plain := []string{"From: a@sender.example", "To: x@y.example, The Office <Office+2@example.org>"}
	for _, c := range []struct {
		name string
		from values.Path
		add  string
		why  string
	}{
		{"a person", "a@sender.example", "X: y", ""},
		{"no", "a@sender.example", "Auto-Submitted: no (really)", ""},
		{"no, with a parameter", "a@sender.example", "Auto-Submitted: No; x=y", ""},
		{"null", "", "X: y", NoSender},
		{"replied", "a@sender.example", "Auto-Submitted: auto-replied", Automatic},
		{"generated", "a@sender.example", "auto-submitted: auto-generated; x=y", Automatic},
		{"empty", "a@sender.example", "Auto-Submitted:", Automatic},
		{"microsoft", "a@sender.example", "X-Auto-Response-Suppress: DR, OOF", Automatic},
		{"daemon", "MAILER-DAEMON@sender.example", "X: y", Automatic},
		{"owner", "owner-list@sender.example", "X: y", Automatic},
		{"request", "list-request@sender.example", "X: y", Automatic},
		{"list", "a@sender.example", "List-Id: <l.example>", List},
		{"unsubscribe", "a@sender.example", "List-Unsubscribe: <mailto:u@l.example>", List},
		{"bulk", "a@sender.example", "Precedence: Bulk", List},
		{"junk", "a@sender.example", "Precedence: junk", List},
		{"special delivery", "a@sender.example", "Precedence: special-delivery", ""},
		{"itself", "office@example.org", "X: y", OwnAddress},
	} {
		env := &values.Envelope{ReversePath: c.from}
		r, why := NewReply(closed, env, "office@example.org", header(append(plain, c.add)...), true, true)
		if why != c.why || (r != nil) != (c.why == "") {
			t.Errorf("%s: %q, want %q", c.name, why, c.why)
		}
	}
	env := &values.Envelope{ReversePath: "a@sender.example"}
	for name, why := range map[string]string{"bcc": NotNamed, "office@example.org.evil.example": NotNamed, "office@example.org": ""} {
		if _, got := NewReply(closed, env, "office@example.org", header("To: <"+name+">"), true, true); got != why {
			t.Errorf("To %s: %q, want %q", name, got, why)
		}
	}
	if _, why := NewReply(closed, env, "office@example.org", header(plain...), false, true); why != NotProven {
		t.Error(why)
	}
	if _, why := NewReply(closed, env, "office@example.org", header(plain...), true, false); why != NotAccepted {
		t.Error(why)
	}
}

// TestReplyMessage: what the answer says, and that nothing of the message can
// write a field of it.
func TestReplyMessage(t *testing.T) {
	h := header("To: office@example.org", "Subject: =?utf-8?q?a=0D=0ABcc:_evil@x.example?= ü"+strings.Repeat("ß", 300),
		"Message-ID: <1@sender.example>\r\n <2@x>", "References: <0@sender.example>\r\n\t<evil", "Date: now")
	env := &values.Envelope{ReversePath: "a@sender.example"}
	r, why := NewReply(closed, env, "office@example.org", h, true, true)
	if r == nil {
		t.Fatal(why)
	}
	out, head, body := r.Message("mx.example.org", time.Now())
	if out.ReversePath != "" || len(out.Recipients) != 1 || out.Recipients[0].Path != "a@sender.example" || out.Recipients[0].Notify != values.NotifyNever {
		t.Errorf("%+v", out)
	}
	m, err := mail.ReadMessage(strings.NewReader(string(head) + string(body)))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"From": "<office@example.org>", "To": "<a@sender.example>", "Auto-Submitted": "auto-replied", "Bcc": "",
		"References": "<0@sender.example> <2@x>", "In-Reply-To": "<2@x>",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if len(m.Header) != 11 {
		t.Errorf("%d fields: %s", len(m.Header), head)
	}
	for line := range strings.SplitSeq(string(head)+string(body), "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n") {
			t.Errorf("line %q", line)
		}
	}
	if string(body) != "Wir haben zu.\r\n.\r\n=C3=B6ffnen morgen\r\n" {
		t.Errorf("%q", body)
	}
}

// TestLedger: once for each sender, over a crash, until the days are over.
func TestLedger(t *testing.T) {
	disk := fsx.NewMem()
	if err := disk.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	open := func() *Ledger {
		l, err := OpenLedger(disk, "data/answered", now)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	reply := func(to values.Path) *Reply { return &Reply{Rule: "R", From: "office@example.org", To: to, Days: 3} }
	claim := func(l *Ledger, to values.Path, want bool) {
		t.Helper()
		if got, err := l.Claim(reply(to), now); got != want || err != nil {
			t.Errorf("%s: %v, %v", to, got, err)
		}
	}
	l := open()
	claim(l, "a@x.example", true)
	claim(l, "A+tag@X.example", false)
	claim(l, "b@x.example", true)
	for seed := range uint64(20) { // whatever of it the crash left
		disk = disk.Crash(rand.New(rand.NewPCG(seed, 1)))
		l = open()
		claim(l, "a@x.example", false)
		claim(l, "b@x.example", false)
	}
	now = now.AddDate(0, 0, 3)
	claim(l, "a@x.example", true)
	l = open()
	claim(l, "a@x.example", false)
	claim(l, "b@x.example", true)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if ok, err := l.Claim(reply("c@x.example"), now); ok || err == nil {
		t.Error("a closed ledger took it")
	}
}

// TestLedgerForget: the answers to an address, and those for it, are found and
// forgotten, once; others stay, over a crash, and new ones are remembered.
func TestLedgerForget(t *testing.T) {
	disk := fsx.NewMem()
	if err := disk.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	open := func() *Ledger {
		l, err := OpenLedger(disk, "data/answered", now)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open()
	for n, r := range []Reply{{Rule: "R", To: "a@x.example", From: "office@example.org", Days: 3}, {Rule: "S", To: "A+tag@X.example", From: "desk@example.org", Days: 5}, {Rule: "R", To: "b@x.example", From: "a@x.example", Days: 4}, {Rule: "R", To: "b@x.example", From: "office@example.org", Days: 4}} {
		if ok, err := l.Claim(&r, now); !ok || err != nil {
			t.Fatalf("%d: %v, %v", n, ok, err)
		}
	}
	answered := func(p values.Path) []time.Time {
		t.Helper()
		until, err := Answered(disk, "data/answered", p, now)
		if err != nil {
			t.Error(err)
		}
		return until
	}
	if got := answered("A@x.example"); len(got) != 3 || !got[0].Equal(now.AddDate(0, 0, 3).Truncate(time.Second)) || got[2].Before(got[1]) {
		t.Errorf("answered until %v", got)
	}
	if got := answered("c@x.example"); len(got) != 0 {
		t.Errorf("a stranger: %v", got)
	}
	for _, want := range []int{3, 0} {
		if n, err := l.Forget("a@x.example"); n != want || err != nil {
			t.Errorf("forgotten: %d, %v, want %d", n, err, want)
		}
	}
	if ok, err := l.Claim(&Reply{Rule: "R", To: "c@x.example", From: "office@example.org", Days: 3}, now); !ok || err != nil {
		t.Errorf("after it: %v, %v", ok, err)
	}
	disk = disk.Crash(rand.New(rand.NewPCG(1, 1)))
	l = open()
	if got := len(answered("a@x.example"))*10 + len(answered("b@x.example")); got != 1 {
		t.Errorf("after a crash: %d", got)
	}
	if ok, err := l.Claim(&Reply{Rule: "R", To: "c@x.example", From: "office@example.org", Days: 3}, now); ok || err != nil {
		t.Errorf("answered after Forget, and again after a crash: %v, %v", ok, err)
	}
	if _, err := Answered(disk, "data/gone", "a@x.example", now); err != nil {
		t.Errorf("no file: %v", err)
	}
}

// A disk that fails gives no leave to answer, then or later.
func TestLedgerFault(t *testing.T) {
	mem := fsx.NewMem()
	if err := mem.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	for n := range 12 {
		faulty := &fsx.Faulty{FS: mem, Decide: func(call int, _ fsx.Op) error {
			if call == n+1 {
				return fsx.ErrShort
			}
			return nil
		}}
		now := time.Now()
		l, err := OpenLedger(faulty, "data/answered", now)
		if err != nil {
			continue
		}
		for k := range 3 {
			ok, err := l.Claim(&Reply{Rule: "R", To: values.Path(fmt.Sprintf("a%d-%d@x.example", n, k)), From: "b@x.example", Days: 1}, now)
			if ok && err != nil {
				t.Errorf("%d: leave to answer, and %v", n, err)
			}
		}
		if faulty.SyncsAfterFailure() > 0 {
			t.Errorf("%d: a file that failed is used again", n)
		}
	}
}

// FuzzReply: whatever the message says, the answer is a message of eleven fields
// at most, to the reverse-path, and without a line that is too long.
func FuzzReply(f *testing.F) {
	f.Add([]byte("To: office@example.org\r\nSubject: a\r\nMessage-ID: <a@b>\r\nReferences: <c@d> <e@f>\r\n\r\n"))
	f.Add([]byte("To: office@example.org\r\nSubject: =?utf-8?b?DQpCY2M6IGE=?= \xff\r\n more\r\nMessage-ID: <a@b\r\n\r\n"))
	f.Add([]byte("Cc: \"x\" <office@example.org>, y\r\nSubject: =?utf-16?q?a?=\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h := values.ParseHeader(raw)
		env := &values.Envelope{ReversePath: "a@sender.example"}
		r, why := NewReply(closed, env, "office@example.org", &h, true, true)
		if r == nil {
			if why == "" {
				t.Fatal("no answer, and no reason")
			}
			return
		}
		_, head, body := r.Message("mx.example.org", time.Unix(0, 0))
		m, err := mail.ReadMessage(strings.NewReader(string(head) + string(body)))
		if err != nil || len(m.Header) > 11 || m.Header.Get("To") != "<a@sender.example>" {
			t.Fatalf("%v\n%q", err, head)
		}
		for line := range strings.SplitSeq(string(head), "\r\n") {
			if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") {
				t.Fatalf("line %q", line)
			}
		}
	})
}

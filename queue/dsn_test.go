package queue

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// dsnRun relays m to a next hop that refuses it, until the queue is at rest,
// and returns the DSNs that went out and what is left.
func dsnRun(t *testing.T, m *mail.Message, body string, reply func(rcpt int) mail.Outcome) (dsns []*mail.Message, contents [][]byte, left []Item) {
	t.Helper()
	return dsnRunWith(t, Options{}, m, body, reply)
}

func dsnRunWith(t *testing.T, o Options, m *mail.Message, body string, reply func(rcpt int) mail.Outcome) (dsns []*mail.Message, contents [][]byte, left []Item) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.SegmentSize, o.Hostname, o.MinFreeBytes = 64<<10, "mx.example.org", 1
		q, err := Open(fsx.NewMem(), "/spool", o)
		if err != nil {
			t.Fatal(err)
		}
		m.Envelope.ID, m.Envelope.Arrived = mail.NewID(time.Now()), time.Now()
		if err := put(q, m, []byte(body)); err != nil {
			t.Fatal(err)
		}
		n := newNext()
		n.reply = func(_ mail.Destination, got *mail.Message, rcpt int) mail.Outcome {
			if got.Envelope.ID == m.Envelope.ID {
				return reply(rcpt)
			}
			content, _ := contentOf(got, rcpt)
			n.mu.Lock()
			defer n.mu.Unlock()
			dsns, contents = append(dsns, got), append(contents, content)
			return mail.Outcome{Result: mail.Relayed, Reply: mail.Reply{Code: 250}}
		}
		end := time.Now().Add(8 * 24 * time.Hour)
		run(t, q, n, func() bool { time.Sleep(time.Hour); return time.Now().After(end) })
		for it := range q.List(Filter{}) {
			left = append(left, it)
		}
		mustClose(t, q)
	})
	return dsns, contents, left
}

// parts takes a multipart/report apart, with the standard library as a judge.
func parts(t *testing.T, content []byte) (head netmail.Header, types, bodies []string) {
	t.Helper()
	msg, err := netmail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("content type %q: %v", msg.Header.Get("Content-Type"), err)
	}
	r := multipart.NewReader(msg.Body, params["boundary"])
	for {
		p, err := r.NextPart() // decodes quoted-printable
		if err == io.EOF {
			return msg.Header, types, bodies
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(p.Header.Get("Content-Type"), ";")
		types, bodies = append(types, kind), append(bodies, string(b))
	}
}

func TestDSN(t *testing.T) {
	m := newMessage(nil, "one@example.net", "two@example.net", "three@example.net", "four@example.net")
	m.Envelope.EnvID = "QQ+2B1"
	m.Envelope.Recipients[0].ORcpt = "rfc822;One+40alias@example.net"
	m.Envelope.Recipients[1].Notify = mail.NotifyNever
	m.Envelope.Recipients[3].Notify = mail.NotifyFailure | mail.NotifySuccess
	dsns, contents, left := dsnRun(t, m, "the body\r\n", func(rcpt int) mail.Outcome {
		switch rcpt {
		case 2:
			return mail.Outcome{Result: mail.Relayed}
		case 3:
			return deferral("mailbox\nfull \x01\xff")
		}
		return refusal()
	})
	if len(dsns) != 2 || len(left) != 0 {
		t.Fatalf("%d DSNs, left %+v", len(dsns), left)
	}
	for i, d := range dsns {
		env := d.Envelope
		if !env.ReversePath.IsNull() || len(env.Recipients) != 1 || env.Recipients[0].Path != "a@example.com" || env.Recipients[0].Notify != mail.NotifyNever {
			t.Errorf("envelope %+v", env)
		}
		if bytes.Contains(contents[i], []byte("192.0.2.66")) {
			t.Errorf("the client's address is in the DSN:\n%s", contents[i])
		}
		if strings.Contains(strings.ReplaceAll(string(contents[i]), "\r\n", ""), "\n") {
			t.Error("bare LF")
		}
	}
	head, types, bodies := parts(t, contents[0])
	if fmt.Sprint(types) != "[text/plain message/delivery-status text/rfc822-headers]" {
		t.Fatalf("parts %v", types)
	}
	if head.Get("Auto-Submitted") != "auto-replied" || head.Get("To") != "<a@example.com>" || head.Get("MIME-Version") != "1.0" {
		t.Errorf("head %v", head)
	}
	for _, want := range []string{
		"Reporting-MTA: dns; mx.example.org\r\n", "Original-Envelope-Id: QQ+1\r\n", "Original-Recipient: rfc822;One@alias@example.net\r\n",
		"Final-Recipient: rfc822; one@example.net\r\n", "Action: failed\r\n", "Status: 5.1.1\r\n", "Remote-MTA: dns; mx.example.net\r\n",
		"Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
	} {
		if !strings.Contains(bodies[1], want) {
			t.Errorf("no %q in\n%s", want, bodies[1])
		}
	}
	if strings.Contains(bodies[1], "two@") || !strings.Contains(bodies[2], "Subject: test\r\n") || strings.Contains(bodies[2], "Received") {
		t.Errorf("parts:\n%s\n%s", bodies[1], bodies[2])
	}
	_, _, bodies = parts(t, contents[1])
	if !strings.Contains(bodies[1], "Status: 4.4.7\r\n") || !strings.Contains(bodies[1], "451 4.3.0 mailbox full ??\r\n") {
		t.Errorf("expired:\n%s", bodies[1])
	}
}

func TestDSNContents(t *testing.T) {
	fail := func(int) mail.Outcome { return refusal() }
	t.Run("full", func(t *testing.T) {
		m := newMessage(nil, "one@example.net")
		m.Envelope.Return = "FULL"
		_, contents, _ := dsnRun(t, m, "caf\xc3\xa9\r\n", fail)
		_, types, bodies := parts(t, contents[0])
		if types[2] != "message/rfc822" || !strings.HasSuffix(bodies[2], "\r\n\r\ncaf\xc3\xa9\r\n") {
			t.Errorf("%v %q", types, bodies[2])
		}
	})
	t.Run("full but large", func(t *testing.T) {
		m := newMessage(nil, "one@example.net")
		m.Envelope.Return = "FULL"
		_, contents, _ := dsnRun(t, m, strings.Repeat("0123456789\r\n", 40000), fail)
		if _, types, _ := parts(t, contents[0]); types[2] != "text/rfc822-headers" {
			t.Errorf("%v", types)
		}
	})
	t.Run("utf8", func(t *testing.T) {
		m := newMessage(nil, "bücher@example.net")
		m.Envelope.UTF8, m.Envelope.ReversePath = true, "ä@example.com"
		m.Heads[0] = []byte("Subject: grüße\r\n\r\n")
		dsns, contents, _ := dsnRun(t, m, "x\r\n", fail)
		_, types, bodies := parts(t, contents[0])
		if types[1] != "message/global-delivery-status" || types[2] != "message/global-headers" ||
			!strings.Contains(bodies[1], "Final-Recipient: utf-8; bücher@example.net") || !strings.Contains(bodies[2], "grüße") || !dsns[0].Envelope.UTF8 {
			t.Errorf("%v\n%s\n%s", types, bodies[1], bodies[2])
		}
	})
	t.Run("eight bit head", func(t *testing.T) {
		m := newMessage(nil, "one@example.net")
		m.Heads[0] = []byte("Subject: gr\xfc\xdfe\r\n\r\n")
		_, contents, _ := dsnRun(t, m, "x\r\n", fail)
		_, _, bodies := parts(t, contents[0])
		if !strings.Contains(bodies[2], "gr\xfc\xdfe") || !isASCII(contents[0]) {
			t.Errorf("%q", contents[0])
		}
	})
	t.Run("each head its own", func(t *testing.T) {
		m := newMessage(nil, "one@example.net", "two@example.net")
		m.Heads = [][]byte{[]byte("Subject: first\r\n\r\n"), []byte("Subject: second\r\n\r\n")}
		m.Envelope.Recipients[1].Head = 1
		dsns, contents, _ := dsnRun(t, m, "x\r\n", fail)
		if len(dsns) != 2 {
			t.Fatalf("%d DSNs", len(dsns))
		}
		for i, c := range contents { // they go out side by side
			if bytes.Contains(c, []byte("first")) == bytes.Contains(c, []byte("second")) {
				t.Errorf("DSN %d has both heads, or none:\n%s", i, c)
			}
		}
	})
}

// TestNoBackscatter: who may be forged gets no DSN; the message is kept.
func TestNoBackscatter(t *testing.T) {
	for name, change := range map[string]func(*mail.Envelope){
		"not authenticated": func(e *mail.Envelope) { e.MayReturn = false },
		"null reverse-path": func(e *mail.Envelope) { e.ReversePath = mail.NullPath },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMessage(nil, "one@example.net", "two@example.net")
			m.Envelope.Recipients[1].Notify = mail.NotifyNever
			change(&m.Envelope)
			dsns, _, left := dsnRun(t, m, "x\r\n", func(int) mail.Outcome { return refusal() })
			if len(dsns) != 0 || len(left) != 1 || left[0].State != Held || left[0].Reason != "undeliverable" {
				t.Fatalf("%d DSNs, left %+v", len(dsns), left)
			}
			if r := left[0].Recipients; r[0].Hold != "undeliverable" || r[0].Reply != "550 5.1.1 no such user" || r[1].State != Failed {
				t.Errorf("recipients %+v", r)
			}
		})
	}
}

// TestDelayWarning: off by default; after that time, once, to who may be told
// and did not forbid it, also when no attempt is made any more.
func TestDelayWarning(t *testing.T) {
	down := func(int) mail.Outcome { return unreachable() }
	busy := func(int) mail.Outcome { return deferral("busy") }
	for _, tc := range []struct {
		name   string
		after  time.Duration
		change func(*mail.Envelope)
		reply  func(int) mail.Outcome
		want   int // delayed; one failed comes later
	}{
		{"off", 0, func(*mail.Envelope) {}, busy, 0},
		{"deferred", 4 * time.Hour, func(*mail.Envelope) {}, busy, 1},
		{"unreachable", 4 * time.Hour, func(*mail.Envelope) {}, down, 1},
		{"asked for", 4 * time.Hour, func(e *mail.Envelope) { e.Recipients[0].Notify = mail.NotifyDelay | mail.NotifyFailure }, busy, 1},
		{"not asked for", 4 * time.Hour, func(e *mail.Envelope) { e.Recipients[0].Notify = mail.NotifyFailure }, busy, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMessage(nil, "one@example.net")
			m.Envelope.Return = "FULL"
			tc.change(&m.Envelope)
			_, contents, _ := dsnRunWith(t, Options{DelayWarning: tc.after}, m, "x\r\n", tc.reply)
			if len(contents) != tc.want+1 {
				t.Fatalf("%d DSNs, want %d and the one of the failure", len(contents), tc.want)
			}
			head, _, bodies := parts(t, contents[len(contents)-1])
			if !strings.Contains(bodies[1], "Action: failed\r\n") || !strings.HasPrefix(head.Get("Subject"), "Undelivered") {
				t.Errorf("the last one:\n%s", bodies[1])
			}
			if tc.want == 0 {
				return
			}
			head, types, bodies := parts(t, contents[0])
			for _, want := range []string{"Action: delayed\r\n", "Will-Retry-Until: ", "Status: 4.", "Final-Log-ID: " + m.Envelope.ID.String()} {
				if !strings.Contains(bodies[1], want) {
					t.Errorf("no %q in\n%s", want, bodies[1])
				}
			}
			if types[2] != "text/rfc822-headers" || strings.Contains(bodies[1], "Last-Attempt") || !strings.HasPrefix(head.Get("Subject"), "Delayed") || !strings.Contains(bodies[0], "tried again") {
				t.Errorf("%v %s\n%s\n%s", types, head.Get("Subject"), bodies[0], bodies[1])
			}
			sent, _ := head.Date()
			if d := sent.Sub(m.Envelope.Arrived); d < tc.after || d > tc.after+75*time.Minute {
				t.Errorf("told after %v", d)
			}
		})
	}
	t.Run("forged", func(t *testing.T) {
		m := newMessage(nil, "one@example.net")
		m.Envelope.MayReturn = false
		if dsns, _, _ := dsnRunWith(t, Options{DelayWarning: time.Hour}, m, "x\r\n", busy); len(dsns) > 0 {
			t.Error("a DSN to who may be forged")
		}
	})
}

// TestDelayIsToldOnce also over restarts and compaction.
func TestDelayIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, n := fsx.NewMem(), newNext()
		told := 0
		n.reply = func(_ mail.Destination, m *mail.Message, _ int) mail.Outcome {
			if m.Envelope.ReversePath.IsNull() {
				told++
				return mail.Outcome{Result: mail.Relayed, Reply: mail.Reply{Code: 250}}
			}
			return deferral("busy")
		}
		for i := range 4 {
			q, err := Open(mem, "/spool", Options{SegmentSize: 64 << 10, MinFreeBytes: 1, DelayWarning: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				mustPut(t, q, []byte("x\r\n"), "a@d.example", "b@d.example")
			}
			end := time.Now().Add(5 * time.Hour)
			run(t, q, n, func() bool { time.Sleep(time.Minute); return time.Now().After(end) })
			if it := slices.Collect(q.List(Filter{})); len(it) != 1 || it[0].Attempts > 100 || it[0].Attempts < 5*i {
				t.Errorf("round %d: %+v", i, it)
			}
			if i == 1 {
				q.compact(100, func() bool { return q.flush() == nil })
			}
			mustClose(t, q)
		}
		if told != 1 {
			t.Errorf("told %d times", told)
		}
	})
}

// TestSuccessReports: who asked for it hears from us when the next hop sends no
// reports (RFC 3461 section 5.2.2), and only then.
func TestSuccessReports(t *testing.T) {
	relayed := func(reports bool) func(int) mail.Outcome {
		return func(int) mail.Outcome {
			return mail.Outcome{Result: mail.Relayed, NextHop: "mx.example.net:25", Reports: reports,
				Reply: mail.Reply{Code: 250, Enhanced: mail.EnhancedCode{2, 0, 0}, Text: "taken"}}
		}
	}
	for _, tc := range []struct {
		name    string
		notify  mail.Notify
		proven  bool
		reports bool
		want    int
	}{
		{"asked", mail.NotifySuccess, true, false, 1},
		{"asked, the next hop reports", mail.NotifySuccess, true, true, 0},
		{"not asked", 0, true, false, 0},
		{"failure only", mail.NotifyFailure, true, false, 0},
		{"never", mail.NotifyNever, true, false, 0},
		{"forged", mail.NotifySuccess, false, false, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMessage(nil, "one@example.net", "two@example.net")
			m.Envelope.MayReturn, m.Envelope.Return, m.Envelope.EnvID = tc.proven, "FULL", "E1"
			m.Envelope.Recipients[0].Notify, m.Envelope.Recipients[0].ORcpt = tc.notify, "rfc822;alias@example.net"
			dsns, contents, left := dsnRun(t, m, "x\r\n", relayed(tc.reports))
			if len(dsns) != tc.want || len(left) != 0 {
				t.Fatalf("%d DSNs, want %d; left %+v", len(dsns), tc.want, left)
			}
			if tc.want == 0 {
				return
			}
			_, types, bodies := parts(t, contents[0])
			for _, want := range []string{"Action: relayed\r\n", "Status: 2.0.0\r\n", "Remote-MTA: dns; mx.example.net\r\n", "Original-Envelope-Id: E1\r\n",
				"Original-Recipient: rfc822;alias@example.net\r\n", "Diagnostic-Code: smtp; 250 2.0.0 taken\r\n"} {
				if !strings.Contains(bodies[1], want) {
					t.Errorf("no %q in\n%s", want, bodies[1])
				}
			}
			if types[2] != "text/rfc822-headers" || strings.Contains(bodies[1], "two@") {
				t.Errorf("%v\n%s", types, bodies[1])
			}
		})
	}
}

// TestOriginalRecipientUTF8 (RFC 6533 section 3).
func TestOriginalRecipientUTF8(t *testing.T) {
	for utf8, want := range map[bool]string{true: "Original-Recipient: utf-8;bücher@example.net\r\n", false: "Original-Recipient: utf-8;b\\x{FC}cher@example.net\r\n"} {
		m := newMessage(nil, "one@example.net")
		m.Envelope.UTF8, m.Envelope.Recipients[0].ORcpt = utf8, "utf-8;b+5Cx+7BFC+7Dcher@example.net"
		_, contents, _ := dsnRun(t, m, "x\r\n", func(int) mail.Outcome { return refusal() })
		if _, _, bodies := parts(t, contents[0]); !strings.Contains(bodies[1], want) {
			t.Errorf("SMTPUTF8 %v: no %q in\n%s", utf8, want, bodies[1])
		}
	}
}

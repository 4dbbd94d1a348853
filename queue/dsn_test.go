package queue

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
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
	synctest.Test(t, func(t *testing.T) {
		q, err := Open(fsx.NewMem(), "/spool", Options{SegmentSize: 64 << 10, Hostname: "mx.example.org", MinFreeBytes: 1})
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
		if len(dsns) != 2 || !bytes.Contains(contents[0], []byte("first")) || bytes.Contains(contents[0], []byte("second")) {
			t.Errorf("%d DSNs", len(dsns))
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

package relay

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"mailweir/internal/mailtest"
	"mailweir/mail"
)

// A real Postfix as next hop, with and without CHUNKING, over TLS: the content
// arrives behind it octet for octet, and its replies are the outcomes.
func TestPostfix(t *testing.T) {
	for name, main := range map[string][]string{
		"as it is":      nil,
		"no chunking":   {"smtpd_discard_ehlo_keywords = chunking"},
		"one by one":    {"smtpd_discard_ehlo_keywords = chunking, pipelining"},
		"HELO":          {"smtpd_discard_ehlo_keywords = chunking, pipelining, 8bitmime, dsn, size, smtputf8, enhancedstatuscodes"},
		"two at a time": {"smtpd_recipient_limit = 2", "smtpd_recipient_overshoot_limit = 1"},
	} {
		t.Run(name, func(t *testing.T) {
			sink := mailtest.NewSink(t, mailtest.SinkOptions{})
			postfix := mailtest.StartPostfix(t, sink.Addr(), append(main, "smtpd_recipient_restrictions = check_recipient_access inline:{unknown@mx.test=REJECT}, permit")...)
			testPostfix(t, postfix, sink)
		})
	}
}

func testPostfix(t *testing.T, postfix *mailtest.Postfix, sink *mailtest.Sink) {
	r := newRelay(t, Options{}, postfix.Addr)
	bodies := []string{"hello\r\n", "..dots\r\n.\r\n\r\n.\r\n", strings.Repeat("0123456789012345678901234567890123456789\r\n.dot\r\n", 8000)}
	for _, body := range bodies {
		for _, content := range []mail.Content{mail.Bytes(body), stored{Bytes: mail.Bytes(body)}} {
			m := message("", "a@mx.test", "unknown@mx.test", "b@mx.test", "c@mx.test")
			m.Heads[0] = []byte("Subject: " + fmt.Sprint(len(body)) + "\r\nMessage-ID: <x@mx.test>\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nFrom: a@example.com\r\n\r\n")
			m.Body = content
			got := deliver(t, r, m)
			wantResults(t, got, mail.Relayed, mail.Failed, mail.Relayed, mail.Relayed)
			if got[1].Reply.Code != 554 || !strings.Contains(got[0].Reply.Text, "queued as") {
				t.Errorf("%s; %s", got[0].Reply, got[1].Reply)
			}
		}
	}
	rcpts := 0
	for deadline := time.Now().Add(20 * time.Second); rcpts < 3*2*len(bodies); {
		rcpts = 0
		for _, g := range sink.Messages() {
			rcpts += len(g.Rcpts)
			_, body, _ := bytes.Cut(g.Data, []byte("\r\n\r\n"))
			if !bodyIn(bodies, string(body)) {
				t.Fatalf("a body of %d octets came out changed", len(body))
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d recipients behind Postfix\n%s", rcpts, postfix.Log())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func bodyIn(bodies []string, body string) bool {
	for _, b := range bodies {
		if b == body {
			return true
		}
	}
	return false
}

// go-smtp's server is an implementation that nobody here has written.
type goSMTP struct {
	mu       sync.Mutex
	messages []string
}

type goSession struct {
	b     *goSMTP
	lines []string
}

func (b *goSMTP) NewSession(*smtp.Conn) (smtp.Session, error) { return &goSession{b: b}, nil }

func (s *goSession) Mail(from string, o *smtp.MailOptions) error {
	s.lines = append(s.lines, fmt.Sprintf("from %s %d %s %v %s %s", from, o.Size, o.Body, o.UTF8, o.Return, o.EnvelopeID))
	return nil
}

func (s *goSession) Rcpt(to string, o *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "no@") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "No such user"}
	}
	s.lines = append(s.lines, fmt.Sprintf("to %s %v %s %s", to, o.Notify, o.OriginalRecipientType, o.OriginalRecipient))
	return nil
}

func (s *goSession) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if bytes.Contains(data, []byte("refuse me")) {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "Refused"}
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.messages = append(s.b.messages, strings.Join(s.lines, "\n")+"\n"+string(data))
	return nil
}

func (s *goSession) Reset()        { s.lines = nil }
func (s *goSession) Logout() error { return nil }

func TestGoSMTP(t *testing.T) {
	backend := &goSMTP{}
	server := smtp.NewServer(backend)
	server.Domain, server.EnableSMTPUTF8, server.EnableDSN, server.MaxRecipients = "go.example", true, true, 2
	server.TLSConfig, _ = mailtest.Certificate(t, "127.0.0.1")
	server.ErrorLog = discard{}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- server.Serve(ln) }()
	defer func() {
		server.Close()
		<-served
	}()
	r := newRelay(t, Options{}, ln.Addr().String())
	defer r.Close()

	m := message("..dots\r\n.\r\nhello\r\n", "a@example.net", "no@example.net", "b@example.net", "c@example.net")
	m.Envelope.EightBit, m.Envelope.UTF8, m.Envelope.Return, m.Envelope.EnvID = true, true, "HDRS", "id+2B1"
	m.Envelope.Recipients[0].Notify, m.Envelope.Recipients[0].ORcpt = mail.NotifyFailure, "rfc822;x+2By@example.net"
	for range 3 {
		wantResults(t, deliver(t, r, m), mail.Relayed, mail.Failed, mail.Relayed, mail.Relayed)
	}
	wantResults(t, deliver(t, r, message("refuse me\r\n", "a@example.net")), mail.Failed)
	wantResults(t, deliver(t, r, message("fine\r\n", "a@example.net")), mail.Relayed)

	backend.mu.Lock()
	defer backend.mu.Unlock()
	want := fmt.Sprintf("from sender@example.com %d 8BITMIME true HDRS id+1\n", m.Size(0)) +
		"to a@example.net [FAILURE] RFC822 x+y@example.net\n%s" + "Subject: test\r\n\r\n..dots\r\n.\r\nhello\r\n"
	if got := backend.messages[0]; got != fmt.Sprintf(want, "") && got != fmt.Sprintf(want, "to b@example.net []  \n") {
		t.Errorf("got %q", got)
	}
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

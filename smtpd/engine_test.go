package smtpd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"go.uber.org/goleak"

	"mailweir/mail"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(clientJob); job != "" {
		runClientJob(job)
		return
	}
	goleak.VerifyTestMain(m)
}

// letter is one message that a desk took.
type letter struct {
	From string   `json:"from"`
	To   []string `json:"to"`
	Data string   `json:"data"`
}

// desk opens sessions that write down what they are told. It runs under our
// engine and, as a Backend, under go-smtp's. Recipients whose local-part begins
// with "unknown" get 550, "later" 451; "fault" an error of no type, "panic" a
// panic.
type desk struct {
	openErr  error
	startErr error
	data     func(r io.Reader) error // replaces the reading of the message

	mu       sync.Mutex
	letters  []letter
	clients  []mail.Client // of each Open
	greets   []mail.Client
	mails    []smtp.MailOptions
	rcpts    []smtp.RcptOptions
	sessions int
	logouts  int
	stale    int // Mail called while an envelope was open
}

func (d *desk) Open(ctx context.Context, client mail.Client) (smtp.Session, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.openErr != nil {
		return nil, d.openErr
	}
	d.clients = append(d.clients, client)
	d.sessions++
	return &deskSession{d: d, ctx: ctx}, nil
}

// NewSession makes a desk a Backend of go-smtp.
func (d *desk) NewSession(*smtp.Conn) (smtp.Session, error) {
	return d.Open(context.Background(), mail.Client{})
}

func (d *desk) taken() []letter {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]letter(nil), d.letters...)
}

func (d *desk) balance() (opened, ended int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sessions, d.logouts
}

type deskSession struct {
	d    *desk
	ctx  context.Context
	open bool
	env  letter
}

func (s *deskSession) Greet(c mail.Client) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.d.greets = append(s.d.greets, c)
}

func (s *deskSession) StartData() error { return s.d.startErr }

func (s *deskSession) Mail(from string, opts *smtp.MailOptions) error {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if s.open {
		s.d.stale++
	}
	if err := verdictOn(from); err != nil {
		return err
	}
	s.d.mails = append(s.d.mails, *opts)
	s.open, s.env = true, letter{From: from}
	return nil
}

func (s *deskSession) Rcpt(to string, opts *smtp.RcptOptions) error {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	if err := verdictOn(to); err != nil {
		return err
	}
	s.d.rcpts = append(s.d.rcpts, *opts)
	s.env.To = append(s.env.To, to)
	return nil
}

func verdictOn(path string) error {
	switch {
	case strings.HasPrefix(path, "unknown"):
		return replyUnknownRecipient.Err()
	case strings.HasPrefix(path, "later"):
		return replyDeferred.Err()
	case strings.HasPrefix(path, "fault"):
		return errors.New("a disk is on fire")
	case strings.HasPrefix(path, "panic"):
		panic("asked to")
	}
	return nil
}

func (s *deskSession) Data(r io.Reader) error {
	if s.d.data != nil {
		return s.d.data(r)
	}
	var b strings.Builder
	if _, err := io.Copy(&b, r); err != nil {
		return err
	}
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.env.Data = b.String()
	s.d.letters = append(s.d.letters, s.env)
	return nil
}

func (s *deskSession) Reset() { s.open, s.env = false, letter{} }

func (s *deskSession) Logout() error {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.d.logouts++
	return nil
}

// testLimits are small enough for tests to reach.
func testLimits() Limits {
	l := DefaultLimits()
	l.MessageSize = 100_000
	l.Recipients = 5
	l.Errors = 10
	l.Commands = 30
	l.TextLine = 2000
	l.HeaderSection = 8000
	return l
}

// serve starts a server on loopback and returns it and its address.
func serve(t testing.TB, d *desk, lo ListenerOptions, change func(*Options)) (*Server, net.Addr) {
	t.Helper()
	o := Options{Hostname: "mx.example.org", Limits: testLimits(), Logger: quiet}
	if change != nil {
		change(&o)
	}
	s := NewServer(o, d)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l, lo) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-ended; err != ErrServerClosed {
			t.Errorf("Serve = %v", err)
		}
		if opened, closed := d.balance(); opened != closed {
			t.Errorf("%d sessions opened, %d logged out", opened, closed)
		}
	})
	return s, l.Addr()
}

// loopback lists this machine as a proxy.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// peer is a client that says exactly what it is told.
type peer struct {
	t testing.TB
	c net.Conn
	r *bufio.Reader
}

func newPeer(t testing.TB, c net.Conn) *peer {
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return &peer{t, c, bufio.NewReader(c)}
}

// dial connects and reads the banner.
func dial(t testing.TB, addr net.Addr) *peer {
	t.Helper()
	p := connect(t, addr)
	p.want("220")
	return p
}

func connect(t testing.TB, addr net.Addr) *peer {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, c)
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.c, s); err != nil {
		p.t.Fatalf("send %q: %v", s, err)
	}
}

// reply is the next reply, lines joined by "\n"; "closed" when there is none.
func (p *peer) reply() string {
	var lines []string
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			return "closed"
		}
		if !strings.HasSuffix(line, "\r\n") || len(line) < 6 {
			p.t.Fatalf("malformed reply %q", line)
		}
		lines = append(lines, strings.TrimSuffix(line, "\r\n"))
		if line[3] == ' ' {
			return strings.Join(lines, "\n")
		}
	}
}

// want fails unless the next reply begins so; it returns it.
func (p *peer) want(prefix string) string {
	p.t.Helper()
	got := p.reply()
	if !strings.HasPrefix(got, prefix) {
		p.t.Fatalf("reply %q, want %q", got, prefix)
	}
	return got
}

// say sends a command and wants a reply.
func (p *peer) say(line, want string) string {
	p.t.Helper()
	p.send(line + "\r\n")
	return p.want(want)
}

func (p *peer) wantClosed() {
	p.t.Helper()
	if got := p.reply(); got != "closed" {
		p.t.Fatalf("reply %q, want the connection closed", got)
	}
}

// greet says EHLO and begins an envelope.
func (p *peer) envelope() {
	p.t.Helper()
	p.say("EHLO client.example", "250")
	p.say("MAIL FROM:<a@client.example>", "250")
	p.say("RCPT TO:<b@example.org>", "250")
}

func (d *desk) wantLetters(t testing.TB, n int) []letter {
	t.Helper()
	got := d.taken()
	if len(got) != n {
		t.Fatalf("%d messages, want %d: %s", len(got), n, short(fmt.Sprintf("%q", got)))
	}
	return got
}

func short(s string) string {
	if len(s) > 300 {
		return s[:300] + "..."
	}
	return s
}

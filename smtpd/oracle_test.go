package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"

	"mailweir/filter"
	"mailweir/filter/privacy"
	"mailweir/mail"
)

// memory is an Acceptor that keeps what it was given.
type memory struct{ got []string }

func (m *memory) Begin(context.Context, int64) (Intake, error) { return &memoryIntake{m: m}, nil }
func (m *memory) Room(int64) error                             { return nil }
func (m *memory) Discarded(int)                                {}

type memoryIntake struct {
	bytes.Buffer
	m *memory
}

func (i *memoryIntake) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(i.Bytes()).ReadAt(p, off)
}
func (i *memoryIntake) Content() mail.Content { return mail.Bytes(i.Bytes()) }
func (i *memoryIntake) Abort()                {}
func (i *memoryIntake) Commit(_ context.Context, m *mail.Message) error {
	r, err := m.Body.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	for _, rcpt := range m.Envelope.Recipients {
		i.m.got = append(i.m.got, string(m.Envelope.ReversePath)+" "+string(rcpt.Path)+"\n"+string(m.Heads[rcpt.Head])+string(body))
	}
	return err
}

type noRecord struct{}

func (noRecord) Append(mail.ID, string, time.Time, any) {}

type weigher struct{}

func (weigher) Eval(f *filter.Facts, _ string) []filter.Symbol { return f.Symbols }
func (weigher) Class(*filter.Facts, mail.Path) string          { return "" }
func (weigher) Hash() string                                   { return "none" }

// theSession makes the gateway's own sessions over an empty chain.
func theSession() (*Gateway, *memory) {
	m := filter.NewMetrics(prometheus.NewRegistry())
	policy := &filter.DomainPolicy{Tag: 5, Reject: 15}
	domain := &Domain{Policy: policy, Postmaster: policy, Redact: privacy.None}
	kept := &memory{}
	return NewGateway(&Settings{
		Hostname: "mx.example.org", MaxHops: 100,
		Domains: map[string]*Domain{"example.org": domain, "": domain},
		Pipeline: filter.New(filter.Options{
			Scorer: func() filter.Scorer { return weigher{} }, Limits: filter.DefaultLimits(),
			Pool: filter.NewPool(1, m), Metrics: m,
		}),
	}, kept, noRecord{}, slog.New(slog.DiscardHandler), NewSessionMetrics(prometheus.NewRegistry())), kept
}

var variable = regexp.MustCompile(`[0-9A-Z]{26}|[A-Z][a-z]{2}, \d.*|; id .*`)

// The gateway's session is go-smtp's Session: under go-smtp's own server it
// gives the same replies and stores the same message as under our engine.
func TestSessionUnderBothEngines(t *testing.T) {
	commands := []string{
		"EHLO client.example", "MAIL FROM:<a@b.example>", "RCPT TO:<u@example.org>", "RCPT TO:<v@elsewhere.example>",
		"DATA", "From: a@b.example\r\nX-Spam-Flag: NO\r\nSubject: x\r\n\r\n.. a dot\r\nbody\r\n.",
		"MAIL FROM:<>", "RCPT TO:<w@example.org>", "RSET", "QUIT",
	}
	ours, ourMail := theSession()
	theirs, theirMail := theSession()

	l := listenLoopback(t)
	engine := NewServer(Options{Hostname: "mx.example.org", Logger: slog.New(slog.DiscardHandler)}, ours)
	go engine.Serve(l, ListenerOptions{})
	defer engine.Close()

	k := listenLoopback(t)
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		addr := netip.MustParseAddrPort(c.Conn().RemoteAddr().String()).Addr()
		return theirs.Open(context.Background(), mail.Client{Addr: addr, Helo: c.Hostname(), ESMTP: true})
	}))
	go server.Serve(k)
	defer server.Close()

	a, b := converse(t, l.Addr().String(), commands), converse(t, k.Addr().String(), commands)
	for i, command := range commands {
		if x, y := variable.ReplaceAllString(a[i], ""), variable.ReplaceAllString(b[i], ""); x != y {
			// The texts of commands that go-smtp answers by itself are its own.
			if x[:3] != y[:3] || strings.HasPrefix(command, "DATA\r\n") {
				t.Errorf("%.20q: ours %q, go-smtp's %q", command, x, y)
			}
		}
	}
	if len(ourMail.got) != 1 || len(theirMail.got) != 1 {
		t.Fatalf("stored: ours %d, go-smtp's %d", len(ourMail.got), len(theirMail.got))
	}
	x, y := variable.ReplaceAllString(ourMail.got[0], ""), variable.ReplaceAllString(theirMail.got[0], "")
	if x != y || !strings.HasSuffix(x, "\r\n\r\n. a dot\r\nbody\r\n") || strings.Contains(x, "X-Spam-Flag: NO") {
		t.Errorf("stored under ours:\n%s\nunder go-smtp's:\n%s", x, y)
	}
}

func listenLoopback(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// converse sends the commands one by one and returns the last line of each
// reply.
func converse(t *testing.T, addr string, commands []string) []string {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(nc)
	reply := func() string {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: %v", addr, err)
			}
			if len(line) > 3 && line[3] != '-' {
				return strings.TrimSpace(line)
			}
		}
	}
	reply() // the banner
	var replies []string
	for _, c := range commands {
		if _, err := io.WriteString(nc, c+"\r\n"); err != nil {
			t.Fatal(err)
		}
		replies = append(replies, reply())
	}
	return replies
}

package smtpd

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"

	"mailweir/filter"
	"mailweir/filter/privacy"
	"mailweir/mail"
)

// attached is a check that finds an executable at an offset of the body.
type attached struct{ offset int64 }

func (attached) Name() string { return "attached" }

func (a attached) Run(context.Context, *filter.Transaction) filter.Report {
	return filter.Report{
		State: filter.OK, Symbols: []filter.Symbol{{Name: filter.SymExecutable}},
		Set: func(f *filter.Facts) {
			f.Attachments = []filter.AttachmentFacts{
				{Shown: "a\u202eb.zip", Offset: a.offset}, {Depth: 1, Offset: -1, Symbols: []string{filter.SymExecutable}},
			}
		},
	}
}

// shelf is an Acceptor that fails at its nth call of Begin or Commit.
type shelf struct {
	stored []*mail.Message
	bodies []string
	begins int
	failAt string // "begin 2", "commit 1", ...
	opened int    // intakes that neither Commit nor Abort has ended
	gone   int    // recipients discarded at reception
}

var errShelf = errors.New("the disk is full")

func (s *shelf) Room(int64) error { return nil }
func (s *shelf) Discarded(n int)  { s.gone += n }

func (s *shelf) Begin(context.Context, int64) (Intake, error) {
	if s.begins++; s.failAt == "begin 2" && s.begins == 2 {
		return nil, errShelf
	}
	s.opened++
	return &shelfIntake{s: s}, nil
}

type shelfIntake struct {
	memoryIntake
	s *shelf
}

func (i *shelfIntake) Abort() { i.s.opened-- }

func (i *shelfIntake) Commit(_ context.Context, m *mail.Message) error {
	i.s.opened--
	if n := len(i.s.stored) + 1; i.s.failAt == "commit "+string(rune('0'+n)) {
		return errShelf
	}
	i.s.stored = append(i.s.stored, m)
	i.s.bodies = append(i.s.bodies, string(m.Body.(mail.Bytes)))
	return nil
}

const withAttachment = "From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/zip\r\n\r\nthe archive\r\n--b--\r\n"

// deliver sends the message to two domains, of which one strips.
func deliver(t *testing.T, s *shelf, offset int64, recipients ...string) error {
	t.Helper()
	m := filter.NewMetrics(prometheus.NewRegistry())
	domain := func(a filter.Action) *Domain {
		p := &filter.DomainPolicy{Tag: 5, Reject: 15, Attachments: filter.AttachmentPolicy{filter.ClassExecutable: a}}
		return &Domain{Policy: p, Postmaster: p, Redact: privacy.None}
	}
	gw := NewGateway(&Settings{
		Hostname: "mx.example.org", MaxHops: 100,
		Domains: map[string]*Domain{"strip.example": domain(filter.Strip), "tag.example": domain(filter.Tag), "drop.example": domain(filter.Discard)},
		Pipeline: filter.New(filter.Options{
			Chain:  filter.Chain{Done: []filter.Group{{attached{offset}}}},
			Scorer: func() filter.Scorer { return weigher{} }, Limits: filter.DefaultLimits(),
			Pool: filter.NewPool(1, m), Metrics: m,
		}),
	}, s, noRecord{}, slog.New(slog.DiscardHandler), NewSessionMetrics(prometheus.NewRegistry()))
	session, err := gw.Open(t.Context(), mail.Client{Addr: netip.MustParseAddr("192.0.2.1"), Helo: "x.example", ESMTP: true})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Logout()
	if err := session.Mail("a@b.example", &smtp.MailOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, r := range recipients {
		if err := session.Rcpt(r, &smtp.RcptOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return session.Data(strings.NewReader(withAttachment))
}

func code(err error) int {
	var reply *smtp.SMTPError
	if !errors.As(err, &reply) {
		return 0
	}
	return reply.Code
}

// place is where the attachment is.
var place = int64(strings.Index(withAttachment, "the archive") - strings.Index(withAttachment, "--b"))

func TestStripped(t *testing.T) {
	s := &shelf{}
	err := deliver(t, s, place, "u@strip.example", "v@tag.example")
	if code(err) != 250 || len(s.stored) != 2 || s.opened != 0 {
		t.Fatalf("%v, %d stored, %d open", err, len(s.stored), s.opened)
	}
	original, copied := s.stored[0], s.stored[1]
	if r := original.Envelope.Recipients; len(r) != 2 || r[0].Hold != "strip:ATTACH_EXECUTABLE" || r[1].Hold != "" {
		t.Errorf("original for %+v", r)
	}
	if !strings.HasSuffix(withAttachment, s.bodies[0]) || !strings.Contains(err.Error(), original.Envelope.ID.String()) {
		t.Errorf("%v, original %q", err, s.bodies[0])
	}
	if r := copied.Envelope.Recipients; len(r) != 1 || r[0].Path != "u@strip.example" || r[0].Hold != "" || copied.Envelope.ID == original.Envelope.ID {
		t.Errorf("copy %s for %+v", copied.Envelope.ID, r)
	}
	body := s.bodies[1]
	if !strings.HasPrefix(body, "--b\r\n\r\ntext\r\n--b\r\nContent-Type: text/plain") || !strings.HasSuffix(body, original.Envelope.ID.String()+"\r\n--b--\r\n") ||
		!strings.Contains(body, "    a?b.zip\r\n") || strings.Contains(body, "the archive") {
		t.Errorf("copy %q", body)
	}
}

// TestStripFails: what cannot be done whole is not half done behind a 250.
func TestStripFails(t *testing.T) {
	for _, c := range []struct {
		name, failAt string
		offset       int64
		code, stored int
		hold         string
	}{
		{"no original", "commit 1", place, 451, 0, ""},
		{"no copy", "commit 2", place, 451, 1, "strip:ATTACH_EXECUTABLE"},
		{"no room for the copy", "begin 2", place, 250, 1, "quarantine:ATTACH_EXECUTABLE"},
		{"no such place", "", place + 1, 250, 1, "quarantine:ATTACH_EXECUTABLE"},
		{"in an encoded message", "", -1, 250, 1, "quarantine:ATTACH_EXECUTABLE"},
	} {
		s := &shelf{failAt: c.failAt}
		err := deliver(t, s, c.offset, "u@strip.example")
		if code(err) != c.code || len(s.stored) != c.stored || s.opened != 0 {
			t.Errorf("%s: %v, %d stored, %d open", c.name, err, len(s.stored), s.opened)
			continue
		}
		if c.stored > 0 && s.stored[0].Envelope.Recipients[0].Hold != c.hold {
			t.Errorf("%s: held as %q", c.name, s.stored[0].Envelope.Recipients[0].Hold)
		}
	}
}

// TestDiscardedOnce: a discarded recipient enters the accounts with the message,
// not with an attempt to store it that the client will repeat.
func TestDiscardedOnce(t *testing.T) {
	for _, c := range []struct {
		name, failAt string
		recipients   []string
		code, gone   int
	}{
		{"beside another", "", []string{"u@drop.example", "v@tag.example"}, 250, 1},
		{"nobody is left", "", []string{"u@drop.example", "w@drop.example"}, 250, 2},
		{"the disk is full", "commit 1", []string{"u@drop.example", "v@tag.example"}, 451, 0},
	} {
		s := &shelf{failAt: c.failAt}
		if err := deliver(t, s, place, c.recipients...); code(err) != c.code || s.gone != c.gone || s.opened != 0 {
			t.Errorf("%s: %v, %d discarded, %d open", c.name, err, s.gone, s.opened)
		}
	}
}

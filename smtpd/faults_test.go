package smtpd

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{replyListed.Err(), "554 5.7.1"},
		{errors.New("no database"), "421 4.3.0"},
		{&smtp.SMTPError{Code: 250}, "421 4.3.0"},
	} {
		got := run(t, memServer(&desk{openErr: c.err}, nil), ListenerOptions{}, pieces("QUIT\r\n"))
		if len(got) != 1 || !strings.HasPrefix(got[0], c.want) {
			t.Errorf("%v: %q, want %s", c.err, got, c.want)
		}
	}
}

// TestPanic: it costs its session a 421, and nobody else anything.
func TestPanic(t *testing.T) {
	d := &desk{}
	m := NewMetrics(prometheus.NewRegistry())
	_, addr := serve(t, d, ListenerOptions{}, func(o *Options) { o.Metrics = m })
	other := dial(t, addr)
	p := dial(t, addr)
	p.say("EHLO client.example", "250")
	p.say("MAIL FROM:<a@client.example>", "250")
	p.say("RCPT TO:<panic@example.org>", "421 4.3.0")
	p.wantClosed()
	if n := testutil.ToFloat64(m.panics); n != 1 {
		t.Errorf("%v panics counted", n)
	}
	other.say("NOOP", "250")
}

// TestSessionFaults: what a session gets wrong never loses or invents mail.
func TestSessionFaults(t *testing.T) {
	body := "Subject: x\r\n\r\nx\r\n.\r\n"
	bare := "Subject: x\r\n\r\nx\n.\r\n.\r\n"
	readAll := func(r io.Reader) error { _, err := io.ReadAll(r); return err }
	for _, c := range []struct {
		name string
		data func(io.Reader) error
		body string
		want string
	}{
		{"reads nothing, says yes", func(io.Reader) error { return nil }, body, "451"},
		{"reads nothing, says 250", func(io.Reader) error { return Queued([16]byte{}) }, body, "451"},
		{"reads nothing, says no", func(io.Reader) error { return replyNoSpace.Err() }, body, "452"},
		{"reads a part, says no", func(r io.Reader) error { r.Read(make([]byte, 3)); return replySpam.Err() }, body, "554"},
		{"error without a type", func(r io.Reader) error { readAll(r); return errors.New("disk") }, body, "451"},
		{"odd code", func(r io.Reader) error { readAll(r); return &smtp.SMTPError{Code: 354} }, body, "451"},
		{"wrapped", func(r io.Reader) error { readAll(r); return fmt.Errorf("so: %w", replySpam.Err()) }, body, "554"},
		{"own 250", func(r io.Reader) error { readAll(r); return Queued([16]byte{}) }, body, "250 2.0.0 Ok: queued as 000"},
		{"accepts a fault", func(r io.Reader) error { readAll(r); return nil }, bare, "550 5.5.2"},
		{"hides a fault", func(r io.Reader) error { readAll(r); return replyDeferred.Err() }, bare, "550 5.5.2"},
		{"passes a fault on", readAll, bare, "550 5.5.2"},
		{"closes", func(r io.Reader) error { readAll(r); return replyTooBusy.Err() }, body, "421"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, how := range []struct{ start, data string }{
				{"DATA\r\n", c.body},
				{"", fmt.Sprintf("BDAT %d LAST\r\n%s", len(c.body)-3, c.body[:len(c.body)-3])},
			} {
				got := run(t, memServer(&desk{data: c.data}, nil), ListenerOptions{}, pieces(preamble+how.start, how.data, "QUIT\r\n"))
				i := len(got) - 2
				if c.want == "421" {
					i++
				}
				if !strings.HasPrefix(got[i], c.want) {
					t.Errorf("%q, want %s", got, c.want)
				}
			}
		})
	}
	d := &desk{startErr: replyNoSpace.Err()}
	got := codes(run(t, memServer(d, nil), ListenerOptions{}, pieces(preamble+"DATA\r\nMAIL FROM:<>\r\nBDAT 6\r\nQUIT\r\nQUIT\r\n")))
	if got != "220 250 250 250 452 250 503 221" {
		t.Errorf("StartData refuses: %s", got)
	}
	got = codes(run(t, memServer(d, nil), ListenerOptions{}, pieces(preamble+"BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nQUIT\r\n")))
	if got != "220 250 250 250 452 503 221" {
		t.Errorf("StartData refuses BDAT: %s", got)
	}
}

// TestDataWaitsFor354 (RFC 2920 section 3.1).
func TestDataWaitsFor354(t *testing.T) {
	d := &desk{}
	got := codes(run(t, memServer(d, nil), ListenerOptions{}, pieces(preamble+"DATA\r\nSubject: x\r\n\r\n.\r\n")))
	if got != "220 250 250 250 554" {
		t.Error(got)
	}
	d.wantLetters(t, 0)
}

// TestReader: the session may read in any way it likes.
func TestReader(t *testing.T) {
	want := strings.Repeat("0123456789\r\n", 9000)
	for _, size := range []int{1, 7, 4096, 1 << 20} {
		got := ""
		d := &desk{data: func(r io.Reader) error {
			var b strings.Builder
			_, err := io.CopyBuffer(&b, struct{ io.Reader }{r}, make([]byte, size))
			got = b.String()
			return err
		}}
		s := memServer(d, func(o *Options) { o.Limits.MessageSize, o.Limits.HeaderSection = 1<<20, 1<<20 })
		run(t, s, ListenerOptions{}, pieces(preamble+"DATA\r\n", want+".\r\nQUIT\r\n"))
		if got != want {
			t.Errorf("by %d octets: %d octets, want %d", size, len(got), len(want))
		}
	}
}

// TestLastReplyArrives: a client that is still sending when we close gets to
// know why, and not only that its connection was reset.
func TestLastReplyArrives(t *testing.T) {
	for range 20 {
		_, addr := serve(t, &desk{}, ListenerOptions{}, nil)
		p := dial(t, addr)
		p.envelope()
		p.say("DATA", "354")
		p.send(strings.Repeat("0123456789\r\n", 70_000))
		p.want("552 5.3.4")
		if _, err := p.r.ReadByte(); err != io.EOF {
			t.Fatalf("then %v, want a clean end", err)
		}
	}
}

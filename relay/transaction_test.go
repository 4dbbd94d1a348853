package relay

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"mailweir/internal/mailtest"
	"mailweir/mail"
)

// rcptScript replies to RCPT by the local-part.
func rcptScript(replies map[string]string) func(mailtest.Event) mailtest.Step {
	return func(e mailtest.Event) mailtest.Step {
		if e.Verb != "RCPT" {
			return mailtest.Step{}
		}
		_, rest, _ := strings.Cut(e.Line, "<")
		local, _, _ := strings.Cut(rest, "@")
		return mailtest.Step{Reply: replies[local]}
	}
}

func TestPartialAcceptance(t *testing.T) {
	for set, extensions := range extensionSets {
		t.Run(set, func(t *testing.T) {
			sink := mailtest.NewSink(t, mailtest.SinkOptions{Extensions: extensions, On: rcptScript(map[string]string{
				"no": "550 5.1.1 No such user", "later": "450 4.2.1 Mailbox busy", "full": "552 5.2.2 Mailbox full"})})
			r := newRelay(t, Options{}, sink.Addr())
			m := message("x\r\n", "a@example.net", "no@example.net", "b@example.net", "later@example.net", "full@example.net")
			for round := range 3 {
				got := deliver(t, r, m)
				wantResults(t, got, mail.Relayed, mail.Failed, mail.Relayed, mail.Deferred, mail.Failed)
				if got[1].Reply.String() != "550 5.1.1 No such user" || got[0].Reply.Text != "Ok: taken" {
					t.Errorf("replies %q, %q", got[1].Reply, got[0].Reply)
				}
				if n := len(sink.Messages()[round].Rcpts); n != 2 {
					t.Errorf("%d recipients reached the next hop", n)
				}
			}
		})
	}
}

// All recipients refused: the next message goes over the same connection,
// whether DATA was refused then or let in (RFC 2920 section 3.1).
func TestAllRecipientsRefused(t *testing.T) {
	for _, data := range []string{"", "354 Go ahead"} {
		for set, extensions := range extensionSets {
			t.Run(set+data, func(t *testing.T) {
				script := rcptScript(map[string]string{"no": "550 5.1.1 No such user"})
				sink := mailtest.NewSink(t, mailtest.SinkOptions{Extensions: extensions, On: func(e mailtest.Event) mailtest.Step {
					if e.Verb == "DATA" && e.Recipients == 0 {
						return mailtest.Step{Reply: data}
					}
					return script(e)
				}})
				r := newRelay(t, Options{}, sink.Addr())
				for range 2 {
					wantResults(t, deliver(t, r, message("x\r\n", "no@example.net", "no@example.net")), mail.Failed, mail.Failed)
					wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
				}
				if sink.Connections() != 1 || len(sink.Messages()) != 2 {
					t.Errorf("%d connections, %d messages", sink.Connections(), len(sink.Messages()))
				}
			})
		}
	}
}

func TestMailRefused(t *testing.T) {
	for set, extensions := range extensionSets {
		t.Run(set, func(t *testing.T) {
			sink := mailtest.NewSink(t, mailtest.SinkOptions{Extensions: extensions, On: func(e mailtest.Event) mailtest.Step {
				if e.Verb == "MAIL" && strings.Contains(e.Line, "<bad@") {
					return mailtest.Step{Reply: "550 5.1.8 Sender refused"}
				}
				return mailtest.Step{}
			}})
			r := newRelay(t, Options{}, sink.Addr())
			bad := message("x\r\n", "a@example.net", "b@example.net")
			bad.Envelope.ReversePath = "bad@example.com"
			for range 2 {
				got := deliver(t, r, bad)
				wantResults(t, got, mail.Failed, mail.Failed)
				if got[1].Reply.String() != "550 5.1.8 Sender refused" {
					t.Errorf("reply %q", got[1].Reply)
				}
				wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
			}
			if sink.Connections() != 1 {
				t.Errorf("%d connections", sink.Connections())
			}
		})
	}
}

// A limit on recipients splits the message into transactions, in one attempt;
// later messages on the connection know the limit.
func TestTooManyRecipients(t *testing.T) {
	for _, limit := range []string{"452 4.5.3 Too many recipients", "452 Too many", "552 Too many recipients"} {
		for set, extensions := range extensionSets {
			t.Run(set+"/"+limit, func(t *testing.T) {
				sink := mailtest.NewSink(t, mailtest.SinkOptions{Extensions: extensions, On: func(e mailtest.Event) mailtest.Step {
					if e.Verb == "RCPT" && e.Recipients >= 3 {
						return mailtest.Step{Reply: limit}
					}
					return mailtest.Step{}
				}})
				r := newRelay(t, Options{}, sink.Addr())
				m := message("x\r\n")
				for i := range 8 {
					m.Envelope.Recipients = append(m.Envelope.Recipients, mail.Recipient{Path: mail.Path(fmt.Sprintf("u%d@example.net", i))})
				}
				for _, o := range deliver(t, r, m) {
					if o.Result != mail.Relayed {
						t.Errorf("%+v", o)
					}
				}
				sizes := []int{}
				for _, g := range sink.Messages() {
					sizes = append(sizes, len(g.Rcpts))
				}
				if !slices.Equal(sizes, []int{3, 3, 2}) || sink.Connections() != 1 {
					t.Errorf("transactions of %v on %d connections", sizes, sink.Connections())
				}
				rcpts := 0
				for _, v := range sink.Verbs() {
					if v == "RCPT" {
						rcpts++
					}
				}
				if rcpts != 8+3+2 {
					t.Errorf("%d RCPT: the limit was not remembered", rcpts)
				}
			})
		}
	}
	// Without progress there is no second transaction.
	sink := mailtest.NewSink(t, mailtest.SinkOptions{On: mailtest.Script(map[string]string{"RCPT": "452 4.5.3 Too many recipients"})})
	r := newRelay(t, Options{}, sink.Addr())
	wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Deferred)
}

func TestRecipientLimits(t *testing.T) {
	sink := mailtest.NewSink(t, mailtest.SinkOptions{Extensions: append([]string{"LIMITS RCPTMAX=2 MAILMAX=3"}, mailtest.AllExtensions...)})
	r := newRelay(t, Options{}, sink.Addr())
	m := message("x\r\n", "a@example.net", "b@example.net", "c@example.net", "d@example.net", "e@example.net", "f@example.net", "g@example.net")
	for _, o := range deliver(t, r, m) {
		if o.Result != mail.Relayed {
			t.Errorf("%+v", o)
		}
	}
	got := sink.Messages()
	if len(got) != 4 || got[2].Conn != 1 || got[3].Conn != 2 {
		t.Errorf("%d transactions, %d connections", len(got), sink.Connections())
	}
}

// Recipients with different header sections get them, in transactions of
// their own over one connection.
func TestHeads(t *testing.T) {
	sink := mailtest.NewSink(t, mailtest.SinkOptions{})
	r := newRelay(t, Options{}, sink.Addr())
	m := message("body\r\n", "a@example.net", "b@example.net", "c@example.net")
	m.Heads = append(m.Heads, []byte("X-Spam-Flag: YES\r\n\r\n"))
	m.Envelope.Recipients[1].Head = 1
	wantResults(t, deliver(t, r, m), mail.Relayed, mail.Relayed, mail.Relayed)
	got := sink.Messages()
	if len(got) != 2 || len(got[0].Rcpts) != 2 || string(got[0].Data) != "Subject: test\r\n\r\nbody\r\n" ||
		got[1].Rcpts[0].Path != "b@example.net" || string(got[1].Data) != "X-Spam-Flag: YES\r\n\r\nbody\r\n" {
		t.Errorf("%+v", got)
	}
	if sink.Connections() != 1 {
		t.Errorf("%d connections", sink.Connections())
	}
}

// Only those named in rcpts are delivered to.
func TestSubsetOfRecipients(t *testing.T) {
	sink := mailtest.NewSink(t, mailtest.SinkOptions{})
	r := newRelay(t, Options{}, sink.Addr())
	m := message("x\r\n", "a@example.net", "b@example.net", "c@example.net")
	var got []int
	r.Deliver(t.Context(), r.Route("a@example.net"), m, []int{2, 0}, func(o mail.Outcome) { got = append(got, o.Recipient) })
	slices.Sort(got)
	rcpts := sink.Messages()[0].Rcpts
	if !slices.Equal(got, []int{0, 2}) || len(rcpts) != 2 || rcpts[0].Path != "c@example.net" || rcpts[1].Path != "a@example.net" {
		t.Errorf("outcomes for %v, sent to %v", got, rcpts)
	}
}

func TestParameters(t *testing.T) {
	m := message("x\r\n", `"a b>c"@example.net`, "b@example.net")
	env := &m.Envelope
	env.ReversePath = `"odd <path>"@example.com`
	env.EightBit, env.UTF8, env.Return, env.EnvID = true, true, "HDRS", "QQ+2B1"
	env.Recipients[0].Notify, env.Recipients[0].ORcpt = mail.NotifySuccess|mail.NotifyDelay, "rfc822;x+2By@example.net"
	env.Recipients[1].Notify = mail.NotifyNever

	all := mailtest.NewSink(t, mailtest.SinkOptions{})
	outs := deliver(t, newRelay(t, Options{}, all.Addr()), m)
	wantResults(t, outs, mail.Relayed, mail.Relayed)
	if !outs[0].Reports || !outs[1].Reports {
		t.Errorf("the next hop has DSN: %+v", outs)
	}
	got := all.Messages()[0]
	want := fmt.Sprintf(`"odd <path>"@example.com [SIZE=%d BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B1] `+
		`[{"a b>c"@example.net [NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+2By@example.net]} {b@example.net [NOTIFY=NEVER]}]`, m.Size(0))
	if s := fmt.Sprintf("%s %v %v", got.From, got.MailParams, got.Rcpts); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	if got.Helo != "mx.example.org" {
		t.Errorf("EHLO %s", got.Helo)
	}

	none := mailtest.NewSink(t, mailtest.SinkOptions{Extensions: []string{}})
	outs = deliver(t, newRelay(t, Options{}, none.Addr()), m)
	wantResults(t, outs, mail.Relayed, mail.Relayed)
	if outs[0].Reports || outs[1].Reports {
		t.Errorf("the next hop has no DSN: %+v", outs)
	}
	got = none.Messages()[0]
	if len(got.MailParams) != 0 || len(got.Rcpts[0].Params) != 0 || len(got.Rcpts[1].Params) != 0 {
		t.Errorf("parameters that were not offered: %v %v", got.MailParams, got.Rcpts)
	}
}

// What the next hop cannot take by what it offers fails here, for the
// recipients concerned only.
func TestNotOffered(t *testing.T) {
	utf8 := message("x\r\n", "a@example.net", "ü@example.net")
	utf8.Envelope.UTF8 = true
	utf8Sender := message("x\r\n", "a@example.net")
	utf8Sender.Envelope.ReversePath = "ü@example.com"
	utf8Head := message("x\r\n", "a@example.net")
	utf8Head.Envelope.UTF8, utf8Head.Heads[0] = true, []byte("Subject: ü\r\n\r\n")
	eight := message("caf\xc3\xa9\r\n", "a@example.net")
	eight.Envelope.EightBit = true
	big := message(strings.Repeat("x", 1000)+"\r\n", "a@example.net")
	ok, no := mail.Relayed, mail.Failed
	for _, c := range []struct {
		name       string
		m          *mail.Message
		extensions []string
		enhanced   string
		want       []mail.Result
	}{
		{"recipient needs SMTPUTF8", utf8, without("SMTPUTF8"), "5.6.7", []mail.Result{ok, no}},
		{"sender needs SMTPUTF8", utf8Sender, without("SMTPUTF8"), "5.6.7", []mail.Result{no}},
		{"header needs SMTPUTF8", utf8Head, without("SMTPUTF8"), "5.6.7", []mail.Result{no}},
		{"SMTPUTF8 offered", utf8, nil, "", []mail.Result{ok, ok}},
		{"8-bit", eight, without("8BITMIME"), "", []mail.Result{ok}},
		{"too big", big, append(without("SIZE"), "SIZE 1000"), "5.3.4", []mail.Result{no}},
		{"not too big", big, append(without("SIZE"), "SIZE 2000"), "", []mail.Result{ok}},
		{"no limit on size", big, append(without("SIZE"), "SIZE 0"), "", []mail.Result{ok}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sink := mailtest.NewSink(t, mailtest.SinkOptions{Extensions: c.extensions})
			got := deliver(t, newRelay(t, Options{}, sink.Addr()), c.m)
			wantResults(t, got, c.want...)
			for _, o := range got {
				if o.Result == no && (o.Reply.Enhanced.String() != c.enhanced || o.Reply.Code != 0 || o.NextHop != sink.Addr()) {
					t.Errorf("%+v", o)
				}
			}
		})
	}
}

// Paths and parameters that would break out of their command never reach the
// wire. The intake refuses them too: this is the second lock.
func TestNoInjection(t *testing.T) {
	for _, bad := range []string{
		"a@example.net>\r\nRCPT TO:<b@example.net", "a@example.net> NOTIFY=NEVER", "a b@example.net", "a<b@example.net",
		"\"a@example.net", "\"a\r\n\"@example.net", "\"a\\\r\n\"@example.net", "a\x00@example.net", "", "a@example.net\r\n", "\x7f@example.net",
		strings.Repeat("a", 300) + "@example.net",
	} {
		sink := mailtest.NewSink(t, mailtest.SinkOptions{})
		r := newRelay(t, Options{Outbound: &Route{NextHops: []string{sink.Addr()}}, Routes: map[string]*Route{"": {NextHops: []string{sink.Addr()}}}})
		wantResults(t, deliver(t, r, message("x\r\n", bad, "good@example.net")), mail.Failed, mail.Relayed)
		if bad == "" {
			continue // a good reverse-path
		}
		m := message("x\r\n", "good@example.net")
		m.Envelope.ReversePath = mail.Path(bad)
		wantResults(t, deliver(t, r, m), mail.Failed)
	}
	sink := mailtest.NewSink(t, mailtest.SinkOptions{})
	m := message("x\r\n", "a@example.net")
	m.Envelope.EnvID, m.Envelope.Return = "x\r\nRSET", "FULL SIZE=1"
	m.Envelope.Recipients[0].ORcpt = "rfc822;a b"
	wantResults(t, deliver(t, newRelay(t, Options{}, sink.Addr()), m), mail.Relayed)
	if got := sink.Messages()[0]; len(got.MailParams) != 1 || len(got.Rcpts[0].Params) != 0 {
		t.Errorf("%v %v", got.MailParams, got.Rcpts)
	}
}

// Content with a bare CR or LF is never sent by DATA, in memory or from disk.
func TestBareLineEnds(t *testing.T) {
	long := strings.Repeat("0123456789abcdef\r\n", 10_000)
	for _, body := range []string{"a\nb\r\n", "a\rb\r\n", "a\r\r\nb\r\n", "a\r\n\nb\r\n", "a\r\n\r", "\n", "\r", "a\r\n.\n", long + "\n.\r\n", long + "x\r"} {
		for _, content := range []mail.Content{mail.Bytes(body), stored{Bytes: mail.Bytes(body)}} {
			sink := mailtest.NewSink(t, mailtest.SinkOptions{Extensions: without("CHUNKING")})
			m := message("", "a@example.net")
			m.Body = content
			got := deliver(t, newRelay(t, Options{}, sink.Addr()), m)
			wantResults(t, got, mail.Failed)
			if len(sink.Messages()) != 0 || !strings.HasPrefix(got[0].Reply.Text, "internal error") {
				t.Errorf("%.20q: %d messages, %s", body, len(sink.Messages()), got[0].Reply)
			}
		}
	}
}

// A message that cannot be read from the queue to its end is not sent at all,
// and the next hop is not blamed for it.
func TestUnreadableContent(t *testing.T) {
	for set, extensions := range extensionSets {
		t.Run(set, func(t *testing.T) {
			sink := mailtest.NewSink(t, mailtest.SinkOptions{Extensions: extensions})
			second := mailtest.NewSink(t, mailtest.SinkOptions{})
			r := newRelay(t, Options{}, sink.Addr(), second.Addr())
			m := message("", "a@example.net")
			m.Body = stored{Bytes: mail.Bytes(strings.Repeat("0123456789abcdef\r\n", 10_000)), fail: 100_000}
			got := deliver(t, r, m)
			wantResults(t, got, mail.Deferred)
			if len(sink.Messages())+second.Connections() != 0 || got[0].Reply.Enhanced.String() != "4.3.0" {
				t.Errorf("%d messages, %d connections to the second next hop, %s", len(sink.Messages()), second.Connections(), got[0].Reply)
			}
			wantResults(t, deliver(t, r, message("x\r\n", "a@example.net")), mail.Relayed)
		})
	}
}

// The next hop refuses in the middle of a large message and closes: its reply
// is the outcome.
func TestRefusedInMidContent(t *testing.T) {
	for _, extensions := range [][]string{mailtest.AllExtensions, without("CHUNKING")} {
		ln := listen(t)
		go serveRaw(ln, func(c *rawConn) {
			c.greet(extensions)
			c.commands(2) // MAIL, RCPT
			c.say("250 Ok", "250 Ok")
			c.commands(1)
			if !strings.Contains(strings.Join(extensions, " "), "CHUNKING") {
				c.say("354 Go ahead")
			}
			c.read(10_000)
			c.say("552 5.3.4 Too big for me")
			c.read(100_000)
		})
		r := newRelay(t, Options{}, ln.Addr().String())
		m := message(strings.Repeat("0123456789abcdef\r\n", 2_000_000), "a@example.net")
		got := deliver(t, r, m)
		// A reset may overtake the reply; but then it is no failure for good.
		if got[0].Result == mail.Relayed || got[0].Result == mail.Failed && got[0].Reply.Code != 552 {
			t.Errorf("%+v", got[0])
		}
	}
}

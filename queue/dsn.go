package queue

import (
	"bytes"
	"fmt"
	"mime/quotedprintable"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"mailweir/mail"
)

// This file writes delivery status notifications: RFC 3464 in the frame of
// RFC 6522, RFC 6533 where addresses are UTF-8. A DSN is read outside, so
// nothing in it tells where the message came from: not only are the header
// sections that the relay gets redacted by then, trace fields are left out.

// generated is a message of our own, to be queued.
type generated struct {
	e     *entry
	since int64
	env   mail.Envelope
	head  []byte
	body  []byte
	out   outgoing
}

// prepare seals it, and returns a bound of its record.
func (g *generated) prepare(q *Queue) int {
	g.out = outgoing{
		kind: recAccept, id: g.e.id, env: &g.env, since: g.since, heads: [][]byte{g.head}, body: g.body,
		size: g.e.size, codecs: q.o.codec(),
	}
	q.sealWith(&g.out, g.e)
	g.out.prepare()
	return g.out.bound()
}

func (g *generated) write(b *batch) {
	b.add(g.out.append(b.tail()), fixup{op: fixAccept, e: g.e, own: true, plain: g.out.epoch == nil, generated: len(g.e.rcpts)})
}

// maxReturned is the largest message that RET=FULL returns whole.
const maxReturned = 64 << 10

// news is what a DSN tells, and how.
type news struct {
	action  string // RFC 3464 section 2.3.3
	subject string
	text    string
}

var (
	newsFailed = &news{"failed", "Undelivered mail returned to sender",
		"Your message could not be delivered to the recipients below.\r\n" +
			"It will not be tried again. The reason is what the next server said.\r\n"}
	newsDelayed = &news{"delayed", "Delayed mail, no action needed yet",
		"This is only a notice. Your message could not be delivered to the recipients\r\n" +
			"below yet. It is tried again; you need not send it once more.\r\n"}
	newsRelayed = &news{"relayed", "Your message was passed on",
		"Your message was handed to the next server for the recipients below. That\r\n" +
			"server sends no reports, so there will be none when the message arrives.\r\n"}
	allNews = [...]*news{newsFailed, newsDelayed, newsRelayed}
)

func newsOf(s *rcptState) *news {
	switch s.status {
	case statusRelayed:
		return newsRelayed
	case statusPending:
		return newsDelayed
	}
	return newsFailed
}

// reports makes the DSNs for recipients: for each header section that they had,
// since that is what comes back, one with each kind of news. The caller holds
// q.mu.
func (q *Queue) reports(e *entry, m *mail.Message, told []rcptState, now time.Time) []*generated {
	var list []*generated
	for h := range m.Heads {
		for _, n := range allNews {
			var states []rcptState
			for i := range told {
				if m.Envelope.Recipients[told[i].index].Head == h && newsOf(&told[i]) == n {
					states = append(states, told[i])
				}
			}
			if len(states) > 0 {
				list = append(list, q.dsn(e, m, h, n, states, now))
			}
		}
	}
	return list
}

func (q *Queue) dsn(e *entry, m *mail.Message, head int, n *news, states []rcptState, now time.Time) *generated {
	g := &generated{since: now.UnixMilli()}
	g.env = mail.Envelope{
		ID: mail.NewID(now), Arrived: now, UTF8: m.Envelope.UTF8, Sign: true,
		// RFC 3461 section 5.2.9 e: no DSN for a DSN.
		Recipients: []mail.Recipient{{Path: m.Envelope.ReversePath, Notify: mail.NotifyNever}},
	}
	w := &dsnWriter{host: q.o.Hostname, m: m, news: n, now: now, until: q.expires(e), utf8: m.Envelope.UTF8, boundary: "=_" + g.env.ID.String()}
	w.human(states)
	w.status(states)
	w.returned(m.Heads[head])
	fmt.Fprintf(&w.b, "--%s--\r\n", w.boundary)
	g.env.EightBit = w.eightBit
	g.body = w.b.Bytes()
	g.head = w.head(g.env.ID)
	g.e = q.newEntry(g.env.ID, &g.env, int64(len(g.head)+len(g.body)), g.since)
	q.o.Metrics.dsns.Inc()
	return g
}

type dsnWriter struct {
	b        bytes.Buffer
	host     string
	m        *mail.Message
	news     *news
	now      time.Time
	until    time.Time // it is given up
	utf8     bool
	eightBit bool
	boundary string
}

const dateFormat = "Mon, 2 Jan 2006 15:04:05 -0700"

func (w *dsnWriter) head(id mail.ID) []byte {
	var h bytes.Buffer
	fmt.Fprintf(&h, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\n", w.host)
	fmt.Fprintf(&h, "To: <%s>\r\n", w.m.Envelope.ReversePath)
	fmt.Fprintf(&h, "Subject: %s\r\n", w.news.subject)
	fmt.Fprintf(&h, "Date: %s\r\n", w.now.Format(dateFormat))
	fmt.Fprintf(&h, "Message-ID: <%s@%s>\r\n", id, w.host)
	h.WriteString("Auto-Submitted: auto-replied\r\n") // RFC 3834 section 5
	h.WriteString("MIME-Version: 1.0\r\n")
	fmt.Fprintf(&h, "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n", w.boundary)
	if w.eightBit {
		h.WriteString("Content-Transfer-Encoding: 8bit\r\n")
	}
	h.WriteString("\r\n")
	return h.Bytes()
}

// part starts a body part; its text goes through encode.
func (w *dsnWriter) part(contentType, encoding string) {
	fmt.Fprintf(&w.b, "--%s\r\nContent-Type: %s\r\n", w.boundary, contentType)
	if encoding != "" {
		fmt.Fprintf(&w.b, "Content-Transfer-Encoding: %s\r\n", encoding)
	}
	w.b.WriteString("\r\n")
}

// text writes a part that may be encoded: as it is when it is 7-bit with short
// lines, else quoted-printable, which every relay passes.
func (w *dsnWriter) text(contentType string, p []byte) {
	if plain(p) {
		w.part(contentType, "")
		w.b.Write(p)
	} else {
		w.part(contentType, "quoted-printable")
		qp := quotedprintable.NewWriter(&w.b)
		qp.Write(p) // a bytes.Buffer takes all
		qp.Close()
	}
	w.b.WriteString("\r\n")
}

func plain(p []byte) bool {
	for line := range bytes.SplitSeq(p, []byte("\r\n")) {
		if len(line) > 998 {
			return false
		}
	}
	return isASCII(p)
}

func isASCII(p []byte) bool {
	for _, c := range p {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func (w *dsnWriter) human(states []rcptState) {
	var t bytes.Buffer
	fmt.Fprintf(&t, "This is the mail system at %s.\r\n\r\n", w.host)
	t.WriteString(w.news.text)
	if w.news == newsDelayed {
		fmt.Fprintf(&t, "It is given up at %s at the latest.\r\n", w.date(w.until))
	}
	for _, s := range states {
		fmt.Fprintf(&t, "\r\n<%s>:\r\n", w.m.Envelope.Recipients[s.index].Path)
		if s.status == statusExpired {
			t.WriteString("    could not be delivered in time; the last attempt said:\r\n")
		}
		fmt.Fprintf(&t, "    %s\r\n", w.clean(s.said()))
	}
	w.text("text/plain; charset=utf-8", t.Bytes())
}

// status is the machine's part (RFC 3464 section 2).
func (w *dsnWriter) status(states []rcptState) {
	var t bytes.Buffer
	fmt.Fprintf(&t, "Reporting-MTA: dns; %s\r\n", w.host)
	if id := w.m.Envelope.EnvID; id != "" {
		fmt.Fprintf(&t, "Original-Envelope-Id: %s\r\n", w.clean(xtext(id)))
	}
	fmt.Fprintf(&t, "Arrival-Date: %s\r\n", w.date(w.m.Envelope.Arrived))
	for _, s := range states {
		w.recipient(&t, s)
	}
	contentType := "message/delivery-status"
	if w.utf8 {
		contentType = "message/global-delivery-status" // RFC 6533 section 4
	}
	w.text(contentType, t.Bytes())
}

func (w *dsnWriter) recipient(t *bytes.Buffer, s rcptState) {
	r := &w.m.Envelope.Recipients[s.index]
	t.WriteString("\r\n")
	if kind, addr, ok := strings.Cut(r.ORcpt, ";"); ok {
		fmt.Fprintf(t, "Original-Recipient: %s;%s\r\n", w.clean(kind), w.clean(w.original(kind, addr)))
	}
	kind := "rfc822"
	if !isASCII([]byte(r.Path)) {
		kind = "utf-8" // RFC 6533 section 3
	}
	fmt.Fprintf(t, "Final-Recipient: %s; %s\r\n", kind, r.Path)
	fmt.Fprintf(t, "Action: %s\r\n", w.news.action)
	fmt.Fprintf(t, "Status: %s\r\n", statusCode(s))
	if name := remoteName(s.nextHop); name != "" && s.reply.Code != 0 {
		fmt.Fprintf(t, "Remote-MTA: dns; %s\r\n", name)
	}
	diagnostic := "smtp"
	if s.reply.Code == 0 {
		diagnostic = "x-mailweir"
	}
	fmt.Fprintf(t, "Diagnostic-Code: %s; %s\r\n", diagnostic, w.clean(s.said()))
	fmt.Fprintf(t, "Final-Log-ID: %s\r\n", w.m.Envelope.ID)
	switch {
	case w.news != newsDelayed:
		fmt.Fprintf(t, "Last-Attempt-Date: %s\r\n", w.date(w.now))
	default:
		fmt.Fprintf(t, "Will-Retry-Until: %s\r\n", w.date(w.until))
	}
}

// said is what the last attempt met.
func (s *rcptState) said() string {
	if text := s.reply.String(); text != "" {
		return text
	}
	return "the next server cannot be reached"
}

func (w *dsnWriter) date(t time.Time) string { return t.In(w.now.Location()).Format(dateFormat) }

// statusCode is the enhanced status code of RFC 3463: the next hop's, when it
// is of the reply's own class.
func statusCode(s rcptState) string {
	switch {
	case s.status == statusExpired:
		return "4.4.7" // delivery time expired
	case s.status == statusPending && s.reply.Code == 0:
		return "4.4.1" // no answer from host
	case s.reply.Enhanced[0] != 0 && s.reply.Enhanced[0] == s.reply.Code/100:
		return s.reply.Enhanced.String()
	case s.reply.Code == 0 && s.reply.Enhanced[0] == 5: // our own word
		return s.reply.Enhanced.String()
	case s.reply.Permanent():
		return "5.0.0"
	case s.status == statusRelayed:
		return "2.0.0"
	}
	return "4.0.0"
}

// remoteName is the host name of a next hop. An address says nothing to the
// sender and something about the inside of our network.
func remoteName(hop string) string {
	host, _, err := net.SplitHostPort(hop)
	if err != nil {
		host = hop
	}
	if _, err := netip.ParseAddr(host); err == nil || !mail.ValidDomain(host, false) || strings.HasPrefix(host, "[") {
		return ""
	}
	return host
}

// clean makes text fit for a line of a DSN: replies and decoded xtext are
// foreign bytes.
func (w *dsnWriter) clean(s string) string {
	if len(s) > 900 {
		s = s[:900]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' || r >= 0x80 && !w.utf8 {
			return '?'
		}
		return r
	}, s)
}

// xtext decodes RFC 3461 section 4: "+" and two hexadecimal digits. What is no
// xtext stays as it is.
func xtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '+' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// original is the address of ORCPT. One in UTF-8 comes with its characters
// written as \x{HEX}, which a DSN of ASCII keeps (RFC 6533 section 3).
func (w *dsnWriter) original(kind, addr string) string {
	addr = xtext(addr)
	if !strings.EqualFold(kind, "utf-8") || !w.utf8 {
		return addr
	}
	return embedded.ReplaceAllStringFunc(addr, func(s string) string {
		n, err := strconv.ParseUint(s[3:len(s)-1], 16, 32)
		if err != nil || n < 0x80 || !utf8.ValidRune(rune(n)) {
			return s
		}
		return string(rune(n))
	})
}

var embedded = regexp.MustCompile(`\\x\{[0-9A-Fa-f]{2,6}\}`)

package smtpd

import (
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/emersion/go-smtp"

	"mailweir/internal/jsonx"
	"mailweir/internal/logline"
	"mailweir/mail"
)

// tally is what the log will say of a connection.
type tally struct {
	id           mail.ID // zero until a refusal needs it
	began        time.Time
	result       connResult // "" until it is admitted or turned away
	end          string     // why it ended: "quit", "closed", "shutdown", "panic", or a connError
	transactions int        // MAIL was accepted
	accepted     int        // messages that got a 250
	refused      int        // 4yz and 5yz replies
	refusal      [4]int     // code and enhanced code of the first of them
}

// reply counts a negative reply.
func (t *tally) reply(code int, e smtp.EnhancedCode) {
	if code < 400 {
		return
	}
	if t.refused++; t.refused == 1 {
		t.refusal = [4]int{code, e[0], e[1], e[2]}
	}
}

// name is the connection's ID, by which a refusal leads to its line.
func (t *tally) name() mail.ID {
	if t.id == (mail.ID{}) {
		t.id = mail.NewID(t.began)
	}
	return t.id
}

// ended notes why; the first reason counts.
func (t *tally) ended(why string) {
	if t.end == "" {
		t.end = why
	}
}

// fault counts a session that ends other than by QUIT or a plain close.
func (c *conn) fault(e connError) {
	c.srv.metrics.errors[e].Inc()
	c.tally.ended(string(e))
}

// admission counts what became of the connection before its banner.
func (c *conn) admission(r connResult) {
	c.srv.metrics.connections[r].Inc()
	c.tally.result = r
}

// log writes the line of a connection that is over.
func (c *conn) log() {
	c.tally.ended("closed")
	now := time.Now()
	l := &connectionLine{conn: c, took: now.Sub(c.tally.began), helo: c.srv.names.Host(now, c.client.Helo)}
	if c.client.Addr.IsValid() {
		l.client = c.srv.names.Client(now, c.client.Addr.String())
	}
	logline.Log(c.srv.log, now, slog.LevelInfo, "connection", l)
}

// connectionLine is a connection's one line in the log.
type connectionLine struct {
	*conn
	client, helo string
	took         time.Duration
}

// Class implements logline.Classed.
func (l *connectionLine) Class() string { return ClassConnection }

// AppendFields implements logline.Line.
func (l *connectionLine) AppendFields(o *jsonx.Object) {
	t := &l.tally
	o.String("client", l.client)
	o.StringIf("helo", l.helo)
	o.String("listener", l.listener())
	o.StringIf("tls", l.conn.client.TLS.Version)
	o.StringIf("cipher", l.conn.client.TLS.Cipher)
	o.String("result", string(t.result))
	o.String("end", t.end)
	o.Int("transactions", int64(t.transactions))
	o.Int("accepted", int64(t.accepted))
	o.Int("refused", int64(t.refused))
	o.StringIf("refusal", t.firstRefusal())
	o.StringIf("id", t.idText())
	if l.authFailures > 0 {
		o.Int("auth_failures", int64(l.authFailures))
	}
	o.Int("duration_ms", l.took.Milliseconds())
}

// LogValue implements slog.LogValuer, for the text format.
func (l *connectionLine) LogValue() slog.Value {
	t := &l.tally
	attrs := []slog.Attr{slog.String("client", l.client)}
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	text("helo", l.helo)
	attrs = append(attrs, slog.String("listener", l.listener()))
	text("tls", l.conn.client.TLS.Version)
	text("cipher", l.conn.client.TLS.Cipher)
	attrs = append(attrs, slog.String("result", string(t.result)), slog.String("end", t.end),
		slog.Int("transactions", t.transactions), slog.Int("accepted", t.accepted), slog.Int("refused", t.refused))
	text("refusal", t.firstRefusal())
	text("id", t.idText())
	if l.authFailures > 0 {
		attrs = append(attrs, slog.Int("auth_failures", l.authFailures))
	}
	return slog.GroupValue(append(attrs, slog.Int64("duration_ms", l.took.Milliseconds()))...)
}

// idText is empty where no refusal has named the connection.
func (t *tally) idText() string {
	if t.id == (mail.ID{}) {
		return ""
	}
	return t.id.String()
}

// listener is the address that the client came to: ours.
func (l *connectionLine) listener() string {
	if a, ok := l.tcp.LocalAddr().(*net.TCPAddr); ok {
		return a.String()
	}
	return ""
}

// firstRefusal is "550 5.7.1": codes only, no text that could tell of anybody.
func (t *tally) firstRefusal() string {
	if t.refused == 0 {
		return ""
	}
	b := strconv.AppendInt(nil, int64(t.refusal[0]), 10)
	if t.refusal[1] > 0 {
		b = append(b, ' ')
		b = appendEnhanced(b, smtp.EnhancedCode(t.refusal[1:]))
		b = b[:len(b)-1]
	}
	return string(b)
}

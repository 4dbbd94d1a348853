package smtpd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// model is the state machine of RFC 5321 and RFC 3030 as plainly as it can be
// said: what the engine must answer, and which messages come out of it.
type model struct {
	greeted, open bool
	chunks        bool // between BDAT chunks
	rcpts         []string
	from          string
	data          string
	want          []string // codes
	letters       []letter
	client        [][]byte
}

func (m *model) say(line, code string) {
	m.client = append(m.client, []byte(line))
	m.want = append(m.want, code)
}

func (m *model) end() {
	m.open, m.chunks, m.rcpts, m.data = false, false, nil, ""
}

func (m *model) order(code string) string {
	switch {
	case !m.greeted, !m.open:
		return "503"
	}
	return code
}

func (m *model) ehlo(*rapid.T) { m.end(); m.greeted = true; m.say("EHLO c.example\r\n", "250") }
func (m *model) rset(*rapid.T) { m.end(); m.say("RSET\r\n", "250") }
func (m *model) noop(*rapid.T) { m.say("NOOP\r\n", "250") }
func (m *model) junk(*rapid.T) { m.say("JUNK\r\n", "500") }
func (m *model) tls(*rapid.T)  { m.say("STARTTLS\r\n", "454") }

func (m *model) mail(t *rapid.T) {
	from := rapid.SampledFrom([]string{"a@c.example", "z@c.example", "unknown@c.example", "later@c.example", "", "no"}).Draw(t, "from")
	code := map[string]string{"unknown@c.example": "550", "later@c.example": "451", "no": "501"}[from]
	switch {
	case !m.greeted || m.open:
		code = "503"
	case code == "":
		code = "250"
		m.open, m.from = true, from
	}
	m.say("MAIL FROM:<"+from+">\r\n", code)
}

func (m *model) rcpt(t *rapid.T) {
	to := rapid.SampledFrom([]string{"b@example.org", "d@example.org", "unknown@example.org", "later@example.org", "", "fault@example.org"}).Draw(t, "to")
	code := map[string]string{"unknown@example.org": "550", "later@example.org": "451", "": "501", "fault@example.org": "451"}[to]
	switch {
	case !m.greeted || !m.open || m.chunks:
		code = "503"
	case to != "" && len(m.rcpts) >= 5:
		code = "452"
	case code == "":
		code = "250"
		m.rcpts = append(m.rcpts, to)
	}
	m.say("RCPT TO:<"+to+">\r\n", code)
}

var modelData = []string{"", "x\r\n", "Subject: x\r\n\r\n.\r\n..x\r\n", "x\n.\n", "x\r.\r\n", "\x00\r\n"}

func (m *model) dataCommand(t *rapid.T) {
	if m.order("354") != "354" || m.chunks || len(m.rcpts) == 0 {
		m.say("DATA\r\n", "503")
		return
	}
	m.say("DATA\r\n", "354")
	data := rapid.SampledFrom(modelData).Draw(t, "data")
	stuffed := data
	if strings.HasPrefix(data, ".") {
		stuffed = "." + stuffed
	}
	m.data = data
	if data != "" && !strings.HasSuffix(data, "\r\n") {
		stuffed += "\r\n" // else the dot would not stand at the beginning of a line
	}
	m.finish(strings.ReplaceAll(stuffed, "\r\n.", "\r\n..") + ".\r\n")
}

// finish is the end of a message of which bytes are the last.
func (m *model) finish(bytes string) {
	code := "550"
	if m.clean() {
		code = "250"
		m.letters = append(m.letters, letter{m.from, m.rcpts, m.data})
	}
	m.end()
	m.say(bytes, code)
}

func (m *model) clean() bool {
	rest := strings.ReplaceAll(m.data, "\r\n", "")
	return !strings.ContainsAny(rest, "\r\n\x00") && (m.data == "" || strings.HasSuffix(m.data, "\r\n"))
}

func (m *model) bdat(t *rapid.T) {
	chunk := rapid.SampledFrom(append(modelData, "x", "\r", "\n", "QUIT\r\n")).Draw(t, "chunk")
	last := rapid.Bool().Draw(t, "last")
	line := fmt.Sprintf("BDAT %d\r\n%s", len(chunk), chunk)
	if last {
		line = fmt.Sprintf("BDAT %d LAST\r\n%s", len(chunk), chunk)
	}
	if m.order("250") != "250" || len(m.rcpts) == 0 {
		m.say(line, "503")
		return
	}
	m.data += chunk
	if last {
		m.finish(line)
		return
	}
	// A chunk's end may cut a CRLF in two; anything else is refused at once.
	if probe := strings.TrimSuffix(m.data, "\r"); strings.ContainsAny(strings.ReplaceAll(probe, "\r\n", ""), "\r\n\x00") {
		m.end()
		m.say(line, "550")
		return
	}
	m.chunks = true
	m.say(line, "250")
}

// TestModel drives the engine by random command sequences and compares it with
// the model: every reply, and every message with its envelope. An envelope that
// survives the end of its transaction, or a message that goes on with another's
// recipients, shows here.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{want: []string{"220"}}
		m.ehlo(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"EHLO": m.ehlo, "RSET": m.rset, "NOOP": m.noop, "JUNK": m.junk, "STARTTLS": m.tls,
			"MAIL": m.mail, "MAIL2": m.mail, "RCPT": m.rcpt, "RCPT2": m.rcpt, "RCPT3": m.rcpt,
			"DATA": m.dataCommand, "BDAT": m.bdat, "BDAT2": m.bdat,
		})
		m.say("QUIT\r\n", "221")
		d := &desk{}
		s := memServer(d, func(o *Options) {
			o.Limits.Errors, o.Limits.Commands = 1<<20, 1<<20
		})
		script := strings.Join(stringsOf(m.client), "|")
		got := codes(run(t, s, ListenerOptions{}, m.client))
		if want := strings.Join(m.want, " "); got != want {
			rt.Fatalf("%q:\n got %s\nwant %s", script, got, want)
		}
		if diff := cmp.Diff(m.letters, d.taken()); diff != "" {
			rt.Fatalf("%q:\n%s", script, diff)
		}
		if d.stale > 0 {
			rt.Fatalf("%q: MAIL while an envelope was open", script)
		}
		if opened, ended := d.balance(); opened != 1 || ended != 1 {
			rt.Fatalf("%d sessions, %d ended", opened, ended)
		}
	})
}

func stringsOf(list [][]byte) []string {
	var out []string
	for _, b := range list {
		out = append(out, string(b))
	}
	return out
}

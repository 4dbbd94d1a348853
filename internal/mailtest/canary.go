package mailtest

import (
	"embed"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
)

//go:embed canaries
var canaryFiles embed.FS

// template is one line of the folder canaries.
type template struct {
	text string
	rest string // what must remain; "-": nothing, "": nothing is asked
}

var (
	canaryHops        = sync.OnceValue(func() []template { return templates("received.txt") })
	canaryTraceFields = sync.OnceValue(func() []template { return templates("fields.txt") })
)

func templates(file string) []template {
	b, err := canaryFiles.ReadFile("canaries/" + file)
	if err != nil {
		panic(err) // it is part of the program
	}
	var list []template
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		text, rest, _ := strings.Cut(line, " | ")
		text = strings.TrimSuffix(text, " | -")
		list = append(list, template{text, rest})
	}
	return list
}

// CanaryNetworks hold every canary.
var CanaryNetworks = []netip.Prefix{netip.MustParsePrefix("64.0.0.0/2"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("198.51.100.0/24")}

// Canary is the header section of one message whose trace names one client, in
// dialects, fields and spellings of many kinds of software, and that client.
type Canary struct {
	*rand.Rand
	Addr       netip.Addr
	Name, Helo string // host names, of the address and by its own word
	Fields     []CanaryField
}

// CanaryField is a field with its CRLF. A trace field must not tell the client;
// Rest is what must remain of it: "-" nothing, "" is not said. Any other field
// is content that must not change.
type CanaryField struct {
	Text, Rest string
	Trace      bool
}

// NewCanary makes the message number n; the same numbers make the same message.
func NewCanary(n, seed uint64) *Canary {
	m := &Canary{Rand: rand.New(rand.NewPCG(n, seed))}
	m.newClient()
	m.compose(canaryHops(), canaryTraceFields(), int(n))
	return m
}

func (m *Canary) newClient() {
	r := m.Rand
	if r.IntN(3) > 0 {
		m.Addr = netip.AddrFrom4([4]byte{byte(64 + r.IntN(63)), byte(16 + r.IntN(240)), byte(16 + r.IntN(240)), byte(16 + r.IntN(240))})
	} else {
		raw := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		for k := 4 + 2*r.IntN(5); k < 16; k++ {
			raw[k] = byte(16 + r.IntN(240))
		}
		m.Addr = netip.AddrFrom16(raw)
	}
	m.Name, m.Helo = m.hostName("rdns"), m.hostName("helo")
}

// fill writes a template; ok is false when it needs another kind of address.
func (m *Canary) fill(t template, id string) (text, rest string, ok bool) {
	four := m.Addr.Is4()
	if !four && (strings.Contains(t.text, "%4") || strings.Contains(t.text, "%D") || strings.Contains(t.text, "%r")) ||
		four && (strings.Contains(t.text, "%6") || strings.Contains(t.text, "%R")) {
		return "", "", false
	}
	date := fmt.Sprintf("Sat, 21 Nov 2026 10:%02d:%02d +0000", m.IntN(60), m.IntN(60))
	hex := strings.ReplaceAll(m.Addr.StringExpanded(), ":", "")
	var back, decimal string
	if four {
		b := m.Addr.As4()
		hex = fmt.Sprintf("%02x%02x%02x%02x", b[0], b[1], b[2], b[3])
		back = fmt.Sprintf("%d.%d.%d.%d", b[3], b[2], b[1], b[0])
		decimal = fmt.Sprint(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]))
	}
	helo := m.Helo
	if m.IntN(6) == 0 && !strings.Contains(t.text, "[%h]") {
		helo = m.Name
	}
	var b strings.Builder
	for s := t.text; s != ""; {
		i := strings.IndexAny(s, `%\`)
		if i < 0 || i+1 == len(s) {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		switch s[i : i+2] {
		case "%a":
			b.WriteString(m.plain())
		case "%A":
			b.WriteString(m.spell())
		case "%4", "%6":
			b.WriteString(m.Addr.String())
		case "%n":
			b.WriteString(m.Name)
		case "%h":
			b.WriteString(helo)
		case "%e":
			b.WriteString(m.word(m.Name))
		case "%E":
			b.WriteString(m.word(m.plain()))
		case "%D":
			b.WriteString(decimal)
		case "%H":
			b.WriteString(hex)
		case "%r":
			b.WriteString(back)
		case "%R":
			b.WriteString(nibbles(m.Addr) + ".ip6.arpa")
		case "%q":
			b.WriteString(id)
		case "%d":
			b.WriteString(date)
		case `\n`:
			b.WriteString("\r\n")
		case `\t`:
			b.WriteString("\t")
		default:
			b.WriteString(s[i : i+2])
		}
		s = s[i+2:]
	}
	rest = strings.NewReplacer(`\n`, "\r\n", `\t`, "\t", "%q", id, "%d", date).Replace(t.rest)
	return b.String(), rest, true
}

func (m *Canary) compose(hops, fields []template, turn int) {
	for k := range 1 + m.IntN(4) {
		id := fmt.Sprintf("4Q%08xz", m.Uint32())
		t := hops[m.IntN(len(hops))]
		if k == 0 {
			t = hops[turn%len(hops)]
		}
		if text, rest, ok := m.fill(t, id); ok {
			m.Add("Received: "+text, rest, true)
		}
		if m.IntN(5) == 0 { // the message began on a host of the client's
			text, rest, _ := m.fill(template{`from %n (%n [%a]) by mx.example.net with ESMTP id %q; %d`, `by mx.example.net with ESMTP id %q; %d`}, id)
			m.Add("Received: "+text, rest, true)
			text, rest, _ = m.fill(template{`by %n (Postfix, from userid 1000)\n\tid %q; %d`, `(Postfix, from userid 1000)\n\tid %q; %d`}, id)
			m.Add("Received: "+text, rest, true)
		}
		for range m.IntN(3) {
			m.field(fields[m.IntN(len(fields))], id)
		}
	}
	m.field(fields[turn/len(hops)%len(fields)], "4Q00000000z")
	for _, content := range []string{
		"Subject: see %a and %n", "From: Anna <anna@[%a]>", "Sender: anna@[%a]", "Reply-To: <anna@[%a]>", "To: bob@example.net, <c@[%a]>",
		"References: <1.%a@%n>\r\n\t<2@[%a]>", "In-Reply-To: <2@[%a]>", "Message-ID: <%a.4711@%n>", "Comments: written on %n", "Date: Sat, 21 Nov 2026 10:00:00 +0000 (%n)",
		"List-Id: %n <list.%n>", "Content-Type: text/plain; charset=utf-8; x=\"%a\"", "Return-Path: <anna@[%a]>", "X-Version: 10.22.33.44",
		"User-Agent: Mail/10.22.33.44 (X11; rv:10.2.3.4)", "X-Mailer: Mailer 10.22.33.44", "X-MimeOLE: Produced By Microsoft MimeOLE V6.00.2900.2180",
		"X-Virus-Scanned: ClamAV 0.103.8.1/26000/Sat Nov 21 on mx.example.net", "X-Spam-Checker-Version: SpamAssassin 4.0.1.2 (2026-01-01) on mx.example.net",
		"X-SES-Outgoing: 2026.11.21-192.0.2.11", "X-Campaign-Id: 4711.22.33.44",
		"Resent-From: <anna@[%a]>", "Resent-Message-ID: <%a.4711@%n>", "List-Unsubscribe: <https://%n/u?ip=%a>", "Thread-Topic: on %a", "Keywords: %a, %n",
		"Content-Disposition: attachment; filename=\"%a.txt\"", "Archived-At: <https://%n/4711>", "Delivered-To: bob@%n", "X-Original-To: bob@[%a]",
		"Organization: %n", "Mail-Followup-To: list@%n", "Autocrypt: addr=anna@%n; keydata=QUJD", "Errors-To: <bounce@[%a]>", "Subject: =?utf-8?B?MS4yLjMuNA==?= %a",
		"this is no field: %a",
	} {
		if m.IntN(2) == 0 {
			m.Add(strings.NewReplacer("%a", m.Addr.String(), "%n", m.Name).Replace(content), "", false)
		}
	}
}

func (m *Canary) field(t template, id string) {
	if text, rest, ok := m.fill(t, id); ok {
		name, body, _ := strings.Cut(text, ":")
		switch m.IntN(6) {
		case 0:
			name = strings.ToUpper(name)
		case 1:
			name = strings.ToLower(name)
		case 2:
			body = "\r\n\t" + strings.TrimLeft(body, " ")
		}
		m.Add(name+":"+body, rest, true)
	}
}

// Add appends a field without its CRLF.
func (m *Canary) Add(text, rest string, trace bool) {
	m.Fields = append(m.Fields, CanaryField{text + "\r\n", rest, trace})
}

// Head is the header section with the empty line.
func (m *Canary) Head() string {
	var b strings.Builder
	for _, f := range m.Fields {
		b.WriteString(f.Text)
	}
	return b.String() + "\r\n"
}

package privacy

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"mailweir/mail"
)

var canaryMessages = flag.Int("canaries", 4000, "how many messages TestCanaries makes; the figure in docs/privacy.md is of 100000")

// TestCanaries makes messages whose trace names one client in every dialect,
// field and spelling of testdata/canaries, and looks for it in what is left,
// by spellings of its own. What is no trace stays byte for byte, and every hop
// keeps its protocol, queue id and time.
func TestCanaries(t *testing.T) {
	hops, fields := templates(t, "received.txt"), templates(t, "fields.txt")
	for i := range *canaryMessages {
		m := newCanary(rand.New(rand.NewPCG(uint64(i), 7)))
		m.compose(hops, fields, i)
		for _, o := range []Options{
			{Class: All},
			{Class: Own, ClientOwn: true, OwnNetworks: canaryNetworks},
			{Class: All, SignedFields: RedactSigned},
		} {
			h := mail.ParseHeader([]byte(m.head()))
			r := Redact(&h, nil, o)
			got := r.Head
			if got == nil {
				got = h.Raw
			}
			m.check(t, string(got), r.Edits)
			if t.Failed() {
				t.Fatalf("seed %d, class %s, client %s %s %s\n%s----\n%s", i, o.Class, m.addr, m.name, m.helo, m.head(), got)
			}
		}
	}
	t.Logf("%d messages, %d dialects, %d fields", *canaryMessages, len(hops), len(fields))
}

// template is one line of testdata/canaries.
type template struct {
	text string
	rest string // what must remain; "-": nothing, "": nothing is asked
}

func templates(t *testing.T, file string) []template {
	t.Helper()
	b, err := os.ReadFile("testdata/canaries/" + file)
	if err != nil {
		t.Fatal(err)
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

// canaryNetworks hold every canary.
var canaryNetworks = []netip.Prefix{netip.MustParsePrefix("64.0.0.0/2"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("198.51.100.0/24")}

// canary is one message, and the client that it must not tell.
type canary struct {
	*rand.Rand
	addr       netip.Addr
	name, helo string
	fields     []canaryField
}

type canaryField struct {
	text, rest string
	trace      bool
}

func newCanary(r *rand.Rand) *canary {
	m := &canary{Rand: r}
	if r.IntN(3) > 0 {
		m.addr = netip.AddrFrom4([4]byte{byte(64 + r.IntN(63)), byte(16 + r.IntN(240)), byte(16 + r.IntN(240)), byte(16 + r.IntN(240))})
	} else {
		raw := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		for k := 4 + 2*r.IntN(5); k < 16; k++ {
			raw[k] = byte(16 + r.IntN(240))
		}
		m.addr = netip.AddrFrom16(raw)
	}
	m.name, m.helo = m.hostName("rdns"), m.hostName("helo")
	return m
}

func (m *canary) pick(list ...string) string { return list[m.IntN(len(list))] }

// hostName is a name as access networks give them, most with the address in it.
func (m *canary) hostName(kind string) string {
	tag := fmt.Sprintf("%s%08x.isp.example", kind, m.Uint32()|1<<31)
	if m.IntN(3) == 0 {
		return tag
	}
	if m.addr.Is6() {
		return m.pick(strings.ReplaceAll(m.addr.String(), ":", "-")+".v6."+tag, strings.ReplaceAll(m.addr.StringExpanded(), ":", "")+"."+tag, nibbles(m.addr)+"."+tag)
	}
	b := m.addr.As4()
	f := func(format string) string { return fmt.Sprintf(format, b[0], b[1], b[2], b[3]) }
	back := func(format string) string { return fmt.Sprintf(format, b[3], b[2], b[1], b[0]) }
	return m.pick(f("dsl-%d-%d-%d-%d."), f("%d.%d.%d.%d.static."), back("%d.%d.%d.%d.rev."), f("p%02X%02X%02X%02X.dip."),
		f("host%d-%d-%d-%d."), f("%02x%02x%02x%02x.dyn."), f("ip%03d-%03d-%03d-%03d."), f("ppp_%d_%d_%d_%d."),
		fmt.Sprintf("%d.cust.", uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3])), back("c-%d-%d-%d-%d.hsd1."), f("%03d%03d%03d%03d.pool.")) + tag
}

func nibbles(a netip.Addr) string {
	hex := strings.ReplaceAll(a.StringExpanded(), ":", "")
	var b []string
	for i := len(hex) - 1; i >= 0; i-- {
		b = append(b, hex[i:i+1])
	}
	return strings.Join(b, ".")
}

// plain is the address as servers write it; spell in any way that stands for it.
func (m *canary) plain() string {
	if m.addr.Is6() {
		return m.pick(m.addr.String(), "IPv6:"+m.addr.String(), m.addr.StringExpanded(), strings.ToUpper(m.addr.String()))
	}
	return m.pick(m.addr.String(), m.addr.String(), "::ffff:"+m.addr.String())
}

func (m *canary) spell() string {
	if m.addr.Is6() {
		raw := m.addr.As16()
		tail := fmt.Sprintf("%x:%x:%x:%x:%x:%x:%d.%d.%d.%d", int(raw[0])<<8|int(raw[1]), int(raw[2])<<8|int(raw[3]), int(raw[4])<<8|int(raw[5]),
			int(raw[6])<<8|int(raw[7]), int(raw[8])<<8|int(raw[9]), int(raw[10])<<8|int(raw[11]), raw[12], raw[13], raw[14], raw[15])
		return m.pick(m.plain(), tail, m.addr.String()+"%eth0", strings.ToUpper(m.addr.StringExpanded()))
	}
	b := m.addr.As4()
	f := func(format string) string { return fmt.Sprintf(format, b[0], b[1], b[2], b[3]) }
	if m.IntN(20) == 0 { // folded where no software folds
		return strings.Replace(m.addr.String(), ".", m.pick(".\r\n ", "\r\n\t."), 1)
	}
	return m.pick(m.plain(), f("%03d.%03d.%03d.%03d"), f("0x%02x.0x%02x.0x%02x.0x%02x"), f("0%o.0%o.0%o.0%o"), f("0x%02x%02x%02x%02x"),
		f("::FFFF:%02X%02x:%02x%02x"), f("0:0:0:0:0:ffff:%d.%d.%d.%d"), f("IPv6:::ffff:%d.%d.%d.%d"), f("64:ff9b::%02x%02x:%02x%02x"), f("::%d.%d.%d.%d"),
		f("%d.%d.%d.%d:4711"), f("2002:%02x%02x:%02x%02x::1"), f(`%d\.%d\.%d\.%d`))
}

// word is s in encoded words: one, or two that readers join.
func (m *canary) word(s string) string {
	switch m.IntN(4) {
	case 0:
		return "=?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
	case 1:
		return "=?us-ascii?Q?" + strings.NewReplacer(".", "=2E", ":", "=3a", "-", "=2D").Replace(s) + "?="
	case 2:
		cut := 1 + m.IntN(len(s)-1)
		return "=?utf-8?q?" + s[:cut] + "?=" + m.pick(" ", "\r\n ", "\r\n\t") + "=?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte(s[cut:])) + "?="
	}
	return "=?iso-8859-1*en?q?" + s + "?="
}

// fill writes a template; ok is false when it needs another kind of address.
func (m *canary) fill(t template, id string) (text, rest string, ok bool) {
	four := m.addr.Is4()
	if !four && (strings.Contains(t.text, "%4") || strings.Contains(t.text, "%D") || strings.Contains(t.text, "%r")) ||
		four && (strings.Contains(t.text, "%6") || strings.Contains(t.text, "%R")) {
		return "", "", false
	}
	date := fmt.Sprintf("Sat, 21 Nov 2026 10:%02d:%02d +0000", m.IntN(60), m.IntN(60))
	hex := strings.ReplaceAll(m.addr.StringExpanded(), ":", "")
	var back, decimal string
	if four {
		b := m.addr.As4()
		hex = fmt.Sprintf("%02x%02x%02x%02x", b[0], b[1], b[2], b[3])
		back = fmt.Sprintf("%d.%d.%d.%d", b[3], b[2], b[1], b[0])
		decimal = fmt.Sprint(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]))
	}
	helo := m.helo
	if m.IntN(6) == 0 && !strings.Contains(t.text, "[%h]") {
		helo = m.name
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
			b.WriteString(m.addr.String())
		case "%n":
			b.WriteString(m.name)
		case "%h":
			b.WriteString(helo)
		case "%e":
			b.WriteString(m.word(m.name))
		case "%E":
			b.WriteString(m.word(m.plain()))
		case "%D":
			b.WriteString(decimal)
		case "%H":
			b.WriteString(hex)
		case "%r":
			b.WriteString(back)
		case "%R":
			b.WriteString(nibbles(m.addr) + ".ip6.arpa")
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

func (m *canary) compose(hops, fields []template, turn int) {
	for k := range 1 + m.IntN(4) {
		id := fmt.Sprintf("4Q%08xz", m.Uint32())
		t := hops[m.IntN(len(hops))]
		if k == 0 {
			t = hops[turn%len(hops)]
		}
		if text, rest, ok := m.fill(t, id); ok {
			m.add("Received: "+text, rest, true)
		}
		if m.IntN(5) == 0 { // the message began on a host of the client's
			text, rest, _ := m.fill(template{`from %n (%n [%a]) by mx.example.net with ESMTP id %q; %d`, `by mx.example.net with ESMTP id %q; %d`}, id)
			m.add("Received: "+text, rest, true)
			text, rest, _ = m.fill(template{`by %n (Postfix, from userid 1000)\n\tid %q; %d`, `(Postfix, from userid 1000)\n\tid %q; %d`}, id)
			m.add("Received: "+text, rest, true)
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
		"this is no field: %a",
	} {
		if m.IntN(2) == 0 {
			m.add(strings.NewReplacer("%a", m.addr.String(), "%n", m.name).Replace(content), "", false)
		}
	}
}

func (m *canary) field(t template, id string) {
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
		m.add(name+":"+body, rest, true)
	}
}

func (m *canary) add(text, rest string, trace bool) {
	m.fields = append(m.fields, canaryField{text + "\r\n", rest, trace})
}

func (m *canary) head() string {
	var b strings.Builder
	for _, f := range m.fields {
		b.WriteString(f.text)
	}
	return b.String() + "\r\n"
}

// check goes through what came out beside what went in.
func (m *canary) check(t *testing.T, head string, edits []Edit) {
	removed := map[int]bool{}
	for _, e := range edits {
		removed[e.Field] = e.Kind == Removed
	}
	h := mail.ParseHeader([]byte(head))
	forms := m.forms()
	k := 0
	for i, f := range m.fields {
		switch {
		case removed[i]:
			if !f.trace || f.rest != "-" && f.rest != "" {
				t.Errorf("%q is gone", f.text)
			}
			continue
		case k == len(h.Fields):
			t.Errorf("%q is not there", f.text)
		case !f.trace:
			if got := string(h.Fields[k].Raw); got != f.text {
				t.Errorf("%q became %q", f.text, got)
			}
		case f.rest == "-":
			t.Errorf("%q is there: %q", f.text, h.Fields[k].Raw)
		default:
			m.checkField(t, f, string(h.Fields[k].Raw), forms)
		}
		k++
	}
	if k != len(h.Fields) {
		t.Errorf("field %q is unexpected", h.Fields[k].Raw)
	}
}

func (m *canary) checkField(t *testing.T, f canaryField, got string, forms []string) {
	text := decodeAll(got)
	for _, form := range forms {
		if strings.Contains(text, form) {
			t.Errorf("%q is left of %q: %q", form, f.text, got)
			return
		}
	}
	if !strings.Contains(got, f.rest) {
		t.Errorf("%q is not left of %q: %q", f.rest, f.text, got)
	}
}

// forms are all spellings of the client, in lower case.
func (m *canary) forms() []string {
	list := []string{m.name, m.helo}
	if m.addr.Is6() {
		full := m.addr.StringExpanded()
		list = append(list, m.addr.String(), full, strings.ReplaceAll(full, ":", ""), strings.ReplaceAll(m.addr.String(), ":", "-"), nibbles(m.addr))
	} else {
		b := m.addr.As4()
		for _, format := range []string{"%d.%d.%d.%d", "%03d.%03d.%03d.%03d", "0x%02x.0x%02x.0x%02x.0x%02x", "0%o.0%o.0%o.0%o", "%02x%02x%02x%02x", "%02x%02x:%02x%02x",
			"%d-%d-%d-%d", "%d_%d_%d_%d", "%03d-%03d-%03d-%03d", "%03d%03d%03d%03d"} {
			list = append(list, fmt.Sprintf(format, b[0], b[1], b[2], b[3]), fmt.Sprintf(format, b[3], b[2], b[1], b[0]))
		}
		list = append(list, fmt.Sprint(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3])))
	}
	for k := range list {
		list[k] = strings.ToLower(list[k])
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// decodeAll is text as a curious reader would see it: unfolded, with encoded
// words decoded and joined, without backslashes, in lower case.
func decodeAll(s string) string {
	var b bytes.Buffer
	s = strings.NewReplacer("\r\n\t.", ".", ".\r\n ", ".", "\r\n", "", "?= =?", "?==?", "?=\r\n =?", "?==?", "?=\r\n\t=?", "?==?").Replace(s)
	for s != "" {
		i := strings.Index(s, "=?")
		if i < 0 {
			break
		}
		b.WriteString(s[:i])
		if n := encodedWord([]byte(s[i:])); n > 0 {
			b.Write(decodeWord([]byte(s[i : i+n])))
			s = s[i+n:]
		} else {
			b.WriteString("=?")
			s = s[i+2:]
		}
	}
	b.WriteString(s)
	return strings.ToLower(strings.ReplaceAll(b.String(), `\`, ""))
}

package content

import (
	"bytes"
	"strings"
	"sync"
	"unicode/utf8"

	"mailweir/filter"
	"mailweir/internal/charset"
	"mailweir/internal/pattern"
)

// MaxText is how many octets of decoded text of one message are looked at.
const MaxText = 256 << 10

// Reader makes a Message of every message. It is the check "content", which
// has no walk of its own: filter/mime drives it.
type Reader struct {
	patterns func() *pattern.Set
	learned  func() bool
	keep     bool // the words behind hashes
}

// New makes a Reader. patterns gives the set of the rules that are in force; it
// is asked once a message, and may give nil. learned tells whether the learned
// filter will look at the message, which is what words and source are collected
// for; nil: it will.
func New(patterns func() *pattern.Set, learned func() bool) *Reader {
	return &Reader{patterns: patterns, learned: learned}
}

// KeepWords has Facts.Body.Vocabulary kept with words and source. It is called
// before the first message.
func (r *Reader) KeepWords() { r.keep = true }

// Name is the word for this part of the examination in the config.
func (*Reader) Name() string { return "content" }

// Open begins a message, whose header section is complete.
func (r *Reader) Open(tx *filter.Transaction) *Message {
	m := messages.Get().(*Message)
	m.patterns = r.patterns()
	m.header = readHeader(tx)
	if m.learned = r.learned == nil || r.learned(); m.learned {
		m.source = newSource(m.header.To, m.header.Cc)
		if r.keep {
			m.source.vocabulary = vocabulary{}
		}
	}
	m.tx = tx
	return m
}

// Message reads the text of one message.
type Message struct {
	tx       *filter.Transaction
	patterns *pattern.Set
	header   filter.HeaderFacts
	body     filter.BodyFacts
	links    links
	source   source
	learned  bool // words and source are wanted

	text    text // as displayed
	unseen  text // hidden by style
	page    page
	raw     []byte // the leaf that arrives
	utf8    []byte
	left    int // octets of MaxText that are left
	isHTML  bool
	charset string
}

// messages keeps buffers from one message to the next: three of them for every
// message would be most of what this package allocates.
var messages = sync.Pool{New: func() any { return &Message{left: MaxText} }}

// release gives the buffers back. Facts keep no part of them.
func (m *Message) release() {
	*m = Message{
		text: text{out: m.text.out[:0]}, unseen: text{out: m.unseen.out[:0]},
		raw: m.raw[:0], utf8: m.utf8[:0], left: MaxText,
	}
	messages.Put(m)
}

// Begin starts a leaf.
func (m *Message) Begin(html bool, label string) {
	m.raw, m.isHTML, m.charset = m.raw[:0], html, label
	if label != "" && len(m.body.Charsets) < maxCharsets && !containsString(m.body.Charsets, label) {
		m.body.Charsets = append(m.body.Charsets, label)
	}
}

const maxCharsets = 16

// Write takes its next octets; false when no more are wanted.
func (m *Message) Write(p []byte) bool {
	if len(p) > m.left {
		p = p[:m.left]
		m.body.Cut = true
	}
	m.left -= len(p)
	m.raw = append(m.raw, p...)
	return !m.body.Cut
}

// End renders the leaf.
func (m *Message) End() {
	m.utf8 = charset.ToUTF8(m.utf8[:0], m.raw, m.charset)
	m.source.add(m.utf8)
	m.text.space()
	if m.isHTML {
		m.body.HTMLLength += len(m.raw)
		at := len(m.text.out)
		m.page.m = m
		m.page.render(m.utf8)
		m.page = page{scratch: m.page.scratch}
		m.links.scan(m.text.out[at:])
		return
	}
	m.body.LeafText += len(m.raw)
	m.body.Quoted += quoted(m.utf8)
	m.links.scan(m.utf8)
	m.text.add(m.utf8)
	m.text.space()
}

// quoted counts the lines that quote another message.
func quoted(b []byte) int {
	n := bytes.Count(b, []byte("\n>"))
	if len(b) > 0 && b[0] == '>' {
		n++
	}
	return n
}

// Abort drops the message.
func (m *Message) Abort() { m.release() }

// Report is what the message says. m is not used again.
func (m *Message) Report() filter.Report {
	m.measure()
	report := filter.Report{State: filter.OK}
	if m.patterns != nil {
		report.Symbols = m.match()
	}
	if m.body.Cut {
		report.Symbols = append(report.Symbols, filter.Symbol{Name: "CONTENT_CUT"})
	}
	if m.links.more {
		report.Symbols = append(report.Symbols, filter.Symbol{Name: "URL_LIMIT"})
	}
	if m.links.scripts > 0 {
		report.Symbols = append(report.Symbols, filter.Symbol{Name: "URL_SCRIPT"})
	}
	header, body := m.header, m.body
	report.Set = func(f *filter.Facts) {
		body.Parts, body.Ambiguities = f.Body.Parts, f.Body.Ambiguities
		f.Header, f.Body = header, body
	}
	m.release()
	return report
}

func (m *Message) measure() {
	b := &m.body
	b.URLs, b.Mailtos = m.links.list, m.links.mailtos
	if m.learned {
		w := newWords(len(m.text.out), m.header.To, m.header.Cc)
		w.vocabulary = m.source.vocabulary
		w.add(m.text.out)
		b.Words, b.Source, b.Vocabulary = w.out, m.source.out, w.vocabulary
	}
	b.TextLength = utf8.RuneCount(m.text.out)
	b.Hidden = utf8.RuneCount(m.unseen.out)
	b.Invisible = m.text.invisible + m.unseen.invisible
	b.Mixed = m.text.mixed + m.unseen.mixed
	if m.text.letters > 0 {
		b.Upper = 100 * m.text.capitals / m.text.letters
	}
}

// match runs the patterns over every area that any of them looks into.
func (m *Message) match() []filter.Symbol {
	r := m.patterns.Start()
	r.Scan("body", m.text.out)
	r.Scan("body", m.unseen.out)
	if m.patterns.Has("url") {
		r.Scan("url", m.urlText())
	}
	var norm text
	for _, area := range m.patterns.Areas() {
		name, isField := strings.CutPrefix(area, "header:")
		switch {
		case area == "subject":
			name = "subject"
		case !isField:
			continue
		}
		for _, f := range m.tx.Header.Fields {
			if f.Is(name) {
				norm.out = norm.out[:0]
				norm.add([]byte(charset.DecodeWords(f.Value())))
				r.Scan(area, norm.out)
			}
		}
	}
	m.body.Patterns = r.Names()
	if r.Spent() {
		return []filter.Symbol{{Name: "CONTENT_PATTERN_LIMIT"}}
	}
	return nil
}

// urlText is all addresses, one after the other, as patterns see them.
func (m *Message) urlText() []byte {
	b := m.utf8[:0]
	for i := range m.links.list {
		u := &m.links.list[i]
		b = append(b, u.Scheme...)
		b = append(b, "://"...)
		b = append(b, u.Host...)
		if u.Path == "" || u.Path[0] != '/' {
			b = append(b, '/')
		}
		for _, c := range []byte(u.Path) {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			b = append(b, c)
		}
		b = append(b, ' ')
	}
	m.utf8 = b
	return b
}

func containsString(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

package bayes

import (
	"math/bits"
	"slices"
	"strings"
	"sync"

	"mailweir/filter"
)

// Limits of what is looked at in one message.
const (
	maxURLs     = 100
	maxURLWords = 30 // of one address
	maxParts    = 50
	maxFeatures = 12000
)

// kind keeps features of different places apart: "free" in the subject is
// another feature than in the text.
type kind uint64

const (
	kindWord kind = iota + 1
	kindPair
	kindURLHost
	kindURLDomain
	kindURLTop
	kindURLWord
	kindImageHost
	kindFromName
	kindFromPair
	kindFromAddr
	kindFromDomain
	kindFromTop
	kindReplyTo
	kindSubject
	kindSubjectPair
	kindPart
	kindPartCharset
	kindPartName
	kindTree
	kindMailer
	kindField
	kindNoField
	kindMessageID
	kindAmbiguity
	kindSourcePair
	kindSourceTriple
	kindSubjectGram
	kindFromGram
	kindReplyToGram
	kindHostGram
	kindPathGram
	kindMeasure
	kindLocalShape
	kindDomainShape
	kindNameShape
)

// view is one of three ways to look at a message, each with weights of its own:
// by how it was made, whatever it says, by the words of its text, and by its
// source. What is none of the three (header, links, structure) all views see.
// Some that judge apart, and seldom err on the same message, tell more than one
// that sees everything.
type view int

const (
	viewFrame view = iota // first: it must find room, and needs little
	viewText
	viewSource
	views
)

// features are the different features of a message: those that all views see,
// then those of each view.
type features struct {
	all    []uint32
	shared int        // how many
	own    [views]int // of each view
}

// of are what a view sees.
func (f *features) of(v view) (shared, own []uint32) {
	own = f.all[f.shared:]
	for before := range v {
		own = own[f.own[before]:]
	}
	return f.all[:f.shared], own[:f.own[v]]
}

// close gives the features since those before to a view.
func (f *features) close(v view, out []uint32) {
	f.own[v] = len(out) - f.shared
	for before := range v {
		f.own[v] -= f.own[before]
	}
}

// extractor turns facts into features. It is kept from message to message.
type extractor struct {
	key      uint64
	out      []uint32
	set      set
	measured int    // measures of the message so far
	names    *names // nil where nobody wants to know
}

var extractors = sync.Pool{New: func() any { return new(extractor) }}

// features are those of a message under a key, valid until the extractor is
// used again.
func (e *extractor) features(f *filter.Facts, key uint64) (out features) {
	e.key, e.out = key, e.out[:0]
	e.set.reset(sharedMostly + 2*len(f.Body.Words) + 2*len(f.Body.Source))
	domains := e.urls(f.Body.URLs)
	e.sender(&f.Header)
	subject := e.subject(&f.Header)
	e.structure(&f.Body)
	e.fields(&f.Header)
	out.shared = len(e.out)
	e.frame(f, subject, domains)
	out.close(viewFrame, e.out)
	e.words(f.Body.Words)
	out.close(viewText, e.out)
	e.source(f.Body.Source)
	out.close(viewSource, e.out)
	out.all = e.out
	return out
}

// sharedMostly is how many features most messages have besides those of text and source.
const sharedMostly = 600

// feature is what a store with that key knows a hash of that kind by; never 0.
func feature(k kind, h, key uint64) uint32 {
	return max(1, uint32(finish(h+uint64(k)*0x9e3779b97f4a7c15, key)>>32))
}

// add tells how many features are new: one or none.
func (e *extractor) add(k kind, h uint64) int {
	v := feature(k, h, e.key)
	if e.names != nil {
		e.names.add(v, k)
	}
	if len(e.out) < maxFeatures && e.set.add(v, e.out) {
		e.out = append(e.out, v)
		return 1
	}
	return 0
}

func (e *extractor) string(k kind, s string) int {
	e.say(s)
	return e.add(k, hashString(s))
}

func (e *extractor) words(w []uint64) {
	for i, h := range w {
		e.sayWords(" ", h)
		e.add(kindWord, h)
		if i > 0 {
			e.sayWords(" ", w[i-1], h)
			e.add(kindPair, pair(w[i-1], h))
		}
	}
}

// subject takes the words of the subject, but not its recipients' and years. It
// returns what is left.
func (e *extractor) subject(h *filter.HeaderFacts) string {
	s := h.Subject
	for at := 0; at < len(s); {
		n := 0
		for at+n < len(s) && addressOctet(s[at+n]) {
			n++
		}
		if w := s[at : at+n]; isYear(w) || isRecipient(w, h.To) || isRecipient(w, h.Cc) {
			s = s[:at] + s[at+n:] // seldom
			n = 0
		}
		at += n + 1
	}
	e.text(kindSubject, kindSubjectPair, s)
	e.grams(kindSubjectGram, s)
	return s
}

func addressOctet(c byte) bool {
	return isLetter(c) || '0' <= c && c <= '9' || c >= 0x80 || strings.IndexByte("@._-+", c) >= 0
}

// isYear: 1990 to 2039.
func isYear(s string) bool {
	return len(s) == 4 && ("1990" <= s && s <= "1999" || "2000" <= s && s <= "2039") && '0' <= s[3] && s[3] <= '9'
}

// maxRecipients is how many of them are looked for in a subject.
const maxRecipients = 8

// isRecipient reports the address of one of them, or a half of it.
func isRecipient(s string, list []filter.Address) bool {
	for i := 0; s != "" && i < min(len(list), maxRecipients); i++ {
		local, domain, _ := strings.Cut(list[i].Addr, "@")
		if strings.EqualFold(s, local) || strings.EqualFold(s, domain) || strings.EqualFold(s, list[i].Addr) {
			return true
		}
	}
	return false
}

// source takes neighbours of two and three tokens: single ones say little that
// the words do not.
func (e *extractor) source(t []uint64) {
	for i := 1; i < len(t); i++ {
		p := pair(t[i-1], t[i])
		e.sayWords("", t[i-1], t[i])
		e.add(kindSourcePair, p)
		if i > 1 {
			e.sayWords("", t[i-2], t[i-1], t[i])
			e.add(kindSourceTriple, pair(t[i-2], p))
		}
	}
}

// grams takes all runs of four octets, capitals and all, every digit being 0:
// names that are made up anew each time are alike in these.
func (e *extractor) grams(k kind, s string) {
	var v uint32
	for i := 0; i < len(s); i++ {
		c := s[i]
		if '0' <= c && c <= '9' {
			c = '0'
		}
		if v = v<<8 | uint32(c); i >= 3 {
			e.say(s[i-3 : i+1])
			e.add(k, uint64(v)*gramSpread)
		}
	}
}

const gramSpread = 0x9e3779b97f4a7c15

func pair(a, b uint64) uint64 { return bits.RotateLeft64(a, 23)*0x9fb21c651e98df25 + b }

// text takes words of a string that was not read as text.
func (e *extractor) text(single, double kind, s string) {
	var last uint64
	lastWord := ""
	for at := 0; at < len(s); {
		n := wordEnd(s[at:])
		if n == 0 {
			at++
			continue
		}
		word := s[at : at+n]
		h := hashString(word)
		e.say(word)
		e.add(single, h)
		if last != 0 {
			e.sayBoth(lastWord, " ", word)
			e.add(double, pair(last, h))
		}
		last, lastWord = h, word
		at += n
	}
}

// wordEnd is the length of the word that s begins with, 0 for none.
func wordEnd(s string) int {
	n := 0
	for n < len(s) && s[n] > ' ' && strings.IndexByte(".,:;<>()[]\"/=", s[n]) < 0 {
		n++
	}
	return n
}

// urls tells how many different domains they have.
func (e *extractor) urls(list []filter.URL) (domains int) {
	for i := range list[:min(len(list), maxURLs)] {
		u := &list[i]
		if u.Image {
			domains += e.string(kindImageHost, u.Domain)
			continue
		}
		e.string(kindURLHost, u.Host)
		domains += e.string(kindURLDomain, u.Domain)
		if j := strings.LastIndexByte(u.Host, '.'); j >= 0 && !u.IP {
			e.string(kindURLTop, u.Host[j:])
		}
		e.path(u.Path)
	}
	return domains
}

// path takes the words of an address; numbers and codes in it say nothing.
func (e *extractor) path(s string) {
	words := 0
	for at := 0; at < len(s) && words < maxURLWords; {
		n := 0
		for at+n < len(s) && isLetter(s[at+n]) {
			n++
		}
		if n >= 3 && n < 20 {
			e.string(kindURLWord, s[at:at+n])
			words++
		}
		at += n + 1
	}
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func (e *extractor) sender(h *filter.HeaderFacts) {
	if len(h.From) > 0 {
		a := &h.From[0]
		e.text(kindFromName, kindFromPair, a.Name)
		e.grams(kindFromGram, a.Name)
		e.grams(kindFromGram, a.Addr)
		e.string(kindFromAddr, a.Addr)
		e.string(kindFromDomain, a.Domain)
		if i := strings.LastIndexByte(a.Domain, '.'); i >= 0 {
			e.string(kindFromTop, a.Domain[i:])
		}
	}
	if len(h.ReplyTo) > 0 {
		e.string(kindReplyTo, h.ReplyTo[0].Domain)
		e.grams(kindReplyToGram, h.ReplyTo[0].Name)
		e.grams(kindReplyToGram, h.ReplyTo[0].Addr)
	}
}

func (e *extractor) structure(b *filter.BodyFacts) {
	tree := uint64(0)
	for i := range b.Parts[:min(len(b.Parts), maxParts)] {
		p := &b.Parts[i]
		t := hashString(p.Type)
		tree = pair(tree, t+uint64(p.Depth))
		e.sayBoth(p.Type, " ", p.Encoding)
		e.add(kindPart, pair(t, hashString(p.Encoding)))
		e.sayBoth(p.Type, " ", p.Charset)
		e.add(kindPartCharset, pair(t, hashString(p.Charset)))
		if p.Name != "" {
			e.string(kindPartName, p.Name[strings.LastIndexByte(p.Name, '.')+1:])
		}
	}
	e.add(kindTree, tree)
	for _, a := range b.Ambiguities {
		e.string(kindAmbiguity, a)
	}
}

// telling are fields that senders choose to set or not.
var telling = []string{
	"list-id", "list-unsubscribe", "in-reply-to", "references", "reply-to", "sender", "organization",
	"mime-version", "x-priority", "precedence", "x-mailer", "user-agent", "x-mimeole", "auto-submitted",
}

func (e *extractor) fields(h *filter.HeaderFacts) {
	e.text(kindMailer, kindMailer, h.Mailer)
	for _, name := range telling {
		if slices.Contains(h.Names, name) {
			e.string(kindField, name)
		} else {
			e.string(kindNoField, name)
		}
	}
	e.add(kindMessageID, shape(h.MessageID))
}

// shape is the form of a Message-ID's left side: which program made it.
func shape(s string) uint64 {
	h, last := uint64(basis), byte(0)
	for i := 0; i < len(s) && s[i] != '@'; i++ {
		c := s[i]
		switch {
		case '0' <= c && c <= '9':
			c = '0'
		case 'a' <= c && c <= 'z':
			c = 'a'
		case 'A' <= c && c <= 'Z':
			c = 'A'
		}
		if c != last {
			h, last = (h^uint64(c))*prime, c
		}
	}
	return h
}

// FNV-1a over a string, in any case of ASCII letters.
const (
	basis = 0xcbf29ce484222325
	prime = 0x100000001b3
)

func hashString(s string) uint64 {
	h := uint64(basis)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		h = (h ^ uint64(c)) * prime
	}
	return h
}

// finish mixes the key in and spreads it over all bits.
func finish(h, key uint64) uint64 {
	h ^= key
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// set tells what it has seen since the last reset. It uses as many of its slots
// as it needs, so that they stay in the nearest cache and are soon cleared.
type set struct {
	slots []uint32 // 0: free
	bits  int      // of the slots in use
	n     int
}

const (
	minSetBits = 9
	setBits    = 15 // room for maxFeatures at less than half
)

// reset makes room for n, and for more as they come.
func (s *set) reset(n int) {
	if s.slots == nil {
		s.slots = make([]uint32, 1<<setBits)
	}
	s.bits, s.n = min(setBits, max(minSetBits, bits.Len(uint(2*n)))), 0
	clear(s.slots[:1<<s.bits])
}

// add tells whether v, which is not 0, is new. seen are all values before it.
func (s *set) add(v uint32, seen []uint32) bool {
	if 2*s.n >= 1<<s.bits && s.bits < setBits {
		s.reset(2 * s.n)
		for _, o := range seen {
			s.put(o)
		}
		s.n = len(seen)
	}
	if !s.put(v) {
		return false
	}
	s.n++
	return true
}

func (s *set) put(v uint32) bool {
	slots := s.slots[:1<<s.bits]
	for i := v >> (32 - s.bits); ; i++ {
		switch slot := &slots[i&uint32(len(slots)-1)]; *slot {
		case v:
			return false
		case 0:
			*slot = v
			return true
		}
	}
}

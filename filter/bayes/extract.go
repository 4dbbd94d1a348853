package bayes

import (
	"slices"
	"strings"

	"mailweir/filter"
)

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

package content

import (
	"slices"
	"strings"
	"unicode/utf8"

	"mailweir/filter"
)

// maxSource is how many octets of the decoded parts are looked at as they were
// sent. The program that made a message, and the template, show at its
// beginning; what the message wants is for the words to tell.
const maxSource = 2000

// source collects hashes of the tokens of text parts as they were sent, in
// order: runs of letters and digits, of white space, and of everything else.
// Unlike words they keep capitals, markup and layout, which is what tells a
// newsletter from an advertisement that imitates one.
//
// Like words it leaves out its recipients, and years.
type source struct {
	out  []uint64
	left int
	skip skipped
	vocabulary
}

func newSource(recipients ...[]filter.Address) source {
	s := source{left: maxSource}
	for _, list := range recipients {
		for i := range list[:min(len(list), maxSkipped)] {
			for w := range strings.FieldsFuncSeq(withoutTop(list[i].Addr), func(r rune) bool { return r < utf8.RuneSelf && tokenClass[r] != tokenWord }) {
				s.skip.add(hashWord([]byte(w)))
			}
		}
	}
	return s
}

// maxToken is how much of a token is looked at.
const maxToken = 20

// add takes a decoded part.
func (s *source) add(b []byte) {
	b = b[:min(len(b), s.left)]
	s.left -= len(b)
	if len(b) > 0 && s.out == nil {
		s.out = make([]uint64, 0, maxSource/4)
	}
	for len(b) > 0 {
		class, n := tokenClass[b[0]], 1
		for n < len(b) && tokenClass[b[n]] == class {
			n++
		}
		if token := b[:min(n, maxToken)]; class != tokenWord || !isYear(token) && !s.recipient(token) {
			h := hashWord(token)
			s.out = append(s.out, h)
			s.note(h, token)
		}
		b = b[n:]
	}
}

// recipient reports a word of a recipient's address, in any case.
func (s *source) recipient(token []byte) bool {
	if s.skip.bloom == 0 {
		return false
	}
	var buf [maxToken]byte
	lower := append(buf[:0], token...)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	return s.skip.has(hashWord(lower))
}

const (
	tokenOther = iota
	tokenWord
	tokenSpace
)

var tokenClass = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c >= utf8.RuneSelf, isLatin(byte(c)), '0' <= c && c <= '9':
			t[c] = tokenWord
		case isSpace(byte(c)):
			t[c] = tokenSpace
		}
	}
	return t
}()

// skipped is a small set of hashes of words that are left out.
type skipped struct {
	list  []uint64
	bloom uint64
}

func (s *skipped) add(h uint64) {
	s.list = append(s.list, h)
	s.bloom |= 1 << (h & 63)
}

func (s *skipped) has(h uint64) bool { return s.bloom&(1<<(h&63)) != 0 && slices.Contains(s.list, h) }

// withoutTop is an address in lower case without the top-level domain: "com"
// tells nobody.
func withoutTop(addr string) string {
	addr = strings.ToLower(addr)
	if i := strings.LastIndexByte(addr, '.'); i > strings.LastIndexByte(addr, '@') {
		addr = addr[:i]
	}
	return addr
}

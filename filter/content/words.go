package content

import (
	"encoding/binary"
	"unicode/utf8"

	"mailweir/filter"
)

// maxWords is how many words of a message are kept for the learned filter:
// what a message wants is told by then.
const maxWords = 4096

// words collects the hashes of the words of normalised text, in order. A word
// is a run of letters and digits with the apostrophes and hyphens inside it;
// scripts without spaces count each character. Marks that say something ("$",
// "%", "!") are words of their own.
//
// What tells who got a message, and when, is left out: words of its recipients'
// addresses, and years. Mail of one mailbox, or of one year, would be told by
// them, and nothing about the next.
type words struct {
	out  []uint64
	skip skipped // the recipients' words
	vocabulary
}

// vocabulary are the words behind hashes; nil where nobody wants them.
type vocabulary map[uint64]string

func (v vocabulary) note(h uint64, word []byte) {
	if v != nil {
		v[h] = string(word)
	}
}

// newWords makes room for the words of size octets.
func newWords(size int, recipients ...[]filter.Address) *words {
	w := &words{out: make([]uint64, 0, min(maxWords, size/5+8))}
	var skip words
	for _, list := range recipients {
		for i := range list[:min(len(list), maxSkipped)] {
			skip.add([]byte(withoutTop(list[i].Addr)))
		}
	}
	for _, h := range skip.out {
		w.skip.add(h)
	}
	return w
}

const maxSkipped = 8 // addresses of one field

func (w *words) add(text []byte) {
	for i := 0; i < len(text) && len(w.out) < maxWords; {
		n := 1
		switch wordClass[text[i]] {
		case inWord:
			n = wordLength(text[i:])
			w.word(text[i : i+n])
		case mark:
			w.word(text[i : i+1])
		}
		i += n
	}
}

// wordLength is how long the word is that b begins with.
func wordLength(b []byte) (n int) {
	for n < len(b) {
		c := b[n]
		switch class := wordClass[c]; {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(b[n:])
			if alone(r) && n > 0 {
				return n
			}
			if n += size; alone(r) {
				return n
			}
		case class == inWord, class == joins && n+1 < len(b) && wordClass[b[n+1]] == inWord:
			n++
		default:
			return n
		}
	}
	return n
}

func (w *words) word(b []byte) {
	if isYear(b) {
		return
	}
	h := hashWord(b)
	if !w.skip.has(h) {
		w.out = append(w.out, h)
		w.note(h, b)
	}
}

// isYear: 1990 to 2039.
func isYear(b []byte) bool {
	if len(b) != 4 || b[3] < '0' || b[3] > '9' {
		return false
	}
	return b[0] == '1' && b[1] == '9' && b[2] == '9' || b[0] == '2' && b[1] == '0' && '0' <= b[2] && b[2] <= '3'
}

// alone are the characters of scripts without spaces.
func alone(r rune) bool { return r >= 0x2e80 && r < 0xfb00 || r >= 0x20000 }

// hashWord takes eight octets at a time: words are most of a text, and an
// octet at a time was a sixth of what a message cost.
func hashWord(b []byte) uint64 {
	const k = 0xd6e8feb86659fd93
	h := uint64(len(b)) * k
	for ; len(b) >= 8; b = b[8:] {
		h = (h ^ binary.LittleEndian.Uint64(b)) * k
		h ^= h >> 32
	}
	var rest uint64
	for i, c := range b {
		rest |= uint64(c) << (8 * i)
	}
	h = (h ^ rest) * k
	h ^= h >> 32
	h *= k
	return h ^ h>>32
}

const (
	separator = iota
	inWord
	joins
	mark
)

var wordClass = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c >= utf8.RuneSelf, 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			t[c] = inWord
		}
	}
	t['\''], t['-'], t['_'] = joins, joins, joins
	t['$'], t['%'], t['!'] = mark, mark, mark
	return t
}()

package content

import (
	"slices"
	"strings"
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
	out   []uint64
	skip  []uint64 // hashes of the recipients' words
	bloom uint64   // of skip
}

// newWords makes room for the words of size octets.
func newWords(size int, recipients ...[]filter.Address) *words {
	w := &words{out: make([]uint64, 0, min(maxWords, size/5+8))}
	var skip words
	for _, list := range recipients {
		for _, a := range list[:min(len(list), maxSkipped)] {
			addr := strings.ToLower(a.Addr)
			if i := strings.LastIndexByte(addr, '.'); i > strings.LastIndexByte(addr, '@') {
				addr = addr[:i] // "com" tells nobody
			}
			skip.add([]byte(addr))
		}
	}
	w.skip = skip.out
	for _, h := range w.skip {
		w.bloom |= 1 << (h & 63)
	}
	return w
}

const maxSkipped = 8 // addresses of one field

func (w *words) add(text []byte) {
	h, from := uint64(wordBasis), -1 // of the open word
	for i := 0; i < len(text) && len(w.out) < maxWords; {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(text[i:])
			if alone(r) {
				w.end(h, text, from, i)
				h, from = wordBasis, -1
			}
			if from < 0 {
				from = i
			}
			for _, b := range text[i : i+size] {
				h = (h ^ uint64(b)) * wordPrime
			}
			i += size
			if alone(r) {
				w.end(h, text, from, i)
				h, from = wordBasis, -1
			}
			continue
		}
		switch class := wordClass[c]; {
		case class == inWord, class == joins && from >= 0 && i+1 < len(text) && wordClass[text[i+1]] == inWord:
			if from < 0 {
				from = i
			}
			h = (h ^ uint64(c)) * wordPrime
		default:
			if from >= 0 {
				w.end(h, text, from, i)
				h, from = wordBasis, -1
			}
			if class == mark {
				w.end((wordBasis^uint64(c))*wordPrime, text, i, i+1)
			}
		}
		i++
	}
	w.end(h, text, from, len(text))
}

// end takes the word that lies between from and to, unless there is none.
func (w *words) end(h uint64, text []byte, from, to int) {
	if from < 0 || len(w.out) >= maxWords || isYear(text[from:to]) {
		return
	}
	h = mix(h)
	if w.bloom&(1<<(h&63)) != 0 && slices.Contains(w.skip, h) {
		return
	}
	w.out = append(w.out, h)
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

// FNV-1a, 64 bits; mix spreads it over all bits.
const (
	wordBasis = 0xcbf29ce484222325
	wordPrime = 0x100000001b3
)

func mix(h uint64) uint64 {
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	h ^= h >> 32
	return h
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

// Package charset turns what mail says its text is encoded in into UTF-8: the
// octets of a body, and the encoded words of header fields (RFC 2047). It never
// fails: mail is labelled wrongly every day, and a filter that gives up on a
// label hands the sender a place to hide.
package charset

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
)

// Known reports whether label names a character set that ToUTF8 can decode.
func Known(label string) bool {
	return isUnicode(label) || find(label) != nil
}

// ToUTF8 appends src, which is in the character set label, to dst as UTF-8.
// Labels are those of the WHATWG Encoding Standard. What claims to be UTF-8 or
// ASCII and is not, and what has no label or one that nobody knows, is read as
// UTF-8 where it is valid and as windows-1252 otherwise: what mail clients do.
func ToUTF8(dst, src []byte, label string) []byte {
	if isUnicode(label) {
		return guess(dst, src)
	}
	switch e := find(label).(type) {
	case nil:
		return guess(dst, src)
	case *charmap.Charmap:
		return fromCharmap(dst, src, e)
	default:
		out, err := e.NewDecoder().Bytes(src)
		if err != nil {
			return guess(dst, src)
		}
		return append(dst, out...)
	}
}

func isUnicode(label string) bool {
	switch len(label) {
	case 0:
		return true
	case 5:
		return strings.EqualFold(label, "utf-8")
	case 8:
		return strings.EqualFold(label, "us-ascii")
	}
	return strings.EqualFold(label, "utf8")
}

// find is the encoding of a label, nil for none. "replacement" is what the
// standard gives labels that are unsafe to decode (ISO-2022-KR, HZ): their
// text is read as it stands instead of vanishing.
func find(label string) encoding.Encoding {
	e, err := htmlindex.Get(label)
	if err != nil || e == encoding.Replacement {
		return nil
	}
	return e
}

func guess(dst, src []byte) []byte {
	if utf8.Valid(src) {
		return append(dst, src...)
	}
	// A cut in the middle of a character, or a few stray octets, do not make
	// a text windows-1252: most of what is not ASCII decides.
	if mostlyUTF8(src) {
		return append(dst, strings.ToValidUTF8(string(src), "\uFFFD")...)
	}
	return fromCharmap(dst, src, charmap.Windows1252)
}

func mostlyUTF8(src []byte) bool {
	good, bad := 0, 0
	for i := 0; i < len(src); {
		if src[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			bad++
		} else {
			good++
		}
		i += n
	}
	return good > bad
}

func fromCharmap(dst, src []byte, m *charmap.Charmap) []byte {
	for _, c := range src {
		if c < utf8.RuneSelf {
			dst = append(dst, c)
		} else {
			dst = utf8.AppendRune(dst, m.DecodeByte(c))
		}
	}
	return dst
}

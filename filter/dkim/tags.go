package dkim

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
)

// tag is one tag of a tag-list (RFC 6376 section 3.2). start and end delimit
// the value in the text that was parsed, with the white space around it.
type tag struct {
	name, value string
	start, end  int
}

var errTags = errors.New("malformed tag list")

// parseTags parses a tag-list. Names are case-sensitive and unique.
func parseTags(text string) ([]tag, error) {
	tags := make([]tag, 0, 12)
	for pos := 0; pos < len(text); {
		end := strings.IndexByte(text[pos:], ';')
		if end < 0 {
			end = len(text)
		} else {
			end += pos
		}
		// An empty tag is outside of the grammar, but harmless and seen in the
		// wild.
		if strings.Trim(text[pos:end], fws) == "" {
			pos = end + 1
			continue
		}
		t, err := parseTag(text, pos, end)
		if err != nil {
			return nil, err
		}
		if _, found := lookup(tags, t.name); found || len(tags) == 64 {
			return nil, errTags
		}
		tags = append(tags, t)
		pos = end + 1
	}
	return tags, nil
}

const fws = " \t\r\n"

func parseTag(text string, pos, end int) (tag, error) {
	equals := strings.IndexByte(text[pos:end], '=')
	if equals < 0 {
		return tag{}, errTags
	}
	t := tag{
		name:  strings.Trim(text[pos:pos+equals], fws),
		value: strings.Trim(text[pos+equals+1:end], fws),
		start: pos + equals + 1,
		end:   end,
	}
	if !validTagName(t.name) || strings.IndexByte(t.value, 0) >= 0 {
		return tag{}, errTags
	}
	return t, nil
}

func validTagName(s string) bool {
	if s == "" || !isAlpha(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if !isAlpha(s[i]) && (s[i] < '0' || s[i] > '9') && s[i] != '_' {
			return false
		}
	}
	return true
}

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func lookup(tags []tag, name string) (tag, bool) {
	for _, t := range tags {
		if t.name == name {
			return t, true
		}
	}
	return tag{}, false
}

// squeeze drops the folding white space that may stand anywhere in s.
func squeeze(s string) string {
	n := 0
	for n < len(s) && !isFWS(s[n]) {
		n++
	}
	if n == len(s) {
		return s
	}
	b := append(make([]byte, 0, len(s)), s[:n]...)
	for ; n < len(s); n++ {
		if !isFWS(s[n]) {
			b = append(b, s[n])
		}
	}
	return string(b)
}

func isFWS(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// list splits a colon-separated value.
func list(s string) []string {
	parts := strings.Split(s, ":")
	for i, p := range parts {
		parts[i] = strings.Trim(p, fws)
	}
	return parts
}

// decodeBase64 decodes a value that may be folded anywhere.
func decodeBase64(s string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(squeeze(s))
}

// withoutCRLF is b without the line end of its last line.
func withoutCRLF(b []byte) []byte { return bytes.TrimSuffix(b, []byte("\r\n")) }

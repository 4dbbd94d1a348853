package dkimcore

import (
	"encoding/base64"
	"errors"
	"strings"
)

// Tag is one tag of a tag-list (RFC 6376 section 3.2). Start and End delimit
// the value in the text that was parsed, with the white space around it.
type Tag struct {
	Name, Value string
	Start, End  int
}

var errTags = errors.New("malformed tag list")

// ParseTags parses a tag-list. Names are case-sensitive and unique.
func ParseTags(text string) ([]Tag, error) {
	tags := make([]Tag, 0, 12)
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
		if _, found := Lookup(tags, t.Name); found || len(tags) == 64 {
			return nil, errTags
		}
		tags = append(tags, t)
		pos = end + 1
	}
	return tags, nil
}

const fws = " \t\r\n"

func parseTag(text string, pos, end int) (Tag, error) {
	equals := strings.IndexByte(text[pos:end], '=')
	if equals < 0 {
		return Tag{}, errTags
	}
	t := Tag{
		Name:  strings.Trim(text[pos:pos+equals], fws),
		Value: strings.Trim(text[pos+equals+1:end], fws),
		Start: pos + equals + 1,
		End:   end,
	}
	if !validTagName(t.Name) || strings.IndexByte(t.Value, 0) >= 0 {
		return Tag{}, errTags
	}
	return t, nil
}

// validTagName is the grammar's tag-name (RFC 6376 section 3.2), and hyphens and
// dots, which unknown tags have in the wild: those are to be ignored.
func validTagName(s string) bool {
	if s == "" || !isAlpha(s[0]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if !isAlpha(s[i]) && (s[i] < '0' || s[i] > '9') && strings.IndexByte("_-.", s[i]) < 0 {
			return false
		}
	}
	return true
}

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// Lookup finds a tag by its name.
func Lookup(tags []Tag, name string) (Tag, bool) {
	for _, t := range tags {
		if t.Name == name {
			return t, true
		}
	}
	return Tag{}, false
}

// Squeeze drops the folding white space that may stand anywhere in s.
func Squeeze(s string) string {
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

// List splits a colon-separated value.
func List(s string) []string {
	parts := strings.Split(s, ":")
	for i, p := range parts {
		parts[i] = strings.Trim(p, fws)
	}
	return parts
}

// DecodeBase64 decodes a value that may be folded anywhere.
func DecodeBase64(s string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(Squeeze(s))
}

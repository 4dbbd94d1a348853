package mime

import (
	"slices"
	"strings"

	"mailweir/internal/charset"
)

// maxNames is how many file names of one part are told.
const maxNames = 16

// again keeps the value of a field that is there more than once, for the names
// that it gives.
func (e *entity) again(s string) {
	if len(e.more) < maxNames {
		e.more = append(e.more, parseValue(s))
	}
}

// name is the decoded file name. Some senders put encoded words there, against
// RFC 2047 section 5, and all clients decode them.
func (e *entity) name() string {
	if s, ok := e.disposition.get("filename"); ok {
		return charset.DecodeWords(s)
	}
	s, _ := e.kind.get("name")
	return charset.DecodeWords(s)
}

// names are all file names that some client may show: filename and name of
// every field, of every parameter that is there twice, in plain and in RFC 2231
// form, with encoded words decoded and not. first, which may be "", leads.
func (e *entity) names(first string) []string {
	var out []string
	add := func(s string) {
		s = cut(s)
		if s != "" && len(out) < maxNames && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	add(first)
	values := func(v *fieldValue) {
		for i := range v.params {
			if p := &v.params[i]; p.name == "filename" || p.name == "name" {
				add(charset.DecodeWords(p.value))
				add(p.value)
				if strings.IndexByte(p.value, '%') >= 0 {
					add(string(unpercent(p.value)))
				}
			}
		}
	}
	values(&e.disposition)
	values(&e.kind)
	for i := range e.more {
		values(&e.more[i])
	}
	return out
}

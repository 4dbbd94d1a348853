package mime

import (
	"strconv"
	"strings"

	"mailweir/internal/charset"
)

// maxParams is how many parameters of one field are looked at.
const maxParams = 64

type param struct {
	name, value string // name in lower case
	quoted      bool
}

// fieldValue is a parsed Content-Type or Content-Disposition field.
type fieldValue struct {
	main   string // "text/plain", "attachment"; lower case
	params []param
	odd    Ambiguities
}

// parseValue reads an unfolded field value by RFC 2045 section 5.1, as far as
// it goes; what it had to guess is in odd.
func parseValue(s string) fieldValue {
	var v fieldValue
	main, rest := v.untilSemicolon(s)
	v.main = strings.ToLower(main)
	for rest != "" && len(v.params) < maxParams {
		rest = v.param(rest)
	}
	v.extended()
	v.duplicates()
	return v
}

// untilSemicolon takes a value without parameters, dropping comments.
func (v *fieldValue) untilSemicolon(s string) (value, rest string) {
	end := strings.IndexByte(s, ';')
	value = s
	if end >= 0 {
		value, rest = s[:end], s[end+1:]
	}
	if strings.IndexByte(value, '(') < 0 {
		return strings.Trim(value, " \t\r\n"), rest
	}
	v.odd.Add(CommentInParameter)
	value, rest = dropComment(s)
	return strings.Trim(value, " \t\r\n"), rest
}

// dropComment is the text up to the next ";" outside of comments.
func dropComment(s string) (value, rest string) {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && depth > 0:
			i++
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == ';' && depth == 0:
			return b.String(), s[i+1:]
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

// param takes one parameter and returns what follows it.
func (v *fieldValue) param(s string) (rest string) {
	s = strings.TrimLeft(s, " \t\r\n;")
	if s == "" {
		return ""
	}
	eq := strings.IndexByte(s, '=')
	semi := strings.IndexByte(s, ';')
	if eq < 0 || semi >= 0 && semi < eq {
		v.odd.Add(MalformedContentType)
		_, rest = v.untilSemicolon(s)
		return rest
	}
	name := strings.ToLower(strings.Trim(s[:eq], " \t\r\n"))
	if strings.IndexByte(name, '(') >= 0 {
		v.odd.Add(CommentInParameter)
		name, _ = dropComment(name)
		name = strings.TrimSpace(name)
	}
	value := strings.TrimLeft(s[eq+1:], " \t\r\n")
	if value != "" && value[0] == '"' {
		return v.quoted(name, value[1:])
	}
	text, rest := v.untilSemicolon(value)
	if strings.ContainsAny(text, " \t\"") {
		v.odd.Add(MalformedContentType)
	}
	v.add(name, text, false)
	return rest
}

// quoted takes a quoted-string whose opening quote is already gone.
func (v *fieldValue) quoted(name, s string) (rest string) {
	var b []byte
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i < len(s) {
				b = append(b, s[i])
			}
		case '"':
			v.add(name, string(b), true)
			tail, rest := v.untilSemicolon(s[i+1:])
			if tail != "" {
				v.odd.Add(MalformedContentType)
			}
			return rest
		default:
			b = append(b, s[i])
		}
	}
	v.odd.Add(MalformedContentType) // the closing quote is missing
	v.add(name, string(b), true)
	return ""
}

func (v *fieldValue) add(name, value string, quoted bool) {
	if charset.HasWord(value) {
		v.odd.Add(EncodedWordInParameter)
	}
	v.params = append(v.params, param{name, value, quoted})
}

// get is the first parameter of that name.
func (v *fieldValue) get(name string) (string, bool) {
	for _, p := range v.params {
		if p.name == name {
			return p.value, true
		}
	}
	return "", false
}

// duplicates notes parameters that come twice with different values.
func (v *fieldValue) duplicates() {
	for i, p := range v.params {
		for _, q := range v.params[:i] {
			if p.name != q.name {
				continue
			}
			v.odd.Add(DuplicateParameter)
			if p.name == "boundary" && p.value != q.value {
				v.odd.Add(ConflictingBoundary)
			}
		}
	}
}

// extended joins the continued and encoded parameters of RFC 2231 (name*0=,
// name*1*=, name*=) into plain ones, which come after all plain ones: where
// both are there, clients disagree about which wins.
func (v *fieldValue) extended() {
	plain := v.params[:0:0]
	var joined []param
	for _, p := range v.params {
		base, _, ok := strings.Cut(p.name, "*")
		if !ok {
			plain = append(plain, p)
			continue
		}
		if base == "boundary" {
			v.odd.Add(ExtendedBoundary)
		}
		if !contains(joined, base) {
			joined = append(joined, param{name: base, value: v.join(base)})
		}
	}
	if joined != nil {
		v.params = append(plain, joined...)
	}
}

func contains(ps []param, name string) bool {
	for _, p := range ps {
		if p.name == name {
			return true
		}
	}
	return false
}

// join puts the sections of one RFC 2231 parameter together.
func (v *fieldValue) join(base string) string {
	var raw []byte
	label := ""
	for section := 0; section < maxParams; section++ {
		p, encoded, ok := v.section(base, section)
		if !ok {
			break
		}
		if !encoded {
			raw = append(raw, p...)
			continue
		}
		if section == 0 {
			label, p = splitLabel(p)
		}
		raw = append(raw, unpercent(p)...)
	}
	return string(charset.ToUTF8(nil, raw, label))
}

// section is one section of a parameter; section 0 may stand without its
// number. Tried in a fixed order, so that a repeated one has one reading.
func (v *fieldValue) section(base string, n int) (value string, encoded, ok bool) {
	number := base + "*" + strconv.Itoa(n)
	for _, p := range v.params {
		switch p.name {
		case number:
			return p.value, false, true
		case number + "*":
			return p.value, true, true
		case base + "*":
			if n == 0 {
				return p.value, true, true
			}
		}
	}
	return "", false, false
}

// splitLabel splits "utf-8'en'text".
func splitLabel(s string) (label, text string) {
	label, rest, ok := strings.Cut(s, "'")
	if !ok {
		return "", s
	}
	_, text, ok = strings.Cut(rest, "'")
	if !ok {
		return "", s
	}
	return label, text
}

func unpercent(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && hexValue[s[i+1]] < 16 && hexValue[s[i+2]] < 16 {
			out = append(out, hexValue[s[i+1]]<<4|hexValue[s[i+2]])
			i += 2
			continue
		}
		out = append(out, s[i])
	}
	return out
}

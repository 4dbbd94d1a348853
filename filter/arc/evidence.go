package arc

import (
	"strings"

	"mailweir/mail"
)

// vouched is the Author Domain for which an ARC-Authentication-Results says
// that DMARC passed at its sealer, "" without one. It reads strictly: what is
// not written the way sealers write it, or is said twice, vouches for nobody.
func vouched(body []byte) string {
	_, rest, ok := strings.Cut(withoutComments(string(body)), ";") // the instance
	if !ok {
		return ""
	}
	domain, said := "", false
	for resinfo := range strings.SplitSeq(rest, ";") {
		words := strings.Fields(resinfo)
		if len(words) == 0 || !strings.HasPrefix(strings.ToLower(words[0]), "dmarc=") {
			continue
		}
		if said || !strings.EqualFold(words[0], "dmarc=pass") {
			return ""
		}
		said = true
		for _, w := range words[1:] {
			if name, value, _ := strings.Cut(w, "="); strings.EqualFold(name, "header.from") {
				domain = mail.CanonicalDomain(strings.Trim(value, `"`))
			}
		}
	}
	return domain
}

// withoutComments drops comments, and all there is of a quoted-string but its
// quotes and what has no meaning outside of it: a reason must not look like a
// result.
func withoutComments(s string) string {
	b := make([]byte, 0, len(s))
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && (quoted || depth > 0):
			i++
		case quoted && c == '"', !quoted && depth == 0 && c == '"':
			quoted = !quoted
			b = append(b, c)
		case quoted && strings.IndexByte("; \t\r\n=", c) >= 0:
			b = append(b, '_')
		case quoted:
			b = append(b, c)
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
			b = append(b, ' ')
		case depth == 0:
			b = append(b, c)
		}
	}
	if quoted || depth > 0 {
		return ""
	}
	return string(b)
}

package mime

import (
	"slices"
	"strings"
	"testing"

	"mailweir/filter"
	"mailweir/mail"
)

// TestDeceptiveHeaders: the symbols that the policy refuses by, and what looks
// alike and must not have them.
func TestDeceptiveHeaders(t *testing.T) {
	refused := []string{filter.SymFromMissing, filter.SymFromMultiple, filter.SymHeaderNUL, filter.SymKeyFieldSpace}
	for _, c := range []struct{ name, header, want string }{
		{"good", "From: a@example.org\r\nSubject: x\r\n", ""},
		{"several addresses", "From: a@example.org, b@example.net\r\n", ""},
		{"folded", "From:\r\n a@example.org\r\n", ""},
		{"address of bad syntax", "From: a@b@c\r\n", ""},
		{"empty From", "From:\r\n", ""},
		{"other case", "FROM: a@example.org\r\n", ""},
		{"resent", "Resent-From: b@example.org\r\nFrom: a@example.org\r\n", ""},
		{"none", "Subject: x\r\n", "FROM_MISSING"},
		{"no field at all", "", "FROM_MISSING"},
		{"longer name", "From-: a@example.org\r\nX-From: a@example.org\r\n", "FROM_MISSING"},
		{"in a fold", "Subject: x\r\n From: a@example.org\r\n", "FROM_MISSING"},
		{"two", "From: a@example.org\r\nFrom: a@example.org\r\n", "FROM_MULTIPLE"},
		{"two in other cases", "From: a@example.org\r\nfROM: b@example.org\r\n", "FROM_MULTIPLE"},
		{"second with a space", "From: a@example.org\r\nFrom : b@example.org\r\n", "FROM_MULTIPLE HEADER_SPACE_IN_KEY_FIELD"},
		{"space", "From : a@example.org\r\n", "HEADER_SPACE_IN_KEY_FIELD"},
		{"tab", "From: a@example.org\r\nSender\t: b@example.org\r\n", "HEADER_SPACE_IN_KEY_FIELD"},
		{"space elsewhere", "From: a@example.org\r\nX-Mailer : x\r\n", ""},
		{"content type", "From: a@example.org\r\nContent-Type : text/html\r\n", "HEADER_SPACE_IN_KEY_FIELD"},
		{"NUL", "From: a\x00@example.org\r\n", "HEADER_NUL"},
		{"NUL in a name", "From\x00: a@example.org\r\n", "FROM_MISSING HEADER_NUL"},
	} {
		h := mail.ParseHeader([]byte(c.header + "\r\n"))
		var got []string
		for _, s := range headerSymbols(&h, false) {
			if slices.Contains(refused, s.Name) {
				got = append(got, s.Name)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %q", c.name, got, c.want)
		}
	}
}

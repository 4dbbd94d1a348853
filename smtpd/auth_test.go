package smtpd

import (
	"encoding/base64"
	"testing"
)

// TestParsePlain: RFC 4616 section 2, and nobody acts for somebody else.
func TestParsePlain(t *testing.T) {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for in, want := range map[string]string{
		encode("\x00anna\x00secret"):       "anna secret",
		encode("anna\x00anna\x00s e"):      "anna s e",
		encode("boss\x00anna\x00secret"):   "",
		encode("\x00anna\x00"):             "",
		encode("\x00\x00secret"):           "",
		encode("anna\x00secret"):           "",
		encode("\x00anna\x00secret\x00"):   "",
		"=":                                "",
		"*":                                "",
		encode("\x00anna\x00secret") + "!": "",
	} {
		user, secret, ok := parsePlain([]byte(in))
		got := ""
		if ok {
			got = user + " " + secret
		}
		if got != want {
			t.Errorf("%q: %q, not %q", in, got, want)
		}
	}
}

package content

import (
	"fmt"
	netmail "net/mail"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"mailweir/filter"
	"mailweir/mail"
)

func show(list []filter.Address) string {
	var out []string
	for _, a := range list {
		out = append(out, fmt.Sprintf("%s|%s|%s", a.Name, a.Addr, a.Domain))
	}
	return strings.Join(out, ", ")
}

func TestParseAddresses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"a@Example.ORG", "|a@Example.ORG|example.org"},
		{"Anna <a@example.org>", "Anna|a@example.org|example.org"},
		{`"Last, First" <a@example.org>, b@example.org`, "Last, First|a@example.org|example.org, |b@example.org|example.org"},
		{"=?utf-8?q?Ann=C3=A9?= <a@example.org>", "Anné|a@example.org|example.org"},
		{`"=?utf-8?q?Ann=C3=A9?=" <a@example.org>`, "Anné|a@example.org|example.org"},
		{"a@example.org (Anna (the first))", "Anna the first|a@example.org|example.org"},
		{"Team: a@example.org, b@example.org;", "|a@example.org|example.org, |b@example.org|example.org"},
		{"undisclosed-recipients:;", ""},
		{"Undisclosed recipients", "Undisclosed recipients||"},
		{"<@r1,@r2:a@example.org>", "|a@example.org|example.org"},
		{"a @ example.org", "|a@example.org|example.org"},
		{`"q\"uote" <a@example.org>`, `q"uote|a@example.org|example.org`},
		{"x@bank.example <a@evil.example>", "x@bank.example|a@evil.example|evil.example"},
		{"Name <a@example.org", "Name|a@example.org|example.org"},
		{"a@[IPv6:2001:db8::1]", "|a@[IPv6:2001:db8::1]|[ipv6:2001:db8::1]"},
		{"a@bücher.example", "|a@bücher.example|xn--bcher-kva.example"},
		{", ,; ,", ""},
		{"Account team ,_<x@evil.example>", "Account team||, _|x@evil.example|evil.example"},
	} {
		if got := show(ParseAddresses(c.in)); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
	if n := len(ParseAddresses(strings.Repeat("a@example.org,", 5000))); n != filter.MaxAddress {
		t.Errorf("%d addresses", n)
	}
}

// FuzzParseAddresses compares with the standard library on what that takes for
// a plain list without comments and groups.
func FuzzParseAddresses(f *testing.F) {
	f.Add(`"A, B" <a@example.org>, b@example.org (C), D: e@example.org;`)
	f.Add("<a@b>\"\\")
	f.Fuzz(func(t *testing.T, s string) {
		got := ParseAddresses(s)
		for _, a := range got {
			if len(a.Name) > filter.MaxFact || len(a.Addr) > filter.MaxFact || utf8.ValidString(s) && !utf8.ValidString(a.Name) {
				t.Fatalf("%q gives %+v", s, a)
			}
		}
		if strings.ContainsAny(s, "()[]:;\\=\"\r\n\t") || len(s) > 200 {
			return
		}
		want, err := netmail.ParseAddressList(s)
		if err != nil || len(want) != len(got) {
			return
		}
		for i, w := range want {
			if got[i].Addr != w.Address {
				t.Fatalf("%q: %q, the library has %q", s, got[i].Addr, w.Address)
			}
		}
	})
}

func TestParseDate(t *testing.T) {
	for in, want := range map[string]string{
		"Fri, 21 Nov 1997 09:55:06 -0600":            "1997-11-21T15:55:06Z",
		"21 Nov 97 09:55:06 GMT":                     "1997-11-21T09:55:06Z",
		"Fri, 21 Nov 2025 09:55 +0130 (some (zone))": "2025-11-21T08:25:00Z",
		"Fri,21 Nov 2025 09:55:06 EST":               "2025-11-21T14:55:06Z",
		"1 january 2025 00:00:00":                    "2025-01-01T00:00:00Z",
		"Fri, 21 Nov 102 09:55:06 +0000":             "2002-11-21T09:55:06Z",
	} {
		got, ok := parseDate(in)
		if !ok || got.Format(time.RFC3339) != want {
			t.Errorf("%q: %v, %v; want %s", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "now", "Fri, 21 Nov", "Fri, 21 Xyz 2025 09:55:06 +0000", "Fri, 99 Nov 2025 09:55:06 +0000",
		"Fri, 21 Nov 2025 25:55:06 +0000", "21 Nov 2025 noon", "21 Nov -5 10:00:00", strings.Repeat("x", 1000)} {
		if got, ok := parseDate(in); ok {
			t.Errorf("%q is %v", in, got)
		}
	}
}

func FuzzParseDate(f *testing.F) {
	f.Add("Fri, 21 Nov 1997 09:55:06 -0600")
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseDate(s)
		want, err := netmail.ParseDate(s)
		if ok && err == nil && strings.Count(s, " ") >= 5 && strings.Contains(s, " +") && !got.Equal(want) {
			t.Fatalf("%q: %v, the library has %v", s, got, want)
		}
	})
}

func TestReadHeader(t *testing.T) {
	h := mail.ParseHeader([]byte("Received: from a by b;\r\n Thu, 20 Nov 2025 10:00:00 +0000\r\nReceived: x; Thu, 20 Nov 2024 10:00:00 +0000\r\n" +
		"From: A <a@example.org>\r\nFrom: second@example.org\r\nSubject: =?utf-8?q?p=D0=B0y?=\r\n t\r\nDate: Thu, 20 Nov 2025 09:59:00 +0000\r\n" +
		"X-Mailer: M 1.0\r\nX-Secret: not kept\r\nno field\r\nList-Id: <l.example.org>\r\n\r\n"))
	arrived := time.Date(2025, 11, 20, 10, 1, 0, 0, time.UTC)
	got := readHeader(&filter.Transaction{Header: &h, Envelope: &mail.Envelope{Arrived: arrived}})
	if show(got.From) != "A|a@example.org|example.org" || got.Subject != "pаy t" || got.Hops != 2 || got.Mixed != 1 {
		t.Errorf("%+v", got)
	}
	if !got.HasDate || got.DateOffset != -120 || !got.HasTrace || got.TraceOffset != -60 {
		t.Errorf("dates %+v", got)
	}
	if len(got.Values) != 1 || got.Values["x-mailer"] != "M 1.0" || got.Mailer != "M 1.0" || len(got.Names) != 9 {
		t.Errorf("values %v, names %v", got.Values, got.Names)
	}
}

func TestKeptFieldsAreRead(t *testing.T) {
	for _, name := range filter.KeptFields {
		if read[name] == 0 {
			t.Errorf("%s has no bit", name)
		}
	}
}

package smtpd

import (
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"
)

// TestOptions: what the session gets of the parameters. ENVID and ORCPT come
// decoded, as from go-smtp's server.
func TestOptions(t *testing.T) {
	d := &desk{}
	got := codes(run(t, memServer(d, nil), ListenerOptions{}, pieces("EHLO c.example\r\n"+
		"MAIL FROM:<a@c.example> size=77 body=8bitmime ret=full envid=a+2Bb+3D SMTPUTF8\r\n"+
		"RCPT TO:<b@example.org> NOTIFY=delay,FAILURE ORCPT=RFC822;a+2Bb@example.org\r\n"+
		"RCPT TO:<c@example.org> ORCPT=utf-8;\\x{E4}ö@example.org NOTIFY=NEVER\r\n"+
		"RCPT TO:<d@example.org>\r\nQUIT\r\n")))
	if got != "220 250 250 250 250 250 221" {
		t.Fatal(got)
	}
	wantMail := []smtp.MailOptions{{Body: smtp.Body8BitMIME, Size: 77, UTF8: true, Return: smtp.DSNReturnFull, EnvelopeID: "a+b="}}
	if diff := cmp.Diff(wantMail, d.mails); diff != "" {
		t.Error(diff)
	}
	wantRcpt := []smtp.RcptOptions{
		{Notify: []smtp.DSNNotify{"DELAY", "FAILURE"}, OriginalRecipientType: "RFC822", OriginalRecipient: "a+b@example.org"},
		{Notify: []smtp.DSNNotify{"NEVER"}, OriginalRecipientType: "UTF-8", OriginalRecipient: "äö@example.org"},
		{},
	}
	if diff := cmp.Diff(wantRcpt, d.rcpts); diff != "" {
		t.Error(diff)
	}
}

func TestParseDSN(t *testing.T) {
	for s, want := range map[string]string{
		"x": "x", "a+2Bb": "a+b", "+41+42": "AB", "": "-", "+": "-", "+4": "-", "+4g": "-", "+2b": "-",
		"+0D+0A": "-", "a b": "-", "a=b": "-", strings.Repeat("x", 100): strings.Repeat("x", 100), strings.Repeat("x", 101): "-",
	} {
		got, ok := parseEnvID(s)
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("ENVID=%s: %q, want %q", s, got, want)
		}
	}
	for s, want := range map[string]bool{
		"NEVER": true, "SUCCESS,FAILURE,DELAY": true, "never": true, "": false, "NEVER,DELAY": false,
		"DELAY,NEVER": false, "DELAY,DELAY": false, "DELAY,": false, "ALWAYS": false,
	} {
		if _, ok := parseNotify(s); ok != want {
			t.Errorf("NOTIFY=%s: %v", s, ok)
		}
	}
	for s, want := range map[string]string{
		"rfc822;a@b.example": "RFC822 a@b.example", "x-mine;+41": "X-MINE A", `utf-8;\x{5C}`: `UTF-8 \`, `utf-8;\x{10FFFD}`: "UTF-8 \U0010fffd",
		"rfc822": "-", ";a": "-", "rfc822;": "-", "rf c;a": "-", `utf-8;\x{D800}`: "-", `utf-8;\x{0A}`: "-", `utf-8;\x{fc}`: "-",
		`utf-8;\x{110000}`: "-", `utf-8;\x`: "-", "rfc822;ü": "-", "rfc822;" + strings.Repeat("x", 500): "-",
	} {
		kind, addr, ok := parseORcpt(s)
		got := string(kind) + " " + addr
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("ORCPT=%s: %q, want %q", s, got, want)
		}
	}
}

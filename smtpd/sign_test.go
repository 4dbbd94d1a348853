package smtpd

import (
	"testing"

	"mailweir/filter"
	"mailweir/filter/privacy"
	"mailweir/mail"
)

// TestIntact: which edits break which signatures.
func TestIntact(t *testing.T) {
	h := mail.ParseHeader([]byte("DKIM-Signature: x\r\nX-Originating-IP: y\r\nSubject: z\r\nFrom: a@example.org\r\n\r\n"))
	sig := func(result, domain string, fields ...string) filter.DKIMFacts {
		return filter.DKIMFacts{Result: result, Domain: domain, Fields: fields, SignatureIndex: 0}
	}
	edit := func(field int, kind privacy.Kind) []privacy.Edit {
		return []privacy.Edit{{Field: field, Name: h.Fields[field].Name(), Kind: kind}}
	}
	for _, c := range []struct {
		what  string
		dkim  []filter.DKIMFacts
		edits []privacy.Edit
		want  bool
	}{
		{"no edits", []filter.DKIMFacts{sig("pass", "example.org", "from")}, nil, true},
		{"other field", []filter.DKIMFacts{sig("pass", "example.org", "from")}, edit(1, privacy.Removed), true},
		{"signed field", []filter.DKIMFacts{sig("pass", "example.org", "from", "x-originating-ip")}, edit(1, privacy.Removed), false},
		{"signed field kept", []filter.DKIMFacts{sig("pass", "example.org", "x-originating-ip")}, edit(1, privacy.KeptSigned), true},
		{"the signature itself", []filter.DKIMFacts{sig("pass", "example.org", "from")}, edit(0, privacy.Redacted), false},
		{"no pass", []filter.DKIMFacts{sig("fail", "example.org", "from")}, nil, false},
		{"other domain", []filter.DKIMFacts{sig("pass", "example.net", "from")}, nil, false},
		{"one of two", []filter.DKIMFacts{sig("pass", "example.org", "x-originating-ip"), sig("pass", "example.org", "from")}, edit(1, privacy.Redacted), true},
	} {
		if got := intact("example.org", &h, c.dkim, change{redacted: c.edits}); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
	if !masksARC(privacy.Edit{Name: "ARC-Authentication-Results", Kind: privacy.Redacted}) || masksARC(privacy.Edit{Name: "Received", Kind: privacy.Redacted}) {
		t.Error("masksARC")
	}
}

package smtpd

import (
	"testing"

	"mailweir/filter"
	"mailweir/mail"
)

func TestReceivedSPF(t *testing.T) {
	facts := func(result, addr, from, helo, identity string) *filter.Facts {
		return &filter.Facts{
			SPF:      filter.SPFFacts{Result: result, Identity: identity},
			Client:   filter.ClientFacts{Address: addr, Helo: helo},
			Envelope: filter.EnvelopeFacts{From: from},
		}
	}
	for _, c := range []struct {
		facts *filter.Facts
		want  string
	}{
		{facts("", "192.0.2.1", "a@example.net", "mx.example.net", "mailfrom"), ""},
		{facts("pass", "192.0.2.1", "a@example.net", "mx.example.net", "mailfrom"),
			"Received-SPF: pass\r\n\treceiver=mx.example.org;\r\n\tclient-ip=192.0.2.1;\r\n\tenvelope-from=\"a@example.net\";\r\n\thelo=mx.example.net;\r\n\tidentity=mailfrom\r\n"},
		{facts("none", "2001:db8::1", "", "[192.0.2.1]", "helo"),
			"Received-SPF: none\r\n\treceiver=mx.example.org;\r\n\tclient-ip=\"2001:db8::1\";\r\n\tenvelope-from=\"\";\r\n\thelo=\"[192.0.2.1]\";\r\n\tidentity=helo\r\n"},
		{facts("fail", "192.0.2.1", `"a\" b"@example.net`, "a..b\r\nX: y", "mailfrom"),
			"Received-SPF: fail\r\n\treceiver=mx.example.org;\r\n\tclient-ip=192.0.2.1;\r\n\tenvelope-from=\"\\\"a\\\\\\\" b\\\"@example.net\";\r\n\thelo=\"a..b??X: y\";\r\n\tidentity=mailfrom\r\n"},
	} {
		got := appendReceivedSPF(nil, c.facts, "mx.example.org")
		if string(got) != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
		if h := mail.ParseHeader(got); c.want != "" && len(h.Fields) != 1 {
			t.Errorf("%d fields: %q", len(h.Fields), got)
		}
	}
}

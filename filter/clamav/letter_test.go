package clamav

import (
	"strings"
	"testing"
)

func TestIsMessage(t *testing.T) {
	long := strings.Repeat("Received: from a by b; Sun, 29 Nov 2026 10:00:00 +0000\r\n", 30)
	for _, c := range []struct {
		head string
		want bool
	}{
		{"Subject: x\r\nMIME-Version: 1.0\r\n\r\n", true},
		{"content-type: text/plain\n\nHello", true},
		{long[:1024], true},
		{"From: Bob\nSent: Monday\n\nContent-Type: is what I mean", false},
		{"Dear Sir,\nContent-Type: x\n", false},
		{"http://x.example/ is\nmime-version: 1.0\n", true}, // no harm: it is looked at twice
		{": x\nMIME-Version: 1.0\n", false}, {"a b: x\nMIME-Version: 1.0\n", false}, {"", false}, {"PK\x03\x04", false},
		{"Subject: " + strings.Repeat("x", 2000), false},
	} {
		if got := isMessage([]byte(c.head)); got != c.want {
			t.Errorf("%.40q: %v", c.head, got)
		}
	}
}

package clamav

import (
	"errors"
	"io"
	"strings"
	"testing"

	"mailweir/filter"
	"mailweir/internal/archive"
	"mailweir/internal/mailtest"
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

// TestLetterBeyondBudget: a message in a file that is scanned in part only, since
// the budget is used up, is not clean.
func TestLetterBeyondBudget(t *testing.T) {
	client := newClient(t, Options{Address: "unix:" + mailtest.StartClamd(t).Socket})
	k := NewCheck(client, func(_ *filter.Transaction, open func() io.Reader) Contents { return &bodyOf{open()} })
	letter := []byte(letterHead + strings.Repeat("Hello\r\n", 1000))
	for unpacked, clean := range map[int64]bool{1000: false, 1 << 20: true} {
		m := k.newMembers(t.Context())
		limits := archive.DefaultLimits()
		limits.Unpacked = unpacked
		m.budget = archive.NewBudget(limits)
		if o := m.scan(outcome{v: Verdict{Clean: true}}, letter); errors.Is(o.err, ErrUnscanned) == clean {
			t.Errorf("budget of %d: %+v", unpacked, o)
		}
	}
}

const letterHead = "MIME-Version: 1.0\r\n\r\n"

// bodyOf is a Contents of one content: what is behind letterHead.
type bodyOf struct{ r io.Reader }

func (b *bodyOf) Next() (r io.Reader, where string, err error) {
	if b.r != nil {
		_, err = io.CopyN(io.Discard, b.r, int64(len(letterHead)))
	}
	r, b.r = b.r, nil
	return r, "content", err
}

func (*bodyOf) Incomplete() string { return "" }

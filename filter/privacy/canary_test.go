package privacy

import (
	"bytes"
	"flag"
	"strings"
	"testing"

	"mailweir/internal/mailtest"
	"mailweir/mail"
)

var canaryMessages = flag.Int("canaries", 4000, "how many messages TestCanaries makes; the figure in docs/privacy.md is of 100000")

// TestCanaries makes messages whose trace names one client in every dialect,
// field and spelling of internal/mailtest/canaries, and looks for it in what is left,
// by spellings of its own. What is no trace stays byte for byte, and every hop
// keeps its protocol, queue id and time.
func TestCanaries(t *testing.T) {
	for i := range *canaryMessages {
		m := mailtest.NewCanary(uint64(i), 7)
		for _, o := range []Options{
			{Class: All},
			{Class: Own, ClientOwn: true, OwnNetworks: mailtest.CanaryNetworks},
			{Class: All, SignedFields: RedactSigned},
		} {
			h := mail.ParseHeader([]byte(m.Head()))
			r := Redact(&h, nil, o)
			got := r.Head
			if got == nil {
				got = h.Raw
			}
			checkCanary(t, m, string(got), r.Edits)
			if t.Failed() {
				t.Fatalf("seed %d, class %s, client %s %s %s\n%s----\n%s", i, o.Class, m.Addr, m.Name, m.Helo, m.Head(), got)
			}
		}
	}
	t.Logf("%d messages", *canaryMessages)
}

// check goes through what came out beside what went in.
func checkCanary(t *testing.T, m *mailtest.Canary, head string, edits []Edit) {
	removed := map[int]bool{}
	for _, e := range edits {
		removed[e.Field] = e.Kind == Removed
	}
	h := mail.ParseHeader([]byte(head))
	forms := m.Forms()
	k := 0
	for i, f := range m.Fields {
		switch {
		case removed[i]:
			if !f.Trace || f.Rest != "-" && f.Rest != "" {
				t.Errorf("%q is gone", f.Text)
			}
			continue
		case k == len(h.Fields):
			t.Errorf("%q is not there", f.Text)
		case !f.Trace:
			if got := string(h.Fields[k].Raw); got != f.Text {
				t.Errorf("%q became %q", f.Text, got)
			}
		case f.Rest == "-":
			t.Errorf("%q is there: %q", f.Text, h.Fields[k].Raw)
		default:
			checkField(t, f, string(h.Fields[k].Raw), forms)
		}
		k++
	}
	if k != len(h.Fields) {
		t.Errorf("field %q is unexpected", h.Fields[k].Raw)
	}
}

func checkField(t *testing.T, f mailtest.CanaryField, got string, forms []string) {
	text := decodeAll(got)
	for _, form := range forms {
		if strings.Contains(text, form) {
			t.Errorf("%q is left of %q: %q", form, f.Text, got)
			return
		}
	}
	if !strings.Contains(got, f.Rest) {
		t.Errorf("%q is not left of %q: %q", f.Rest, f.Text, got)
	}
}

// decodeAll is text as a curious reader would see it: unfolded, with encoded
// words decoded and joined, without backslashes, in lower case.
func decodeAll(s string) string {
	var b bytes.Buffer
	s = strings.NewReplacer("\r\n\t.", ".", ".\r\n ", ".", "\r\n", "", "?= =?", "?==?", "?=\r\n =?", "?==?", "?=\r\n\t=?", "?==?").Replace(s)
	for s != "" {
		i := strings.Index(s, "=?")
		if i < 0 {
			break
		}
		b.WriteString(s[:i])
		if n := encodedWord([]byte(s[i:])); n > 0 {
			b.Write(decodeWord([]byte(s[i : i+n])))
			s = s[i+n:]
		} else {
			b.WriteString("=?")
			s = s[i+2:]
		}
	}
	b.WriteString(s)
	return strings.ToLower(strings.ReplaceAll(b.String(), `\`, ""))
}

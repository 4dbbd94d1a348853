package effect

import (
	"fmt"
	"strings"
	"testing"

	"mailweir/filter"
	"mailweir/mail"
)

func TestRoute(t *testing.T) {
	rcpt := mail.Recipient{Path: "office@example.org", Hold: "quarantine:X", Notify: mail.NotifyFailure}
	act := func(a filter.Act) filter.RuleAct { return filter.RuleAct{Symbol: "R", Act: &a} }
	redirect := act(filter.Act{Redirect: []mail.Path{"a@x.example", "b@x.example"}})
	for _, c := range []struct {
		name   string
		acts   []filter.RuleAct
		looped bool
		want   string // kept / copies
	}{
		{"nothing", nil, false, "office@example.org / "},
		{"redirect", []filter.RuleAct{redirect}, false, "a@x.example b@x.example+ / "},
		{"redirect twice", []filter.RuleAct{redirect, redirect}, false, "a@x.example b@x.example+ / "},
		{"copy", []filter.RuleAct{act(filter.Act{Copy: []mail.Path{"c@x.example", "office@example.org"}})}, false, "office@example.org / c@x.example+"},
		{"both", []filter.RuleAct{redirect, act(filter.Act{Copy: []mail.Path{"c@x.example"}})}, false, "a@x.example b@x.example+ / c@x.example+"},
		{"loop", []filter.RuleAct{redirect, act(filter.Act{Copy: []mail.Path{"c@x.example"}})}, true, "office@example.org / "},
		{"the first next hop", []filter.RuleAct{redirect, act(filter.Act{NextHop: "h:25", Copy: []mail.Path{"c@x.example"}}), act(filter.Act{NextHop: "i:25"})}, false,
			"a@x.example@h:25 b@x.example+@h:25 / c@x.example+"},
	} {
		to := Route(rcpt, c.acts, c.looped)
		var b strings.Builder
		show := func(list []mail.Recipient) {
			for k, r := range list {
				if k > 0 {
					b.WriteByte(' ')
				}
				b.WriteString(string(r.Path))
				if r.Generated {
					b.WriteByte('+')
				}
				if r.NextHop != "" {
					fmt.Fprintf(&b, "@%s", r.NextHop)
				}
				if r.Hold != rcpt.Hold {
					b.WriteString(" NOT HELD")
				}
			}
		}
		show(to.Kept)
		b.WriteString(" / ")
		show(to.Copies)
		if b.String() != c.want {
			t.Errorf("%s: %s, want %s", c.name, &b, c.want)
		}
		for _, r := range to.Copies {
			if r.Notify != mail.NotifyNever || r.ORcpt != "" {
				t.Errorf("%s: a sender hears of a copy: %+v", c.name, r)
			}
		}
		if to.Redirected && (to.Kept[0].ORcpt != "rfc822;office@example.org" || to.Kept[0].Notify != rcpt.Notify) {
			t.Errorf("%s: a DSN would name somebody whom the sender does not know: %+v", c.name, to.Kept[0])
		}
	}
}

// TestLooped: only what we have marked ourselves, for this message and this
// recipient, has been here before.
func TestLooped(t *testing.T) {
	m := NewMarks([]byte("a key"))
	h := header("Message-ID: <a@b>")
	office := string(m.Append(nil, h, "office@example.org"))
	if office[:strings.IndexByte(office, '\r')] != "Delivered-To: office@example.org" {
		t.Errorf("%q", office)
	}
	for _, c := range []struct {
		name  string
		marks Marks
		mark  string
		id    string
		rcpt  mail.Path
		want  bool
	}{
		{"it is back", m, office, "<a@b>", "Office+x@Example.org", true},
		{"for somebody else", m, office, "<a@b>", "other@example.org", false},
		{"another message", m, office, "<c@d>", "office@example.org", false},
		{"of another gateway", NewMarks([]byte("another")), office, "<a@b>", "office@example.org", false},
		{"written by a stranger", m, "Delivered-To: office@example.org\r\nX-Mailweir-Sent-On:\r\n", "<a@b>", "office@example.org", false},
		{"without a key", Marks{}, string(Marks{}.Append(nil, h, "office@example.org")) + "X-Mailweir-Sent-On:\r\n", "<a@b>", "office@example.org", false},
	} {
		back := mail.ParseHeader([]byte(c.mark + "Message-ID: " + c.id + "\r\n\r\n"))
		if got := c.marks.Looped(&back, c.rcpt); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

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

func TestLooped(t *testing.T) {
	for value, want := range map[string]bool{
		"office@example.org": true, " <x>": false, "OFFICE+tag@Example.ORG.": false, "Office+tag@EXAMPLE.org": true,
		"other@example.org": false, "": false, "office@example.org, x": false,
	} {
		if got := Looped(header("X: y", "delivered-to:"+value), "office@example.org"); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}

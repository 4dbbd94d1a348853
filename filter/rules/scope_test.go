package rules

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"mailweir/filter"
	"mailweir/mail"
)

// A rule with a scope counts for the recipients that it names, in the group's
// cap as well; a check's finding with one likewise.
func TestScope(t *testing.T) {
	r := load(t, `
		[scores]
		ALLOWED = -1.0
		BLOCKED = 1.0
		[[group]]
		name = "gg"
		cap = 2.0
		[[rule]]
		symbol = "ALL"
		score = 1.5
		when = 'to_count == 1'
		describe = "all"
		group = "gg"
		[[rule]]
		symbol = "ORG"
		score = 1.0
		when = 'true'
		domains = ["Example.ORG"]
		describe = "a domain"
		group = "gg"
		[[rule]]
		symbol = "BOB"
		when = 'has("ORG")'
		recipients = ["Bob+x@example.org", "carol@other.example"]
		redirect = ["dave@example.org"]
		describe = "two people"
		[[rule]]
		symbol = "AFTER"
		score = 1.0
		when = 'has("BOB")'
		describe = "all, as far as the rule before is"`)
	f := &filter.Facts{
		Header: filter.HeaderFacts{Names: []string{"to"}, To: []filter.Address{{Addr: "x@y.example"}}},
		Symbols: []filter.Symbol{
			{Name: "ALLOWED", Scope: &filter.Scope{Domains: []string{"sub.example.org"}}},
			{Name: "BLOCKED", Scope: &filter.Scope{Recipients: []string{"carol@other.example"}}},
		},
	}
	for rcpt, want := range map[mail.Path]string{
		"a@example.org":         "ALL=1.5 ORG=1 GROUP_GG_CAP=-0.5",
		"BOB+y@EXAMPLE.org":     "ALL=1.5 ORG=1 BOB=0 AFTER=1 GROUP_GG_CAP=-0.5",
		"carol@other.example":   "BLOCKED=1 ALL=1.5",
		"a@sub.example.org":     "ALLOWED=-1 ALL=1.5",
		"bob@other.example":     "ALL=1.5",
		"postmaster":            "ALL=1.5",
		"\"bob\"@example.org":   "ALL=1.5 ORG=1 BOB=0 AFTER=1 GROUP_GG_CAP=-0.5",
		"bob@[192.0.2.1]":       "ALL=1.5",
		"example.org@x.example": "ALL=1.5",
	} {
		if got := symbols(r.Eval(f, r.Class(f, rcpt))); got != want {
			t.Errorf("%s: %s, want %s", rcpt, got, want)
		}
	}
	j := filter.Weigh(r, f, []mail.Recipient{{Path: "bob@example.org"}, {Path: "a@b.example"}})
	if do := j.For(0)[2].Do; do == nil || !slices.Equal(do.Redirect, []mail.Path{"dave@example.org"}) {
		t.Errorf("%+v", j.For(0))
	}
	if slices.ContainsFunc(j.For(1), func(s filter.Symbol) bool { return s.Do != nil }) {
		t.Errorf("%+v", j.For(1))
	}
}

// TestAct: every key of an action, and the hash that names it.
func TestAct(t *testing.T) {
	text := `
		[[rule]]
		symbol = "R1"
		when = 'true'
		describe = "all keys"
		action = "reject"
		reply = "No"
		reply_code = "550 5.1.99"
		add_header = ["X-A: 1", "X-B: für alle"]
		set_header = ["X-C:2"]
		remove_header = ["X-D"]
		subject_prefix = "[X] "
		signed_fields = "change"
		redirect = ["a@x.example"]
		copy = ["b@x.example", "c@x.example"]
		next_hop = "[2001:db8::1]:25"
		auto_reply = "Thanks"
		auto_reply_days = 4
		[[rule]]
		symbol = "R2"
		when = 'true'
		describe = "strip"
		strip = ["iso", "*"]
		[[rule]]
		symbol = "R3"
		when = 'true'
		describe = "shadow"
		action = "discard"
		shadow = true`
	r := load(t, text)
	f := &filter.Facts{Header: filter.HeaderFacts{Names: []string{"to"}}}
	if got := symbols(r.Eval(f, "")); got != "R1=0 R3=0" {
		t.Errorf("without an attachment: %s", got)
	}
	f.Attachments = []filter.AttachmentFacts{{Extension: "txt"}}
	list := r.Eval(f, "")
	edit := func(kind, name, value string) filter.HeaderEdit {
		return filter.HeaderEdit{Kind: kind, Name: name, Value: value, Signed: true}
	}
	want := []filter.Symbol{
		{Name: "R1", Do: &filter.Act{
			Action: filter.Reject, Reply: &mail.Reply{Code: 550, Enhanced: mail.EnhancedCode{5, 1, 99}, Text: "No"},
			Edits: []filter.HeaderEdit{
				edit("add_header", "X-A", "1"), edit("add_header", "X-B", "für alle"), edit("set_header", "X-C", "2"),
				edit("remove_header", "X-D", ""), edit("subject_prefix", "Subject", "[X] "),
			},
			Redirect: []mail.Path{"a@x.example"}, Copy: []mail.Path{"b@x.example", "c@x.example"},
			NextHop: "[2001:db8::1]:25", AutoReply: &filter.AutoReply{Text: "Thanks", Days: 4},
		}},
		{Name: "R2", Do: &filter.Act{Action: filter.Strip, Strip: []string{"iso", "*"}}},
		{Name: "R3", WouldDo: &filter.Act{Action: filter.Discard}},
	}
	if !reflect.DeepEqual(list, want) {
		t.Errorf("%+v", list)
	}
	if hops := r.NextHops(); len(hops) != 1 || hops[0] != "[2001:db8::1]:25" {
		t.Errorf("%v", hops)
	}
	for _, change := range [][2]string{{"Thanks", "Thank you"}, {"b@x.example", "d@x.example"}, {"shadow = true", "shadow = false"}} {
		if other := load(t, replaceOnce(text, change[0], change[1])); other.Hash() == r.Hash() {
			t.Errorf("%s: the same hash", change[0])
		}
	}
}

func replaceOnce(s, old, with string) string { return strings.Replace(s, old, with, 1) }

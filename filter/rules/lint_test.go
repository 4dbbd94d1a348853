package rules

import (
	"slices"
	"strings"
	"testing"

	"mailweir/filter"
)

const lintRules = `
[scores]
DMARC_PASS = -0.2
[[group]]
name = "money"
cap = 6.0
[[pattern]]
name = "ALONE"
in = "body"
any = ["alone"]
score = 5.0
describe = "d"
[[pattern]]
name = "GTUBE"
in = "body"
any = ["gtube"]
score = 1000.0
describe = "d"
[[rule]]
symbol = "ALWAYS"
score = 1.0
when = '1 + 1 == 2'
describe = "d"
[[rule]]
symbol = "KIND"
score = -2.5
when = 'from_domain == "friend.example"'
describe = "d"
[[rule]]
symbol = "SEALED"
score = -3.0
when = 'arc == "pass"'
describe = "d"
[[rule]]
symbol = "PROVEN"
score = -4.0
when = 'from_domain == "friend.example" && dmarc == "pass"'
describe = "d"
[[rule]]
symbol = "PROVEN_SYMBOL"
score = -4.0
when = 'from_domain == "friend.example" && has("DMARC_PASS")'
describe = "d"
[[rule]]
symbol = "DRAFT"
score = 1.5
when = 'subject matches "draft" && to_count > 1'
describe = "d"
shadow = true
`

func TestLint(t *testing.T) {
	var got []string
	for _, f := range load(t, lintRules).Lint(Gateway{Tag: 5}) {
		got = append(got, strings.SplitN(f.What, ":", 2)[0])
	}
	want := []string{"ALONE", "ALWAYS", "KIND", "SEALED"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if n := len(load(t, lintRules).Lint(Gateway{Tag: 2000})); n != 1 {
		t.Errorf("%d warnings under a high threshold, want that of ALWAYS", n)
	}
}

// TestShippedLint: no shipped rule decides by itself, but for what this site was
// taught, and an attack on us.
func TestShippedLint(t *testing.T) {
	r, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Lint(Gateway{Tag: 5}) {
		if !strings.HasPrefix(f.What, "BAYES_99") && !strings.HasPrefix(f.What, "ATTACH_BOMB") {
			t.Error(f.Error())
		}
	}
}

// TestLintActs: what rules want and never get, by their scope and by the config.
func TestLintActs(t *testing.T) {
	ours := Gateway{Tag: 5, Domains: map[string]bool{"example.org": false, "tag.example": true}}
	outbound := ours
	outbound.Outbound = true
	rule := func(symbol, keys string) string {
		return "[[rule]]\nsymbol = \"" + symbol + "\"\nwhen = 'subject == \"a\"'\ndescribe = \"d\"\n" + keys + "\n"
	}
	for _, c := range []struct {
		name string
		text string
		g    Gateway
		want string // of the only warning; "" for none
	}{
		{"a weight of a check", "[scores]\nSPF_FAIL = 5.0\n", ours, "SPF_FAIL: a score of 5.00 reaches the threshold"},
		{"a weight of a check in a group", "[scores]\nSPF_FAIL = 5.0\n[[group]]\nname = \"auth\"\ncap = 4.0\nsymbols = [\"SPF_FAIL\"]\n", ours, ""},
		{"a check that any sender passes", "[scores]\nARC_PASS = -3.0\n", ours, "ARC_PASS: a score of -3.00 for what any sender can write"},
		{"one that proves something", "[scores]\nDMARC_PASS = -3.0\n", ours, ""},
		{"all is well", rule("R1", "domains = [\"example.org\"]\ncopy = [\"a@example.org\"]"), ours, ""},
		{"a domain of others", rule("R1", "domains = [\"x.example\"]\nscore = 1.0"), ours, "R1: no mail is accepted for the domain x.example"},
		{"nothing is known of domains", rule("R1", "domains = [\"x.example\"]\nscore = 1.0"), Gateway{Tag: 5}, ""},
		{"a recipient of others", rule("R1", "recipients = [\"a@sub.example.org\"]\nscore = 1.0"), ours, "R1: no mail is accepted for a@sub.example.org"},
		{"a symbol of others", rule("R1", "recipients = [\"a@example.org\"]\nscore = 1.0") +
			strings.Replace(rule("R2", "recipients = [\"b@example.org\"]\nscore = 1.0"), "subject ==", "has(\"R1\") && subject ==", 1), ours,
			"R2: it needs R1, which is for other recipients"},
		{"not a symbol of others", rule("R1", "recipients = [\"a@example.org\"]\nscore = 1.0") +
			strings.Replace(rule("R2", "domains = [\"example.org\"]\nscore = 1.0"), "subject ==", "has(\"R1\") && subject ==", 1), ours, ""},
		{"rejected and copied", rule("R1", "action = \"reject\"\ncopy = [\"a@example.org\"]"), ours, "R1: copy a@example.org never happens"},
		{"tagged and answered", rule("R1", "action = \"tag\"\nauto_reply = \"a\""), outbound, "R1: auto_reply never happens"},
		{"held and copied", rule("R1", "action = \"quarantine\"\ncopy = [\"a@example.org\"]"), ours, ""},
		{"in tag mode", rule("R1", "action = \"discard\"\ndomains = [\"tag.example\"]"), ours, "R1: discard never happens: all its recipients"},
		{"not only in tag mode", rule("R1", "action = \"discard\""), ours, ""},
		{"no route", rule("R1", "redirect = [\"a@far.example\"]"), ours, "R1: there is no route to a@far.example"},
		{"a route", rule("R1", "redirect = [\"a@far.example\"]"), outbound, ""},
		{"no route for answers", rule("R1", "auto_reply = \"a\""), ours, "R1: there is no route for answers"},
		{"to himself", rule("R1", "recipients = [\"a@example.org\"]\nredirect = [\"A@example.org\"]"), ours, "R1: A@example.org is the recipient himself"},
		{"all mail is taken", strings.Replace(rule("R1", "domains = [\"example.org\"]\naction = \"reject\""), "subject == \"a\"", "true", 1) +
			rule("R2", "recipients = [\"a@example.org\"]\naction = \"tag\"") + rule("R3", "action = \"tag\""), ours,
			"R2: what it does never happens: R1 takes all mail"},
		{"an action for all mail", strings.Replace(rule("R1", "add_header = [\"X-A: b\"]"), "subject == \"a\"", "true", 1), ours, ""},
		{"a score for all mail", strings.Replace(rule("R1", "score = 1.0"), "subject == \"a\"", "true", 1), ours, "R1: the condition is true for every message"},
	} {
		found := load(t, c.text).Lint(c.g)
		switch {
		case c.want == "" && len(found) > 0, c.want != "" && len(found) != 1:
			t.Errorf("%s: %v", c.name, found)
		case c.want != "" && (!strings.HasPrefix(found[0].What, c.want) || found[0].Line == 0):
			t.Errorf("%s: %v, want %q", c.name, found[0], c.want)
		}
	}
}

func TestShadow(t *testing.T) {
	r := load(t, lintRules)
	f := &filter.Facts{Header: filter.HeaderFacts{
		Names: []string{"subject"}, Subject: "a draft", To: []filter.Address{{Addr: "a@b.example"}, {Addr: "c@d.example"}},
	}}
	k := slices.IndexFunc(r.Eval(f, ""), func(s filter.Symbol) bool { return s.Name == "DRAFT" })
	if k < 0 {
		t.Fatalf("not found: %v", r.Eval(f, ""))
	}
	if s := r.Eval(f, "")[k]; s.Score != 0 || s.Would != 1.5 || !s.Shadow() {
		t.Errorf("%+v", s)
	}
	if got := r.Evidence(f, "DRAFT"); !slices.Equal(got, []string{`to_count = 2`, `subject = "a draft"`}) {
		t.Errorf("evidence %q", got)
	}
	if info, ok := r.Info("DRAFT"); !ok || !info.Shadow || info.Line == 0 {
		t.Errorf("%+v", info)
	}
	if got := r.Evidence(f, "ALONE"); got != nil {
		t.Errorf("evidence of a pattern: %q", got)
	}
}

func TestEvidenceIsBounded(t *testing.T) {
	f := &filter.Facts{Header: filter.HeaderFacts{Subject: strings.Repeat("ü", 1000)}}
	got := load(t, lintRules).Evidence(f, "DRAFT")
	if want := `subject = "` + strings.Repeat("ü", maxEvidence/2) + `..."`; !slices.Contains(got, want) {
		t.Errorf("%q", got)
	}
}

func TestUnseen(t *testing.T) {
	old := load(t, lintRules)
	if got := old.Unseen(load(t, lintRules)); got != nil {
		t.Errorf("the same set: %v", got)
	}
	draft := load(t, strings.Replace(lintRules, `any = ["alone"]`, `any = ["lonely"]`, 1)+`
[[pattern]]
name = "NEW"
in = "url"
any = ["/new"]
`)
	if got := draft.Unseen(old); !slices.Equal(got, []string{"ALONE", "NEW"}) {
		t.Errorf("%v", got)
	}
}

func TestCost(t *testing.T) {
	r := load(t, lintRules)
	if got := r.Cost(nil); len(got) != 0 {
		t.Errorf("without a sample: %v", got)
	}
	cost := r.Cost([]*filter.Facts{{}, {}})
	if len(cost) != 6 || cost["DRAFT"] <= 0 {
		t.Errorf("%v", cost)
	}
}

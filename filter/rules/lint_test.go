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
	for _, f := range load(t, lintRules).Lint(5) {
		got = append(got, strings.SplitN(f.What, ":", 2)[0])
	}
	want := []string{"ALONE", "ALWAYS", "KIND", "SEALED"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if n := len(load(t, lintRules).Lint(2000)); n != 1 {
		t.Errorf("%d warnings under a high threshold, want that of ALWAYS", n)
	}
}

// TestShippedLint: no shipped rule decides by itself.
func TestShippedLint(t *testing.T) {
	r, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Lint(5) {
		t.Error(f.Error())
	}
}

func TestShadow(t *testing.T) {
	r := load(t, lintRules)
	f := &filter.Facts{Header: filter.HeaderFacts{
		Names: []string{"subject"}, Subject: "a draft", To: []filter.Address{{Addr: "a@b.example"}, {Addr: "c@d.example"}},
	}}
	k := slices.IndexFunc(r.Eval(f), func(s filter.Symbol) bool { return s.Name == "DRAFT" })
	if k < 0 {
		t.Fatalf("not found: %v", r.Eval(f))
	}
	if s := r.Eval(f)[k]; s.Score != 0 || s.Would != 1.5 || !s.Shadow() {
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

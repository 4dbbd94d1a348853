package rules

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"mailweir/filter"
)

var update = flag.Bool("update", false, "rewrite golden files")

func load(t testing.TB, text string) *Rules {
	t.Helper()
	r, err := Load(File{"test.toml", []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func symbols(list []filter.Symbol) string {
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf("%s=%g", s.Name, s.Score))
	}
	return strings.Join(out, " ")
}

func TestEval(t *testing.T) {
	r := load(t, `
		[scores]
		SPF_FAIL = 1.5
		NIL = 0.0
		[[group]]
		name = "money"
		cap = 2.0
		symbols = ["SPF_FAIL"]
		[[pattern]]
		name = "CASH"
		in = "body"
		any = ["cash"]
		score = 1.25
		describe = "cash"
		group = "money"
		[[pattern]]
		name = "QUIET"
		in = "subject"
		any = ["hello"]
		[[rule]]
		symbol = "BOTH"
		score = 0.5
		when = 'has("SPF_FAIL") && has("CASH") && pattern("QUIET")'
		describe = "both"
		[[rule]]
		symbol = "ON_BOTH"
		score = -0.25
		when = 'has("BOTH") && header("precedence") == "bulk" && has_header("to") && header_count("received") == 2'
		describe = "a composite of a composite"
		[[rule]]
		symbol = "TYPES"
		score = 0.1
		when = 'has_type("text/html") && ambiguity("odd_base64") && freemail(from_org) && "utf-8" in charsets'
		describe = "lists"`)
	f := &filter.Facts{
		Symbols: []filter.Symbol{{Name: "SPF_FAIL"}, {Name: "DNSBL_X", Score: 3}, {Name: "UNKNOWN", Detail: "kept"}},
		Header: filter.HeaderFacts{
			Values: map[string]string{"precedence": "bulk"}, Names: []string{"received", "to", "received"},
			From: []filter.Address{{Addr: "a@gmail.com", Domain: "gmail.com"}},
		},
		Body: filter.BodyFacts{
			Patterns: []string{"CASH", "QUIET"}, Parts: []filter.Part{{Type: "text/html"}},
			Ambiguities: []string{"odd_base64"}, Charsets: []string{"utf-8"},
		},
	}
	const want = "SPF_FAIL=1.5 DNSBL_X=3 UNKNOWN=0 CASH=1.25 BOTH=0.5 ON_BOTH=-0.25 TYPES=0.1 GROUP_MONEY_CAP=-0.75"
	got := r.Eval(f, "")
	if symbols(got) != want || got[2].Detail != "kept" {
		t.Errorf("got  %s\nwant %s", symbols(got), want)
	}
	if f.Symbols[0].Score != 0 {
		t.Error("Eval changed the facts")
	}
	if got := symbols(r.Eval(&filter.Facts{}, "")); got != "" {
		t.Errorf("nothing gives %s", got)
	}
}

// TestEvalConcurrent: the same answer whoever asks at the same time.
func TestEvalConcurrent(t *testing.T) {
	r, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			f := &filter.Facts{Symbols: []filter.Symbol{{Name: "SPF_FAIL"}}, Size: int64(i)}
			want := symbols(r.Eval(f, ""))
			for range 200 {
				if got := symbols(r.Eval(f, "")); got != want {
					t.Errorf("%s and %s", got, want)
				}
			}
		})
	}
	wg.Wait()
}

// TestFaults: every fault of a file at once, each with its line.
func TestFaults(t *testing.T) {
	data, err := os.ReadFile("testdata/faults.toml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Load(File{"faults.toml", data})
	if err == nil {
		t.Fatal("no error")
	}
	got := err.Error() + "\n"
	if *update {
		if err := os.WriteFile("testdata/faults.want", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/faults.want")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestNotTOML(t *testing.T) {
	_, err := Load(File{"a.toml", []byte("[scores]\nA1 = 1\n\n = 2\n")}, File{"b.toml", []byte("[[rule]]\nsymbol = \"X1\"\n")})
	if err == nil || !strings.Contains(err.Error(), "a.toml:4: not TOML") || !strings.Contains(err.Error(), "b.toml:1: when is missing") {
		t.Errorf("%v", err)
	}
}

func TestHash(t *testing.T) {
	a := load(t, "[scores]\nA1 = 1.0")
	b := load(t, "# a comment\n[scores]\n  A1 = 1 # another\n")
	c := load(t, "[scores]\nA1 = 1.5")
	if a.Hash() != b.Hash() || a.Hash() == c.Hash() || len(a.Hash()) != 12 {
		t.Errorf("%s %s %s", a.Hash(), b.Hash(), c.Hash())
	}
}

// TestShipped: what the shipped set has to have.
func TestShipped(t *testing.T) {
	r, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]float64)
	for _, s := range r.Symbols() {
		known[s.Name] = s.Score
		low, top := -0.5, 3.0
		switch {
		case strings.HasPrefix(s.Name, "BAYES_"): // what this site was taught
			low, top = -1.5, 5
		case s.Name == "ATTACH_BOMB": // an attack on us, and no honest mail
			top = 5
		}
		if s.Name != "GTUBE" && (s.Score > top || s.Score < low) {
			t.Errorf("%s:%d: %s decides nearly alone with %g", s.File, s.Line, s.Name, s.Score)
		}
	}
	if known["GTUBE"] != 1000 {
		t.Error("no GTUBE")
	}
	// Every symbol that the policy knows by its name is in [scores], but for
	// those that decide by themselves.
	for _, name := range []string{
		filter.SymDMARCReject, filter.SymDMARCQuarantine, filter.SymDMARCNone, filter.SymDMARCPass, filter.SymSPFFail,
		filter.SymSPFSoftFail, filter.SymDKIMFail, filter.SymDKIMPass,
	} {
		if _, ok := known[name]; !ok {
			t.Errorf("%s has no score", name)
		}
	}
}

// TestFactsAreDocumented compares docs/rules.md with the vocabulary.
func TestFactsAreDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	env := newEvaluation()
	env.fill(&filter.Facts{}, nil)
	for _, f := range facts {
		kind := fmt.Sprintf("%T", env.env[f.name])
		rows.WriteString(fmt.Sprintf("| `%s` | %s | %s |\n", f.name, strings.ReplaceAll(kind, "[]string", "list"), f.doc))
	}
	const begin, end = "<!-- facts: written by go test ./filter/rules -update -->\n", "<!-- end of facts -->"
	table := begin + "| name | type | what it is |\n|---|---|---|\n" + rows.String() + end
	section := regexp.MustCompile("(?s)" + begin + ".*" + end).Find(data)
	if *update {
		data = []byte(strings.Replace(string(data), string(section), table, 1))
		if err := os.WriteFile("../../docs/rules.md", data, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(section) != table {
		t.Error("docs/rules.md does not list the facts as they are; run with -update")
	}
	for name := range env.env {
		if !strings.Contains(string(data), "`"+name) {
			t.Errorf("docs/rules.md does not mention %s", name)
		}
	}
	for _, name := range filter.KeptFields {
		if !strings.Contains(string(data), "`"+name+"`") {
			t.Errorf("docs/rules.md does not mention the kept field %s", name)
		}
	}
}

func TestNoFactHidesAFunction(t *testing.T) {
	for _, f := range facts {
		if slices.Contains([]string{"len", "lower", "upper", "split", "trim", "count", "any", "all", "none", "one", "filter",
			"map", "sum", "min", "max", "first", "last", "type", "int", "float", "string", "join", "replace", "now", "date"}, f.name) {
			t.Errorf("%s is a function of the language", f.name)
		}
	}
}

func FuzzLoad(f *testing.F) {
	data, err := os.ReadFile("testdata/faults.toml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("[scores]\nA1 = 1\n[[rule]]\nsymbol='B1'\nscore=1\nwhen='size>1'\ndescribe='x'\n"))
	f.Add([]byte("[[pattern]]\nname='B1'\nin='body'\nregex='abc.{0,9}d'\nscore=1\ndescribe='x'\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Load(File{"f.toml", data})
		if (r == nil) == (err == nil) {
			t.Fatal("neither rules nor error")
		}
		if r != nil {
			r.Eval(&filter.Facts{}, "")
			return
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if strings.HasPrefix(line, "f.toml:0:") {
				t.Fatalf("no line: %s", line)
			}
		}
	})
}

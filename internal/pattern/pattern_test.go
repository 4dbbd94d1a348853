package pattern

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func compile(t testing.TB, ps ...Pattern) *Set {
	t.Helper()
	s, faults := Compile(ps)
	for _, f := range faults {
		t.Fatalf("pattern %s: %v", ps[f.Index].Name, f.Err)
	}
	return s
}

func match(s *Set, area, text string) []string {
	r := s.Start()
	r.Scan(area, []byte(text))
	return r.Names()
}

func TestMatch(t *testing.T) {
	s := compile(t,
		Pattern{Name: "WORD", In: "body", Any: []string{"free", "Free Money"}},
		Pattern{Name: "SIGN", In: "body", Any: []string{"$$$", "% off"}},
		Pattern{Name: "BOUNDED", In: "body", Regex: `million.{1,9}dollars?`},
		Pattern{Name: "EITHER", In: "body", Regex: `\b(?:click|tap) (?:here|now)\b`},
		Pattern{Name: "SUBJECT", In: "subject", Any: []string{"free"}},
		Pattern{Name: "UNICODE", In: "body", Any: []string{"grátis"}},
	)
	for _, c := range []struct{ text, want string }{
		{"free", "WORD"},
		{"it is free.", "WORD"},
		{"carefree freedom", ""},
		{"free2", ""},
		{"freeé", ""},
		{"(free)", "WORD"},
		{"a$$$b", "SIGN"},
		{"50% off", "SIGN"},
		{"50% offer", ""},
		{"million us dollars", "BOUNDED"},
		{"million and many more of these dollars", ""},
		{"millions, million x dollar", "BOUNDED"},
		{"please click here", "EITHER"},
		{"please click hereafter", ""},
		{"clicktap now", ""},
		{"tap now free", "WORD EITHER"},
		{"é grátis!", "UNICODE"},
		{"", ""},
	} {
		if got := strings.Join(match(s, "body", c.text), " "); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
	if got := match(s, "subject", "free"); !slices.Equal(got, []string{"SUBJECT"}) {
		t.Errorf("subject: %v", got)
	}
	if got := match(s, "url", "free"); got != nil {
		t.Errorf("an area without patterns: %v", got)
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		p    Pattern
		want string
	}{
		{Pattern{}, "one of any and regex"},
		{Pattern{Any: []string{"abc"}, Regex: "abc"}, "one of any and regex"},
		{Pattern{Any: []string{"ab"}}, "shorter"},
		{Pattern{Regex: "abc("}, "missing closing"},
		{Pattern{Regex: "abc.*"}, "bound every repetition"},
		{Pattern{Regex: "abc{1,1000}d{1,600}"}, "bound every repetition"},
		{Pattern{Regex: "[a-z]{3,5}"}, "no literal"},
		{Pattern{Regex: "abc|d"}, "no literal"},
		{Pattern{Regex: "^abc"}, "no meaning"},
		{Pattern{Regex: "Abc"}, "capitals"},
	} {
		_, faults := Compile([]Pattern{c.p})
		if len(faults) != 1 || !strings.Contains(faults[0].Err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.p, faults, c.want)
		}
	}
	_, faults := Compile([]Pattern{{}, {Any: []string{"fine"}}, {Regex: "("}})
	if len(faults) != 2 || faults[0].Index != 0 || faults[1].Index != 2 {
		t.Errorf("faults %v", faults)
	}
}

// TestBudget: many near hits of expressions cost no more than the budget.
func TestBudget(t *testing.T) {
	var ps []Pattern
	for i := range 40 {
		ps = append(ps, Pattern{Name: fmt.Sprint(i), In: "body", Regex: fmt.Sprintf(`near.{0,%d}never`, 60+i)})
	}
	r := compile(t, ps...).Start()
	r.Scan("body", []byte(strings.Repeat("near never-", 256<<10/11)))
	if r.Spent() {
		t.Error("spent on a text that matches at once")
	}
	r = compile(t, ps...).Start()
	r.Scan("body", []byte(strings.Repeat("neat never ", 256<<10/11)))
	if !r.Spent() {
		t.Error("not spent")
	}
}

// oracle is what the patterns mean, one by one and without an automaton.
func oracle(ps []Pattern, text string) []string {
	var out []string
	for _, p := range ps {
		hit := false
		for _, l := range p.Any {
			for i := range text {
				end := i + len(l)
				if end <= len(text) && text[i:end] == l &&
					!(isWord(l[0]) && i > 0 && isWord(text[i-1])) && !(isWord(l[len(l)-1]) && end < len(text) && isWord(text[end])) {
					hit = true
				}
			}
		}
		if p.Regex != "" {
			hit = regexp.MustCompile(p.Regex).MatchString(text)
		}
		if hit {
			out = append(out, p.Name)
		}
	}
	return out
}

func FuzzMatch(f *testing.F) {
	f.Add("abc abcd bcd", "bcd", "abcd")
	f.Add("aaaa aaa", "aaa", "aaaa")
	f.Add("bab.cdcd babyxcdcd", "cdc", "abc")
	f.Fuzz(func(t *testing.T, text, a, b string) {
		text = strings.ToLower(text)
		a, b = strings.ToLower(a), strings.ToLower(b)
		if len(a) < MinLiteral || len(b) < MinLiteral {
			return
		}
		ps := []Pattern{
			{Name: "A", In: "body", Any: []string{a}}, {Name: "B", In: "body", Any: []string{b, "bab"}},
			{Name: "C", In: "body", Regex: `bab.{0,3}cd(?:cd)?`}, {Name: "D", In: "body", Regex: `(?:abc|xyz)[a-c]{1,4}d`},
		}
		s, faults := Compile(ps)
		if faults != nil {
			t.Fatal(faults)
		}
		if got, want := match(s, "body", text), oracle(ps, text); !slices.Equal(got, want) {
			t.Fatalf("%q: %v, want %v", text, got, want)
		}
	})
}

func BenchmarkScan64K(b *testing.B) {
	var ps []Pattern
	for i := range 200 {
		ps = append(ps, Pattern{Name: fmt.Sprint(i), In: "body", Any: []string{fmt.Sprintf("phrase number %d here", i), fmt.Sprintf("other%dword", i)}})
	}
	s := compile(b, ps...)
	text := []byte(strings.Repeat("ordinary words of a text that has no phrase number in it ", 64<<10/57))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		r := s.Start()
		r.Scan("body", text)
	}
}

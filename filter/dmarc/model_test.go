package dmarc

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"mailweir/internal/dns"
)

// The model is RFC 9989 sections 4.10.1, 4.10.2, 4.4 and 4.7 in the order and
// words of the text, for one author and zones that never fail: no caching, no
// shortcuts, names as lists of labels.
type model struct {
	zone map[string][]map[string]string
}

// valid is the policy record at a name: several are none.
func (m model) valid(labels []string) map[string]string {
	if rs := m.zone[strings.Join(labels, ".")]; len(rs) == 1 {
		return rs[0]
	}
	return nil
}

// walk lists the names of a tree walk that starts at labels, as far as it goes.
func (m model) walk(labels []string) [][]string {
	out := [][]string{labels}
	for target := labels; ; out = append(out, target) {
		if r := m.valid(target); r != nil && (r["psd"] == "y" || r["psd"] == "n") {
			return out
		}
		if x := len(target); x < 8 {
			target = target[1:]
		} else {
			target = target[x-7:]
		}
		if len(target) == 0 {
			return out
		}
	}
}

func (m model) organization(start []string) []string {
	var fewest []string
	for _, name := range m.walk(start) { // from the longest to the shortest
		r := m.valid(name)
		switch {
		case r == nil:
			continue
		case r["psd"] == "n":
			return name
		case r["psd"] == "y" && !slices.Equal(name, start):
			return start[len(start)-len(name)-1:]
		}
		fewest = name
	}
	if fewest != nil {
		return fewest
	}
	return start
}

// discover is the record that applies, and where it was found.
func (m model) discover(author []string) (map[string]string, []string) {
	if r := m.valid(author); r != nil {
		return r, author
	}
	org, walk := m.organization(author), m.walk(author)
	// A walk from more than eight labels may jump over the name below psd=y:
	// what stands there was not retrieved.
	met := slices.ContainsFunc(walk, func(name []string) bool { return slices.Equal(name, org) })
	if r := m.valid(org); r != nil && met {
		return r, org
	}
	for _, name := range walk {
		if r := m.valid(name); r != nil && r["psd"] == "y" {
			return r, name
		}
	}
	return nil, nil
}

func (m model) aligned(author, id []string, mode string) bool {
	if mode == "s" {
		return slices.Equal(author, id)
	}
	return slices.Equal(m.organization(author), m.organization(id))
}

func isPolicy(s string) bool { return s == "none" || s == "quarantine" || s == "reject" }

// evaluate is "status policy domain".
func (m model) evaluate(author, spf, dkim []string, exists bool) string {
	r, where := m.discover(author)
	if r == nil {
		return "none  "
	}
	p, sp, np := r["p"], r["sp"], r["np"]
	if !isPolicy(p) || sp != "" && !isPolicy(sp) || np != "" && !isPolicy(np) {
		if !strings.HasPrefix(r["rua"], "mailto:") {
			return "none  "
		}
		p, sp, np = "none", "", ""
	}
	if !slices.Equal(where, author) {
		switch {
		case !exists && np != "":
			p = np
		case sp != "":
			p = sp
		}
	}
	status := "fail"
	if spf != nil && m.aligned(author, spf, r["aspf"]) || dkim != nil && m.aligned(author, dkim, r["adkim"]) {
		status = "pass"
	}
	return fmt.Sprintf("%s %s %s", status, p, strings.Join(where, "."))
}

type modelGenerator struct{ *rand.Rand }

func (g modelGenerator) pick(s ...string) string { return s[g.IntN(len(s))] }

// name grows a domain below one of few, so that names are related.
func (g modelGenerator) name(base []string) []string {
	n := g.IntN(3)
	if g.IntN(20) == 0 {
		n = g.IntN(9)
	}
	for range n {
		base = append([]string{g.pick("a", "b")}, base...)
	}
	return base
}

func (g modelGenerator) record() (map[string]string, string) {
	r := map[string]string{}
	text := g.pick("v=DMARC1", "v = DMARC1", "V=DMARC1")
	for _, tag := range []struct {
		name, values string
		odds         int
	}{
		{"p", "none quarantine reject reject reject bad", 12}, {"sp", "none quarantine reject bad", 4},
		{"np", "none quarantine reject bad", 3}, {"psd", "y n u", 3}, {"adkim", "r s", 3}, {"aspf", "r s", 3},
		{"rua", "mailto:d@example junk", 3}, {"pct", "0 50", 3}, {"t", "n", 3},
	} {
		if g.IntN(12) < tag.odds {
			r[tag.name] = g.pick(strings.Fields(tag.values)...)
			text += g.pick(";", "; ", " ; ") + tag.name + g.pick("=", " = ") + r[tag.name]
		}
	}
	return r, text + g.pick("", ";")
}

// TestAgainstModel compares random authors, identifiers and zones.
func TestAgainstModel(t *testing.T) {
	count := map[string]int{}
	for seed := range uint64(20000) {
		g := modelGenerator{rand.New(rand.NewPCG(seed, 1))}
		m := model{map[string][]map[string]string{}}
		fake := &dns.Fake{A: map[string][]string{}, TXT: map[string][]string{}}
		base := []string{g.pick("x", "y"), "test"}
		author := g.name(base)
		for range g.IntN(5) {
			name := g.name(base)
			if g.IntN(2) == 0 {
				name = author[g.IntN(len(author)):]
			}
			r, text := g.record()
			key := strings.Join(name, ".")
			m.zone[key] = append(m.zone[key], r)
			fake.TXT["_dmarc."+key] = append(fake.TXT["_dmarc."+key], text)
		}
		exists := slices.ContainsFunc(slices.Collect(maps.Keys(fake.TXT)), func(name string) bool {
			return strings.HasSuffix(name, "."+strings.Join(author, ".")) // RFC 8020: something is below it
		})
		if !exists && g.IntN(2) == 0 {
			exists = true
			fake.A[strings.Join(author, ".")] = []string{g.pick("192.0.2.1", "2001:db8::1")}
		}
		in := Input{Authors: Authors{Domains: []string{strings.Join(author, ".")}, Fields: 1}}
		var spf, dkim []string
		if g.IntN(2) == 0 {
			spf = g.name([]string{g.pick("x", "y"), "test"})
			in.SPF = Identifier{Domain: strings.Join(spf, "."), Pass: true}
		}
		if g.IntN(2) == 0 {
			dkim = g.name(base)
			in.DKIM = []Identifier{{Domain: "other.example", Pass: true}, {Domain: strings.Join(dkim, "."), Pass: true}}
		}
		res := Evaluate(context.Background(), fake, in)
		got := fmt.Sprintf("%s %s %s", res.Status, res.Policy, res.Domain)
		want := m.evaluate(author, spf, dkim, exists)
		if got != want {
			t.Fatalf("seed %d: author %v exists=%v, spf %v, dkim %v, zone %v\n got %q\nwant %q", seed, author, exists, spf, dkim, fake.TXT, got, want)
		}
		count[string(res.Status)]++
	}
	if count["pass"] < 2000 || count["fail"] < 2000 || count["none"] < 2000 {
		t.Errorf("one-sided: %v", count)
	}
	t.Log(count)
}

// FuzzEvaluate: whatever stands in From, a message that nothing authenticates
// never passes, and one whose authors are all covered by p=reject never comes
// out milder than a fail.
func FuzzEvaluate(f *testing.F) {
	for _, s := range []string{"a@example.org", "a@example.org, b@example.net", `"x@example.net" <a@example.org>`, "a@example.org\r\nFrom: b@example.net", "(a@b", "<>"} {
		f.Add(s)
	}
	zone := &dns.Fake{TXT: map[string][]string{
		"_dmarc.org": {"v=DMARC1; p=reject"}, "_dmarc.net": {"v=DMARC1; p=reject"},
	}}
	f.Fuzz(func(t *testing.T, from string) {
		authors := parse("From: " + from)
		res := Evaluate(context.Background(), zone, Input{Authors: authors})
		if res.Status == Pass {
			t.Errorf("%q passes", from)
		}
		one := Identifier{Domain: "example.net", Pass: true}
		res = Evaluate(context.Background(), zone, Input{Authors: authors, SPF: one})
		covered := slices.ContainsFunc(authors.Domains, func(d string) bool { return strings.HasSuffix(d, ".org") })
		if covered && res.Status == Pass {
			t.Errorf("%q passes by another author's domain", from)
		}
	})
}

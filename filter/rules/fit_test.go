package rules_test

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"mailweir/filter/rules"
)

var fit = flag.Bool("fit", false, "let TestCorpus print the weights that the counts suggest")

// The weights of the shipped rules are fitted, not felt: logistic regression
// with the threshold as its fixed intercept, every weight held between 0 and a
// bound for its file (below 0 where the shipped score is negative), so that no
// rule alone decides and none counts against its meaning. A lost ham costs as
// much as hamCost missed spam. Rules in default.toml and those in byHand are
// not fitted: what the corpus says about them is an accident of how it was
// made.
const (
	hamCost   = 40.0
	hardCost  = 5.0
	margin    = 1.4   // ham is pushed to below required-margin
	decay     = 0.001 // pulls every weight to 0
	rate      = 0.02
	fitRounds = 1500
)

var bounds = map[string]float64{"header.toml": 1.2, "links.toml": 1.2, "structure.toml": 0.9, "text.toml": 1.6, "together.toml": 1.4}

var byHand = []string{
	"GTUBE", "FROM_OWN_UNPROVEN", "FROM_LOOKALIKE", "FROM_NO_DOMAIN", "FROM_NAME_ADDR", "DATE_TRACE_FUTURE", "DATE_TRACE_PAST", "DATE_FUTURE", "DATE_BAD",
	"TO_MISSING", "REPLYTO_DIFFER", "REPLYTO_FREEMAIL", "REPLY_THREAD", "LIST_POST", "URL_DISGUISED", "URL_PUNYCODE", "URL_USERINFO",
	"URL_PORT", "URL_HOMOGRAPH", "URL_LOOKALIKE", "URL_BRAND_LOOKALIKE", "URL_BRAND_WORD", "FROM_BRAND_LOOKALIKE", "HTML_FORM", "HTML_PASSWORD", "HTML_REFRESH", "EXTORTION",
}

// narrow bounds two kinds of symbols further. The ham of the corpus is in
// English, so that a phrase in another language tells more about the language
// than about spam; and what a subject says must not be counted three times.
const narrow = 0.9

type feature struct {
	name     string
	low, top float64
	weight   float64
}

type sample struct {
	kind  string
	ham   bool
	fixed float64 // score of symbols that are not fitted
	on    []int   // features
}

func suggest(all []judged, set *rules.Rules) string {
	if *learnFolds > 1 {
		return suggestGrades(all, set)
	}
	var b strings.Builder
	features := featuresOf(set)
	for _, parts := range []int{2, 10} {
		fmt.Fprintf(&b, "fitted on the others of %d parts: %s\n", parts, crossFit(all, features, parts))
	}
	train(features, samplesOf(all, features))
	fmt.Fprintf(&b, "fitted on all: %s\n", outcome(samplesOf(all, features), features).String())
	for _, f := range features {
		fmt.Fprintf(&b, "WEIGHT %s %.1f\n", f.name, f.weight)
	}
	return b.String()
}

// crossFit tells the outcome for each part with weights from the other parts.
func crossFit(all []judged, features []feature, parts int) string {
	var seen tally
	for k := range parts {
		var rest, part []judged
		for _, m := range all {
			if foldOf(m.file, parts) == k {
				part = append(part, m)
			} else {
				rest = append(rest, m)
			}
		}
		learn := slices.Clone(features)
		train(learn, samplesOf(rest, learn))
		seen.add(samplesOf(part, learn), learn)
	}
	return seen.String()
}

// featuresOf are the symbols to be fitted.
func featuresOf(set *rules.Rules) (out []feature) {
	for _, s := range set.Symbols() {
		top, ok := bounds[s.File]
		if !ok || slices.Contains(byHand, s.Name) {
			continue
		}
		f := feature{name: s.Name, top: top}
		if strings.HasSuffix(s.Name, "_OTHER") || s.Name == "BR_GOV" || strings.HasPrefix(s.Name, "SUBJ_") {
			f.top = narrow
		}
		if s.Score < 0 {
			f.low, f.top = -0.5, 0
		}
		out = append(out, f)
	}
	return out
}

func samplesOf(all []judged, features []feature) []sample {
	index := make(map[string]int)
	for i, f := range features {
		index[f.name] = i
	}
	out := make([]sample, len(all))
	for i, m := range all {
		out[i].kind, out[i].ham = m.kind, m.ham
		for _, s := range m.symbols {
			if j, ok := index[s.Name]; ok {
				out[i].on = append(out[i].on, j)
			} else if !strings.HasPrefix(s.Name, "GROUP_") {
				out[i].fixed += s.Score
			}
		}
	}
	return out
}

func (s *sample) score(features []feature) float64 {
	sum := s.fixed
	for _, j := range s.on {
		sum += features[j].weight
	}
	return sum
}

// train is projected gradient descent with Adam's step sizes.
func train(features []feature, samples []sample) {
	n := len(features)
	m, v, g := make([]float64, n), make([]float64, n), make([]float64, n)
	for round := 1; round <= fitRounds; round++ {
		clear(g)
		for i := range samples {
			push(g, &samples[i], features)
		}
		for j := range features {
			f := &features[j]
			grad := g[j]/float64(len(samples)) + decay*f.weight
			m[j] = 0.9*m[j] + 0.1*grad
			v[j] = 0.999*v[j] + 0.001*grad*grad
			step := m[j] / (1 - math.Pow(0.9, float64(round))) / (math.Sqrt(v[j]/(1-math.Pow(0.999, float64(round)))) + 1e-8)
			f.weight = min(f.top, max(f.low, f.weight-rate*step))
		}
	}
	for j := range features {
		features[j].weight = math.Round(features[j].weight*10) / 10
	}
}

// cost is what losing a ham costs. Hard ham, newsletters that people asked for,
// is rare in a corpus and dear to its reader.
func (s *sample) cost() float64 {
	if strings.Contains(s.kind, "hard") {
		return hamCost * hardCost
	}
	return hamCost
}

func push(g []float64, s *sample, features []feature) {
	x := s.score(features)
	var slope float64
	if s.ham {
		slope = s.cost() / (1 + math.Exp(-2*(x-required+margin)))
	} else {
		slope = -1 / (1 + math.Exp(x-required-0.5))
	}
	for _, j := range s.on {
		g[j] += slope
	}
}

// tally counts what is caught and lost.
type tally struct {
	ham, spam, caught int
	lost              map[string]int // by kind
}

func outcome(samples []sample, features []feature) *tally {
	t := &tally{}
	t.add(samples, features)
	return t
}

func (t *tally) add(samples []sample, features []feature) {
	if t.lost == nil {
		t.lost = make(map[string]int)
	}
	for i := range samples {
		over := samples[i].score(features) >= required
		switch {
		case samples[i].ham && over:
			t.lost[samples[i].kind]++
			t.ham++
		case samples[i].ham:
			t.ham++
		case over:
			t.spam++
			t.caught++
		default:
			t.spam++
		}
	}
}

func (t *tally) String() string {
	return fmt.Sprintf("%d ham, lost %v; %d of %d spam caught (%.1f %%)", t.ham, t.lost, t.caught, t.spam, 100*float64(t.caught)/float64(max(1, t.spam)))
}

// TestFitSeparates shows that the fit finds the one telling symbol.
func TestFitSeparates(t *testing.T) {
	features := []feature{{name: "A", top: 8}, {name: "B", top: 8}}
	samples := []sample{{ham: true, on: []int{1}}, {ham: true}, {on: []int{0, 1}}, {on: []int{0}}}
	train(features, samples)
	if features[0].weight < required || features[1].weight > 2 {
		t.Errorf("weights %v", features)
	}
}

package rules_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"mailweir/filter"
	"mailweir/filter/rules"
)

// What a grade of the learned filter weighs lies on a line over the log-odds of
// the messages that it holds for, between two bounds. Two numbers for all
// grades cannot be fitted to single messages, and thirteen can.
const (
	gradeLow = -1.5 // no more is taken back from what the rules found
	gradeTop = 4.9  // the surest takes another finding beside it
)

// suggestGrades tells, for some lines, the weights and what is missed and lost
// with them. Which of them is best is not for the counts alone to say: the one
// that loses no more ham than it may.
func suggestGrades(all []judged, set *rules.Rules) string {
	odds := gradeOdds(all)
	var b strings.Builder
	for _, slope := range []float64{0.6, 0.8, 1, 1.2, 1.5} {
		for _, offset := range []float64{-1, -0.6, -0.4, -0.2, -0.1, 0, 0.3, 0.6, 1.2} {
			weights := gradeWeights(odds, slope, offset)
			missed, lost := regrade(all, set, weights)
			fmt.Fprintf(&b, "slope %.1f offset %.1f: %d spam missed, ham lost %v;", slope, offset, missed, lost)
			for _, name := range slices.Sorted(maps.Keys(weights)) {
				fmt.Fprintf(&b, " %s %.1f", strings.TrimPrefix(name, "BAYES_"), weights[name])
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// gradeOdds is the mean log-odds of the messages of each grade.
func gradeOdds(all []judged) map[string]float64 {
	sum, n := make(map[string]float64), make(map[string]float64)
	for _, m := range all {
		for _, s := range m.learned {
			var p float64
			if _, err := fmt.Sscanf(s.Detail, "%f;", &p); err != nil || !strings.HasPrefix(s.Name, "BAYES_") {
				continue
			}
			p = min(0.9999, max(0.0001, p)) // what the detail can tell
			sum[s.Name] += math.Log(p / (1 - p))
			n[s.Name]++
		}
	}
	for name := range sum {
		sum[name] /= n[name]
	}
	return sum
}

func gradeWeights(odds map[string]float64, slope, offset float64) map[string]float64 {
	w := make(map[string]float64)
	for name, x := range odds {
		w[name] = math.Round(10*min(gradeTop, max(gradeLow, slope*x+offset))) / 10
	}
	return w
}

// regrade judges everything with other weights of the grades.
func regrade(all []judged, set *rules.Rules, weights map[string]float64) (missed int, lost map[string]int) {
	lost = make(map[string]int)
	for _, m := range all {
		f := *m.facts
		f.Symbols = slices.Clone(f.Symbols)
		for _, s := range m.learned {
			s.Score = weights[s.Name] // 0: as it is shipped
			f.Symbols = append(f.Symbols, s)
		}
		score := 0.0
		for _, s := range set.Eval(&f, "") {
			score += s.Score
		}
		switch over := score >= required; {
		case m.ham && over:
			lost[m.kind]++
		case !m.ham && !over:
			missed++
		}
	}
	return missed, lost
}

// TestGradeWeights: surer grades weigh more, within the bounds.
func TestGradeWeights(t *testing.T) {
	set, err := rules.Default()
	if err != nil {
		t.Fatal(err)
	}
	learned := func(name, detail string) judged {
		return judged{kind: "ham", ham: name == "BAYES_00", facts: &filter.Facts{Version: filter.FactsVersion},
			learned: []filter.Symbol{{Name: name, Detail: detail}}}
	}
	all := []judged{learned("BAYES_00", "0.0001; 1 of 1"), learned("BAYES_50", "0.5000; 1 of 1"), learned("BAYES_999", "1.0000; 1 of 1")}
	w := gradeWeights(gradeOdds(all), 0.6, 1.2)
	if w["BAYES_00"] != gradeLow || w["BAYES_50"] != 1.2 || w["BAYES_999"] != gradeTop {
		t.Errorf("weights %v", w)
	}
	if missed, lost := regrade(all, set, w); missed != 2 || len(lost) != 0 {
		t.Errorf("%d missed, %v lost: none decides alone", missed, lost)
	}
	if missed, _ := regrade(all, set, map[string]float64{"BAYES_999": required}); missed != 1 {
		t.Errorf("%d missed with other weights", missed)
	}
}

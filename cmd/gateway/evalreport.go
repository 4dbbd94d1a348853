package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// evalReport is the JSON of `gateway eval`; its names are a public interface.
// Threshold is exclusive where ham is lost by intent (recall) and inclusive on
// the curve (roc).
type evalReport struct {
	Rules    string        `json:"rules_hash"`
	Required float64       `json:"required"` // the tag threshold
	Seconds  float64       `json:"seconds"`
	Folders  []evalFolder  `json:"folders"`
	Spam     evalClass     `json:"spam"`
	Ham      evalClass     `json:"ham"`
	Recall   []evalRecall  `json:"recall"`
	Area     float64       `json:"roc_area"`
	ROC      []evalPoint   `json:"roc"`
	LostHam  []evalMistake `json:"lost_ham"`
	MissSpam []evalMistake `json:"missed_spam"`
	Errors   []string      `json:"errors"`
}

type evalFolder struct {
	Folder   string `json:"folder"`
	Class    string `json:"class"`
	Messages int    `json:"messages"`
	Caught   int    `json:"caught"`
}

// evalClass is a row of the confusion table.
type evalClass struct {
	Messages int     `json:"messages"`
	Caught   int     `json:"caught"`
	Accepted int     `json:"accepted"`
	Share    float64 `json:"share_caught"`
}

// evalRecall is the best threshold that loses no more than a share of the ham.
type evalRecall struct {
	Rate    float64 `json:"false_positive_rate"`
	HamLost int     `json:"ham_lost"`
	Ham     int     `json:"ham"`
	Over    float64 `json:"score_over"`
	Caught  int     `json:"spam_caught"`
	Spam    int     `json:"spam"`
	Recall  float64 `json:"recall"`
}

type evalPoint struct {
	Threshold float64 `json:"threshold"`
	HamLost   int     `json:"ham_lost"`
	Caught    int     `json:"spam_caught"`
}

type evalMistake struct {
	File    string       `json:"file"`
	Score   float64      `json:"score"`
	Action  string       `json:"action"`
	Symbols []symbolJSON `json:"symbols"`
}

// worst keeps the mistakes with the highest (sign 1) or lowest (-1) scores.
type worst struct {
	limit int
	sign  float64
	list  []evalMistake
}

func (w *worst) add(score float64, f *finding) {
	if w.limit == 0 {
		return
	}
	m := evalMistake{f.File, score, string(f.Action), f.Symbols}
	at, _ := slices.BinarySearchFunc(w.list, m, func(a, b evalMistake) int {
		return cmp.Or(cmp.Compare(w.sign*b.Score, w.sign*a.Score), cmp.Compare(a.File, b.File))
	})
	w.list = slices.Insert(w.list, at, m)
	w.list = w.list[:min(len(w.list), w.limit)]
}

// recallRates are the shares of ham that recall is told for.
var recallRates = []float64{0.001, 0.005, 0.01}

func (e *evaluation) report() *evalReport {
	r := &evalReport{
		Rules: e.rules, Required: e.required, Seconds: time.Since(e.begin).Seconds(), Folders: e.folders,
		LostHam: nonNil(e.worst[0].list), MissSpam: nonNil(e.worst[1].list), Errors: nonNil(e.errors),
	}
	for _, p := range e.points {
		c := &r.Ham
		if p.spam {
			c = &r.Spam
		}
		c.Messages++
		if p.caught {
			c.Caught++
		} else {
			c.Accepted++
		}
	}
	r.Spam.Share, r.Ham.Share = share(r.Spam.Caught, r.Spam.Messages), share(r.Ham.Caught, r.Ham.Messages)
	r.ROC = curve(e.points)
	r.Area = area(r.ROC, r.Ham.Messages, r.Spam.Messages)
	for _, rate := range recallRates {
		r.Recall = append(r.Recall, recall(r.ROC, rate, r.Ham.Messages, r.Spam.Messages))
	}
	return r
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func share(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// curve has a point for every score that there is: what a threshold there
// would catch. It begins with a threshold over all of them.
func curve(points []point) []evalPoint {
	sorted := slices.Clone(points)
	slices.SortFunc(sorted, func(a, b point) int { return cmp.Compare(b.score, a.score) })
	at := evalPoint{Threshold: refusedScore + 1}
	out := []evalPoint{at}
	for i, p := range sorted {
		if p.spam {
			at.Caught++
		} else {
			at.HamLost++
		}
		if i+1 == len(sorted) || sorted[i+1].score < p.score {
			at.Threshold = round(p.score)
			out = append(out, at)
		}
	}
	return out
}

func round(x float64) float64 { return math.Round(x*1e6) / 1e6 }

// area under the curve: the chance that spam scores higher than ham does.
func area(roc []evalPoint, ham, spam int) float64 {
	sum := 0.0
	for i := 1; i < len(roc); i++ {
		sum += float64(roc[i].HamLost-roc[i-1].HamLost) * float64(roc[i].Caught+roc[i-1].Caught) / 2
	}
	if ham == 0 || spam == 0 {
		return 0
	}
	return sum / float64(ham) / float64(spam)
}

// recall goes down the curve as far as rate allows.
func recall(roc []evalPoint, rate float64, ham, spam int) evalRecall {
	allowed := int(rate * float64(ham))
	r := evalRecall{Rate: rate, Ham: ham, Spam: spam}
	for i, p := range roc {
		if p.HamLost > allowed {
			break
		}
		r.HamLost, r.Caught, r.Over = p.HamLost, p.Caught, p.Threshold
		if i+1 < len(roc) {
			r.Over = roc[i+1].Threshold
		}
	}
	r.Recall = share(r.Caught, spam)
	return r
}

// curveRates are the shares of ham at which the text shows the curve.
var curveRates = []float64{0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1}

func (r *evalReport) print(w io.Writer) {
	fmt.Fprintf(w, "%d messages in %.1f s, rules %s, caught from %.2f\n\n", r.Spam.Messages+r.Ham.Messages, r.Seconds, r.Rules, r.Required)
	fmt.Fprintf(w, "%-6s %9s %9s %9s %9s\n", "", "messages", "caught", "accepted", "caught")
	for _, c := range []struct {
		name string
		evalClass
	}{{"spam", r.Spam}, {"ham", r.Ham}} {
		fmt.Fprintf(w, "%-6s %9d %9d %9d %7.2f %%\n", c.name, c.Messages, c.Caught, c.Accepted, 100*c.Share)
	}
	if len(r.Folders) > 2 {
		fmt.Fprintln(w)
		for _, f := range r.Folders {
			fmt.Fprintf(w, "%-6s %9d %9d %9d %7.2f %%  %s\n", f.Class, f.Messages, f.Caught, f.Messages-f.Caught, 100*share(f.Caught, f.Messages), f.Folder)
		}
	}
	fmt.Fprintf(w, "\nROC, area %.5f\n%10s %12s %16s %10s\n", r.Area, "ham lost", "score over", "spam caught", "")
	for _, rate := range curveRates {
		c := recall(r.ROC, rate, r.Ham.Messages, r.Spam.Messages)
		fmt.Fprintf(w, "%8.1f %% %12.2f %8d of %d %8.2f %% (%d of %d ham)\n", 100*rate, c.Over, c.Caught, c.Spam, 100*c.Recall, c.HamLost, c.Ham)
	}
	printMistakes(w, "ham that is lost, the highest scores first", r.LostHam)
	printMistakes(w, "spam that is missed, the lowest scores first", r.MissSpam)
	for _, e := range r.Errors {
		fmt.Fprintln(w, e)
	}
}

func printMistakes(w io.Writer, title string, list []evalMistake) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	for _, m := range list {
		var names []string
		for _, s := range m.Symbols {
			if s.Score != 0 {
				names = append(names, fmt.Sprintf("%s %.1f", s.Name, s.Score))
			}
		}
		fmt.Fprintf(w, "%8.2f  %s  %s\n          %s\n", m.Score, m.Action, m.File, strings.Join(names, ", "))
	}
}

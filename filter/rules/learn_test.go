package rules_test

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"testing"
	"time"

	"mailweir/filter"
	"mailweir/filter/bayes"
	"mailweir/filter/rules"
	"mailweir/internal/fsx"
	"mailweir/mail"
)

// -learn K lets TestCorpus teach the learned filter too, by cross-validation:
// each of K parts is judged with what was learned from the others, so that
// every figure is about mail that was not seen.
var (
	learnFolds = flag.Int("learn", 0, "number of parts for cross-validation of the learned filter in TestCorpus")
	learnSplit = flag.Int("split", 0, "another number divides the corpus into other parts")
)

// learnFrom adds what the learned filter says to the facts of every message,
// and weighs them anew.
func learnFrom(t *testing.T, all []judged, set *rules.Rules) {
	t.Helper()
	var wg sync.WaitGroup
	turn := make(chan struct{}, 2)
	for k := range *learnFolds {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			check := teach(t, all, k)
			for i := range all {
				if m := &all[i]; foldOf(m.file, *learnFolds) == k {
					tx := &filter.Transaction{Envelope: &mail.Envelope{}, Facts: m.facts}
					r := check.Run(context.Background(), tx)
					if r.State != filter.OK {
						t.Errorf("%s: %s %v", m.file, r.State, r.Cause)
					}
					m.learned = r.Symbols
				}
			}
		})
	}
	wg.Wait()
	for i := range all {
		m := &all[i]
		f := *m.facts
		f.Symbols = append(append([]filter.Symbol{}, f.Symbols...), m.learned...)
		m.symbols, m.score = set.Eval(&f, ""), 0
		for _, s := range m.symbols {
			m.score += s.Score
		}
	}
}

func teach(t *testing.T, all []judged, without int) *bayes.Check {
	disk := fsx.NewMem()
	store, err := bayes.Open(context.Background(), disk, bayes.Dir("learned", ""), 1e5)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer store.Close()
	for i := range all {
		if m := &all[i]; foldOf(m.file, *learnFolds) != without {
			store.Learn(m.facts, !m.ham, time.Now())
		}
	}
	if err := store.Commit(); err != nil {
		t.Error(err)
	}
	return bayes.NewCheck(bayes.NewModels(disk, "learned", slog.New(slog.DiscardHandler)), 1)
}

// foldOf spreads the files over folds. (FNV alone leaves the lower bits of
// names, or of splits, that differ in their last octet nearly the same.)
func foldOf(file string, folds int) int {
	h := fnv.New64a()
	fmt.Fprint(h, *learnSplit, " ", file)
	x := h.Sum64()
	x = (x ^ x>>32) * 0x9e3779b97f4a7c15
	return int(x >> 33 % uint64(folds))
}

package rules_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailweir/filter"
	"mailweir/filter/content"
	"mailweir/filter/mime"
	"mailweir/filter/rules"
	"mailweir/internal/pattern"
	"mailweir/mail"
)

// The tuning command: every message of a corpus through the very checks and
// rules that are shipped, without DNS, and the counts that weights are made
// from. DIR holds one folder a kind; a folder with "ham" in its name is ham,
// every other is spam.
//
//	go test ./filter/rules -run TestCorpus -v -corpus DIR
//
// -fit also prints weights that the counts suggest (see fit_test.go), and
// -miss N the N costliest mistakes of each side. -learn K judges with the
// learned filter as well (learn_test.go).
var (
	corpusDir = flag.String("corpus", "", "folder with one folder of messages a kind, for TestCorpus")
	misses    = flag.Int("miss", 0, "how many mistakes of each side TestCorpus prints")
)

const required = 5.0 // the shipped tag threshold

var someTime = time.Date(2025, 11, 20, 10, 0, 0, 0, time.UTC)

// judged is one message and what the rules say of it.
type judged struct {
	kind, file string
	ham        bool
	facts      *filter.Facts
	symbols    []filter.Symbol
	learned    []filter.Symbol // of the learned filter, with -learn
	score      float64
}

func TestCorpus(t *testing.T) {
	if *corpusDir == "" {
		t.Skip("no corpus: give a folder with -corpus DIR")
	}
	set, err := rules.Default()
	if err != nil {
		t.Fatal(err)
	}
	all := judgeFolder(t, *corpusDir, set, nil)
	if *learnFolds > 1 {
		learnFrom(t, all, set)
	}
	t.Log("\n" + confusion(all) + "\n" + symbolCounts(all, set))
	if *misses > 0 {
		t.Log("\n" + mistakes(all, *misses))
	}
	if *fit {
		t.Log("\n" + suggest(all, set))
	}
	for _, m := range all {
		for _, s := range m.symbols {
			if s.Name == rules.SymRuleError {
				t.Errorf("%s: %s %s", m.file, s.Name, s.Detail)
			}
		}
	}
}

// judgeFolder reads every message under dir, two at a time, and judges it as
// change has it, unless that is nil.
func judgeFolder(t *testing.T, dir string, set *rules.Rules, change func([]byte) []byte) []judged {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".eml") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	all := make([]judged, len(files))
	next := make(chan int)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := range next {
				data, err := os.ReadFile(files[i])
				if err != nil {
					t.Error(err)
					continue
				}
				data = crlf(data)
				if change != nil {
					data = change(data)
				}
				all[i] = judge(data, set)
				rel, _ := filepath.Rel(dir, files[i])
				all[i].file = rel
				all[i].kind, _, _ = strings.Cut(rel, string(filepath.Separator))
				all[i].ham = strings.Contains(all[i].kind, "ham")
			}
		})
	}
	for i := range files {
		next <- i
	}
	close(next)
	wg.Wait()
	return all
}

func crlf(data []byte) []byte {
	if bytes.Contains(data, []byte("\r\n")) {
		return data
	}
	return bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
}

// judge runs the data-phase checks and the rules over one message.
func judge(data []byte, set *rules.Rules) judged {
	facts := factsOf(data, set)
	m := judged{facts: facts, symbols: set.Eval(facts, "")}
	for _, s := range m.symbols {
		m.score += s.Score
	}
	return m
}

func factsOf(data []byte, set *rules.Rules) *filter.Facts {
	n, _ := mail.HeaderLength(data)
	h := mail.ParseHeader(data[:n])
	tx := &filter.Transaction{
		Header: &h, Content: mail.Bytes(data), Facts: &filter.Facts{},
		Envelope: &mail.Envelope{Arrived: time.Now()},
	}
	reader := content.New(func() *pattern.Set { return set.Patterns() }, nil)
	check := mime.New(func(tx *filter.Transaction) mime.Text { return reader.Open(tx) }, nil)
	s := check.Start(context.Background(), tx)
	s.Write(data[n:])
	report := s.End(context.Background())
	facts := &filter.Facts{Version: filter.FactsVersion, Size: int64(len(data)), Symbols: report.Symbols}
	report.Set(facts)
	return facts
}

// confusion is what is caught at the shipped threshold, by kind.
func confusion(all []judged) string {
	type row struct{ n, caught int }
	rows := make(map[string]*row)
	var kinds []string
	for _, m := range all {
		r := rows[m.kind]
		if r == nil {
			r = new(row)
			rows[m.kind] = r
			kinds = append(kinds, m.kind)
		}
		r.n++
		if m.score >= required {
			r.caught++
		}
	}
	slices.Sort(kinds)
	var b strings.Builder
	var spam, caught int
	for _, k := range kinds {
		r := rows[k]
		fmt.Fprintf(&b, "%-20s %5d messages %5d caught %7.2f %%\n", k, r.n, r.caught, 100*float64(r.caught)/float64(r.n))
		if !strings.Contains(k, "ham") {
			spam, caught = spam+r.n, caught+r.caught
		}
	}
	fmt.Fprintf(&b, "%-20s %5d messages %5d caught %7.2f %%\n", "all spam", spam, caught, 100*float64(caught)/float64(max(1, spam)))
	for _, rate := range []float64{0.001, 0.005, 0.01} {
		b.WriteString(recallAt(all, rate))
	}
	return b.String()
}

// recallAt is how much spam is caught when the threshold is set so that the
// rate of ham is lost.
func recallAt(all []judged, rate float64) string {
	var ham, spam []float64
	for _, m := range all {
		if m.ham {
			ham = append(ham, m.score)
		} else {
			spam = append(spam, m.score)
		}
	}
	if len(ham) == 0 || len(spam) == 0 {
		return ""
	}
	slices.Sort(ham)
	limit := ham[max(0, len(ham)-1-int(rate*float64(len(ham))))]
	n := 0
	for _, s := range spam {
		if s > limit {
			n++
		}
	}
	return fmt.Sprintf("at %.1f %% of all ham lost: %.2f %% of spam caught (score over %.2f)\n", 100*rate, 100*float64(n)/float64(len(spam)), limit)
}

// symbolCounts is in how many messages of each kind a symbol is.
func symbolCounts(all []judged, set *rules.Rules) string {
	scores := make(map[string]float64)
	for _, s := range set.Symbols() {
		scores[s.Name] = s.Score
	}
	hits, totals := make(map[string]map[string]int), make(map[string]int)
	var kinds []string
	for _, m := range all {
		if totals[m.kind]++; totals[m.kind] == 1 {
			kinds = append(kinds, m.kind)
		}
		for _, s := range m.symbols {
			if hits[s.Name] == nil {
				hits[s.Name] = make(map[string]int)
			}
			hits[s.Name][m.kind]++
		}
	}
	slices.Sort(kinds)
	names := make([]string, 0, len(hits))
	for name := range hits {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	fmt.Fprintf(&b, "%-32s %6s", "symbol, hits by kind", "score")
	for _, k := range kinds {
		fmt.Fprintf(&b, " %14s", strings.TrimPrefix(k, "train-"))
	}
	b.WriteByte('\n')
	for _, name := range names {
		fmt.Fprintf(&b, "%-32s %6.2f", name, scores[name])
		for _, k := range kinds {
			fmt.Fprintf(&b, " %6d %6.2f%%", hits[name][k], 100*float64(hits[name][k])/float64(totals[k]))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// mistakes lists the ham with the highest and the spam with the lowest scores.
func mistakes(all []judged, n int) string {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b judged) int { return cmp.Compare(b.score, a.score) })
	var b strings.Builder
	for _, ham := range []bool{true, false} {
		left := n
		for i := range sorted {
			m := sorted[i]
			if !ham {
				m = sorted[len(sorted)-1-i]
			}
			if m.ham == ham && left > 0 {
				left--
				list, _ := json.Marshal(m.symbols)
				fmt.Fprintf(&b, "%6.2f %s %s\n", m.score, m.file, list)
			}
		}
	}
	return b.String()
}

package configs_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"mailweir/internal/metricslint"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

const metricsDoc = "../docs/metrics.md"

// mark is where the tables begin; what stands above is written by hand.
const mark = "<!-- The rest is made by: go test ./configs -run TestMetricsDoc -update -->\n"

// admins are labels whose values come from the config, the rules or the build.
var admins = map[string]bool{"zone": true, "server": true, "symbol": true, "engine": true, "version": true, "goversion": true}

// TestMetricsDoc holds docs/metrics.md against the built binary: every metric,
// its type, labels with their values, and meaning.
func TestMetricsDoc(t *testing.T) {
	g := startGateway(t)
	fresh := parseExposition(t, g.exposition(t)) // without what mail brings: the closed sets
	g.traffic(t)
	want := mark + tables(parseExposition(t, g.exposition(t)), fresh)
	text, err := os.ReadFile(metricsDoc)
	if err != nil {
		t.Fatal(err)
	}
	above, have, found := strings.Cut(string(text), mark)
	if !found {
		t.Fatalf("%s has no line %q", metricsDoc, mark)
	}
	if *update {
		if err := os.WriteFile(metricsDoc, []byte(above+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, mark+have); diff != "" {
		t.Errorf("the binary exports something else (-binary +docs; -update writes it):\n%s", diff)
	}
}

// tables are Markdown, one table a package.
func tables(all, fresh families) string {
	var b strings.Builder
	section := ""
	for _, name := range slices.Sorted(maps.Keys(all)) {
		rest, ours := strings.CutPrefix(name, "mailweir_")
		if !ours {
			continue // Go's and the process's own: documented elsewhere
		}
		if part, _, _ := strings.Cut(rest, "_"); part != section {
			section = part
			fmt.Fprintf(&b, "\n## %s\n\n| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n", section)
		}
		m := all[name]
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, strings.ToLower(m.GetType().String()),
			labelCell(m, fresh[name]), strings.ReplaceAll(m.GetHelp(), "|", `\|`))
	}
	return b.String()
}

// labelCell lists labels, with their values where those are a closed set that
// exists from the start.
func labelCell(m, fresh *dto.MetricFamily) string {
	var cells []string
	for _, l := range slices.Sorted(maps.Keys(labels(m))) {
		values := make(map[string]bool)
		for _, series := range fresh.GetMetric() {
			for _, pair := range series.GetLabel() {
				if pair.GetName() == l && !admins[l] {
					values[pair.GetValue()] = true
				}
			}
		}
		cell := "**" + l + "**"
		if len(values) > 0 {
			cell += ": `" + strings.Join(slices.Sorted(maps.Keys(values)), "` `") + "`"
		}
		cells = append(cells, cell)
	}
	return strings.Join(cells, "<br>")
}

// exported is a Gatherer of what was scraped.
type exported families

func (e exported) Gather() ([]*dto.MetricFamily, error) {
	return slices.Collect(maps.Values(e)), nil
}

// TestMetricsLint holds the whole binary against the rules for metrics that
// each package's own tests apply to a part.
func TestMetricsLint(t *testing.T) {
	g := startGateway(t)
	g.traffic(t)
	problems, err := metricslint.Problems(exported(parseExposition(t, g.exposition(t))))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

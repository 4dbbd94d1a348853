package configs_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	alertsFile    = "prometheus/alerts.yml"
	dashboardFile = "grafana/mailweir.json"
)

// dashboard is what the tests look at in Grafana's format.
type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Panels        []panel
	Annotations   struct{ List []annotation }
	Templating    struct {
		List []struct {
			Name, Type, Definition string
			Query                  any
		}
	}
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               source
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []target
}

type source struct{ Type, UID string }

type target struct {
	RefID, Expr, LegendFormat string
	Datasource                source
}

type annotation struct {
	Name, Expr, TextFormat string
	BuiltIn                int
	Datasource             source
}

func loadDashboard(t *testing.T) *dashboard {
	t.Helper()
	data, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	d := &dashboard{}
	if err := json.Unmarshal(data, d); err != nil {
		t.Fatal(err)
	}
	return d
}

// variables are Grafana's, as they are for a dashboard of six hours where
// everything is chosen.
var variables = strings.NewReplacer("$__rate_interval", "1m", "$__range", "6h", "$job", ".+", "$instance", ".+")

// expressions are all that the dashboard asks of Prometheus, by where it does.
func (d *dashboard) expressions() map[string]string {
	all := make(map[string]string)
	for _, p := range d.Panels {
		for _, t := range p.Targets {
			all["panel "+p.Title+" "+t.RefID] = variables.Replace(t.Expr)
		}
	}
	for _, a := range d.Annotations.List {
		if a.BuiltIn == 0 {
			all["annotation "+a.Name] = variables.Replace(a.Expr)
		}
	}
	return all
}

var (
	metricName = regexp.MustCompile(`\bmailweir_[a-z0-9_]+`)
	grouping   = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
	legend     = regexp.MustCompile(`{{\s*([a-z_]+)\s*}}`)
)

// TestNames holds every name in dashboard, alerts and their tests against what
// the built binary exports.
func TestNames(t *testing.T) {
	g := startGateway(t)
	g.traffic(t)
	exported := parseExposition(t, g.exposition(t))
	for where, expr := range loadDashboard(t).expressions() {
		checkNames(t, exported, where, expr)
	}
	for _, file := range []string{alertsFile, "prometheus/alerts_test.yml", "../docs/operations.md"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metricName.FindAllString(string(text), -1) {
			if exported.find(name) == nil {
				t.Errorf("%s names %s, which is not exported", file, name)
			}
		}
	}
}

// checkNames holds one expression against the export: names, and labels that
// it groups by.
func checkNames(t *testing.T, exported families, where, expr string) {
	t.Helper()
	known := map[string]bool{"job": true, "instance": true, "le": true}
	names := metricName.FindAllString(expr, -1)
	if len(names) == 0 {
		t.Errorf("%s asks for nothing of ours: %s", where, expr)
	}
	for _, name := range names {
		m := exported.find(name)
		if m == nil {
			t.Errorf("%s names %s, which is not exported", where, name)
		}
		for l := range labels(m) {
			known[l] = true
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(m[1], ",") {
			if !known[strings.TrimSpace(l)] {
				t.Errorf("%s groups by %q, which none of its metrics has", where, l)
			}
		}
	}
}

// TestDashboard checks what Grafana would not complain about, only show wrong.
func TestDashboard(t *testing.T) {
	d := loadDashboard(t)
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 38 { // 38 is Grafana 10's
		t.Errorf("uid %q, title %q, schema %d", d.UID, d.Title, d.SchemaVersion)
	}
	if v := d.Templating.List; len(v) == 0 || v[0].Type != "datasource" || v[0].Name != "datasource" || v[0].Query != "prometheus" {
		t.Error("the first variable is not the data source")
	}
	for _, a := range d.Annotations.List {
		if a.BuiltIn == 0 && a.Datasource != (source{"prometheus", "${datasource}"}) {
			t.Errorf("annotation %s has data source %v", a.Name, a.Datasource)
		}
		checkLegend(t, "annotation "+a.Name, a.Expr, a.TextFormat)
	}
	ids := make(map[int]string)
	for k, p := range d.Panels {
		if other, twice := ids[p.ID]; twice || p.ID == 0 {
			t.Errorf("%q and %q have id %d", p.Title, other, p.ID)
		}
		ids[p.ID] = p.Title
		for _, other := range d.Panels[:k] {
			if overlap(p, other) {
				t.Errorf("%q lies over %q", p.Title, other.Title)
			}
		}
		if p.Type != "row" {
			checkPanel(t, p)
		}
	}
}

func overlap(p, q panel) bool {
	a, b := p.GridPos, q.GridPos
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

func checkPanel(t *testing.T, p panel) {
	t.Helper()
	if p.Title == "" || !strings.HasSuffix(p.Description, ".") || p.FieldConfig.Defaults.Unit == "" {
		t.Errorf("panel %d (%q): no title, no description or no unit", p.ID, p.Title)
	}
	if g := p.GridPos; g.X < 0 || g.W <= 0 || g.H <= 0 || g.X+g.W > 24 {
		t.Errorf("%q lies outside of the grid: %+v", p.Title, g)
	}
	if len(p.Targets) == 0 || p.Datasource != (source{"prometheus", "${datasource}"}) {
		t.Errorf("%q asks nothing, or the wrong data source", p.Title)
	}
	var refs []string
	for _, q := range p.Targets {
		if slices.Contains(refs, q.RefID) || q.RefID == "" || q.Datasource != p.Datasource || q.LegendFormat == "" {
			t.Errorf("%q: query %q has no reference of its own, no legend or another data source", p.Title, q.RefID)
		}
		refs = append(refs, q.RefID)
		checkLegend(t, "panel "+p.Title, q.Expr, q.LegendFormat)
	}
}

// checkLegend: a label that the query does not keep is shown as nothing.
func checkLegend(t *testing.T, where, expr, text string) {
	t.Helper()
	kept := strings.Join(grouping.FindAllString(expr, -1), " ")
	for _, l := range legend.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(kept, l[1]) && (l[1] != "instance" || strings.Contains(expr, "sum(")) {
			t.Errorf("%s shows label %s, which its query does not keep", where, l[1])
		}
	}
}

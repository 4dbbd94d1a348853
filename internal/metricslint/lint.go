// Package metricslint judges the metrics of a registry by our rules. It is for
// tests: of a package that makes metrics, and of the whole binary's registry.
package metricslint

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
)

// MaxSeries bounds the series of one metric. Label sets are closed: what
// exceeds it grew from something a client or an admin can name.
const MaxSeries = 300

// foreign are the names that the collectors of client_golang and promhttp bring.
var foreign = regexp.MustCompile(`^(go|process|promhttp)_`)

var name = regexp.MustCompile(`^mailweir_[a-z]+(_[a-z0-9]+)+$`)

// Problems are all faults of what reg exports now, one a line. Metrics that
// have no series yet cannot be judged: resolve their labels at start.
func Problems(reg prometheus.Gatherer) ([]string, error) {
	var problems []string
	found, err := testutil.GatherAndLint(reg)
	if err != nil {
		return nil, err
	}
	for _, p := range found {
		problems = append(problems, p.Metric+": "+p.Text)
	}
	families, err := reg.Gather()
	if err != nil {
		return nil, err
	}
	problems = append(problems, clashes(families)...)
	for _, f := range families {
		if !foreign.MatchString(f.GetName()) {
			problems = append(problems, family(f)...)
		}
	}
	return problems, nil
}

// clashes are gauges that have the name of a counter less its _total. In
// OpenMetrics, which drops the suffix from the family's name, they are one.
func clashes(families []*dto.MetricFamily) []string {
	var problems []string
	counters := make(map[string]bool)
	for _, f := range families {
		if base, ok := strings.CutSuffix(f.GetName(), "_total"); ok {
			counters[base] = true
		}
	}
	for _, f := range families {
		if counters[f.GetName()] && !foreign.MatchString(f.GetName()) {
			problems = append(problems, f.GetName()+": is the name of a counter too")
		}
	}
	return problems
}

func family(f *dto.MetricFamily) []string {
	var problems []string
	add := func(format string, args ...any) {
		problems = append(problems, f.GetName()+": "+fmt.Sprintf(format, args...))
	}
	if !name.MatchString(f.GetName()) {
		add("is not mailweir_package_noun")
	}
	if help := f.GetHelp(); !strings.HasSuffix(help, ".") {
		add("help is not a sentence: %q", help)
	}
	if f.GetType() == dto.MetricType_SUMMARY {
		add("is a summary: those cannot be added up over several gateways")
	}
	if n := len(f.GetMetric()); n > MaxSeries {
		add("has %d series, more than %d", n, MaxSeries)
	}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if why := personal(l.GetValue()); why != "" {
				add("label %s holds %s: %q", l.GetName(), why, l.GetValue())
			}
		}
	}
	slices.Sort(problems)
	return slices.Compact(problems)
}

// personal tells what a label's value must not be: metrics are kept for long
// and read by many.
func personal(value string) string {
	if strings.Contains(value, "@") {
		return "a mail address"
	}
	host, _, _ := strings.Cut(value, "/")
	if _, err := netip.ParseAddr(host); err == nil {
		return "an IP address"
	}
	if _, err := netip.ParseAddrPort(value); err == nil {
		return "an IP address"
	}
	return ""
}

package dnsbl

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mailweir/internal/metricslint"
)

// A reload without a zone: nobody must say for ever that it is off.
func TestMetricsForgetZones(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	m.zone("stays.example").up.Set(0)
	gone := m.zone("gone.example")
	gone.up.Set(0)
	m.Zones([]string{"stays.example", "never.example"})
	gone.up.Set(0) // by a round of canaries that was under way
	if n := testutil.CollectAndCount(m.up); n != 1 {
		t.Errorf("%d zones are up or down, want 1", n)
	}
	if v := testutil.ToFloat64(m.up.WithLabelValues("stays.example")); v != 0 {
		t.Errorf("the zone that stays is %v", v)
	}
	m.zone("gone.example") // comes back with the next reload
	if v := testutil.ToFloat64(m.up.WithLabelValues("gone.example")); v != 1 {
		t.Errorf("the zone that came back is %v", v)
	}
	if problems, err := metricslint.Problems(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

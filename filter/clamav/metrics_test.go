package clamav

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// Without a scanner nothing is up, and nothing is wrong.
func TestMetricsConfigured(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	for _, on := range []bool{false, true, false} {
		m.Configured(on)
		if got := testutil.ToFloat64(m.wanted); got != bit(on) {
			t.Errorf("configured is %v, want %v", got, on)
		}
		if up, open := testutil.ToFloat64(m.up), testutil.ToFloat64(m.open); !on && (up != 0 || open != 0) {
			t.Errorf("without a scanner up is %v and the breaker %v", up, open)
		}
		m.health(true)
		m.breaker(true)
	}
}

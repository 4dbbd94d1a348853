package dns

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// A reload with fewer servers: those that left are neither up nor down.
func TestMetricsForgetServers(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	for place := range 3 {
		newServer(endpoint{addr: "192.0.2.1:53"}, place, m, nil).up.Set(0)
	}
	m.Servers(1)
	if n := testutil.CollectAndCount(m.up); n != 1 {
		t.Errorf("%d servers are up or down, want 1", n)
	}
	if n := testutil.CollectAndCount(m.failures); n != len(reasons) {
		t.Errorf("%d series of failures, want %d of one server", n, len(reasons))
	}
	m.Servers(1)
	newServer(endpoint{addr: "192.0.2.2:53"}, 1, m, nil)
	if v := testutil.ToFloat64(m.up.WithLabelValues("2")); v != 1 {
		t.Errorf("the server that came back is %v", v)
	}
}

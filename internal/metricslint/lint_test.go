package metricslint

import (
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Each rule must find its fault, and only that.
func TestProblems(t *testing.T) {
	counter := func(name, help string, values ...string) prometheus.Collector {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"result"})
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	many := make([]string, MaxSeries+1)
	for i := range many {
		many[i] = "v" + strconv.Itoa(i)
	}
	for _, tt := range []struct {
		c    prometheus.Collector
		want string // "" for none
	}{
		{counter("mailweir_relay_attempts_total", "Attempts.", "ok", "failed"), ""},
		{counter("mailweir_relay_attempts_total", "Attempts.", many[:MaxSeries]...), ""},
		{counter("mailweir_relay_attempts_total", "Attempts.", many...), "series"},
		{counter("mailweir_relay_attempts", "Attempts.", "ok"), "_total"},
		{counter("mailweir_relay_attempts_total", "", "ok"), "help"},
		{counter("mailweir_relay_attempts_total", "Attempts", "ok"), "sentence"},
		{counter("relay_attempts_total", "Attempts.", "ok"), "mailweir_package_noun"},
		{counter("mailweir_total", "Attempts.", "ok"), "mailweir_package_noun"},
		{counter("mailweir_relay_attempts_total", "Attempts.", "user@example.org"), "mail address"},
		{counter("mailweir_relay_attempts_total", "Attempts.", "192.0.2.1"), "IP address"},
		{counter("mailweir_relay_attempts_total", "Attempts.", "192.0.2.1:25"), "IP address"},
		{counter("mailweir_relay_attempts_total", "Attempts.", "2001:db8::/32"), "IP address"},
		{counter("mailweir_relay_attempts_total", "Attempts.", "5.7.1"), ""},
		{prometheus.NewSummary(prometheus.SummaryOpts{Name: "mailweir_relay_duration_seconds", Help: "Time."}), "summary"},
		{prometheus.NewGauge(prometheus.GaugeOpts{Name: "mailweir_relay_wait_ms", Help: "Time."}), "abbreviated"},
		{prometheus.NewGauge(prometheus.GaugeOpts{Name: "mailweir_relay_bytes", Help: "Bytes."}), "counter too"},
	} {
		reg := prometheus.NewRegistry()
		reg.MustRegister(tt.c, prometheus.NewCounter(prometheus.CounterOpts{Name: "mailweir_relay_bytes_total", Help: "Bytes."}))
		problems, err := Problems(reg)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(problems, "\n")
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

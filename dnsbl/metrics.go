package dnsbl

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of all lists. Zones are from the config, a closed set.
type Metrics struct {
	lookups  *prometheus.CounterVec
	up       *prometheus.GaugeVec
	canaries *prometheus.CounterVec
	duration prometheus.Histogram

	mu    sync.Mutex
	known map[string]bool // zones with a gauge
}

// zoneMetrics are the children of one zone.
type zoneMetrics struct {
	results [len(stateNames)]prometheus.Counter
	up      prometheus.Gauge
}

// NewMetrics registers the lists' metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		known: make(map[string]bool),
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailweir_dnsbl_lookups_total",
			Help: "Questions to DNS lists by zone and result; off means that the zone was not asked.",
		}, []string{"zone", "result"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mailweir_dnsbl_zone_up",
			Help: "1 while a zone is asked, 0 while its canary look-ups say that it is broken.",
		}, []string{"zone"}),
		canaries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailweir_dnsbl_canaries_total",
			Help: "Rounds of canary look-ups by zone and result: passed, failed, or unknown for a temporary DNS failure.",
		}, []string{"zone", "result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "mailweir_dnsbl_lookup_duration_seconds",
			Help:    "Time of one question to one DNS list, answers that were cached left out.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5},
		}),
	}
	reg.MustRegister(m.lookups, m.up, m.canaries, m.duration)
	return m
}

// Zones forgets whether other zones than these are up: of a zone that was off
// and left the config nobody would ever say that it is not missed.
func (m *Metrics) Zones(names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.known {
		if !slices.Contains(names, name) {
			m.up.DeleteLabelValues(name)
			delete(m.known, name)
		}
	}
}

func (m *Metrics) zone(name string) zoneMetrics {
	m.mu.Lock()
	m.known[name] = true
	m.mu.Unlock()
	z := zoneMetrics{up: m.up.WithLabelValues(name)}
	z.up.Set(1)
	for s, word := range stateNames {
		z.results[s] = m.lookups.WithLabelValues(name, word)
	}
	for _, word := range verdictNames {
		m.canaries.WithLabelValues(name, word)
	}
	return z
}

package filter

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the pipeline's own: how long each check took and how it ended,
// what was found, how busy the workers are.
type Metrics struct {
	duration *prometheus.HistogramVec
	symbols  *prometheus.CounterVec
	workers  prometheus.Gauge
	busy     prometheus.Gauge
	waiting  prometheus.Gauge
	panics   prometheus.Counter

	counters sync.Map // symbol -> prometheus.Counter
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "mailweir_filter_check_duration_seconds",
			Help:    "Time from a check's start to its end, by check and by how it ended; not of checks that are switched off.",
			Buckets: prometheus.ExponentialBuckets(0.00001, 4, 11), // 10 us to 10 s
		}, []string{"check", "state"}),
		symbols: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailweir_filter_symbols_total",
			Help: "Messages in which a symbol was found, by symbol of the checks and rules in force.",
		}, []string{"symbol"}),
		workers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mailweir_filter_workers", Help: "Background checks that may run at once."}),
		busy: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mailweir_filter_workers_busy", Help: "Background checks running now."}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mailweir_filter_workers_waiting", Help: "Background checks that wait for a worker."}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mailweir_filter_panics_total", Help: "Checks that ended with a panic: each is a bug. Their state is error."}),
	}
	reg.MustRegister(m.duration, m.symbols, m.workers, m.busy, m.waiting, m.panics)
	return m
}

// ending is how a check ended.
type ending struct {
	check string
	state State
}

// begin makes the series of the chain's checks: the first time-out of a check
// would be seen by no rate() if its series came with it. Names and states are
// closed sets, so that the result has them all.
func (m *Metrics) begin(c Chain) map[ending]prometheus.Observer {
	durations := map[ending]prometheus.Observer{}
	for _, g := range append([]Group{c.Connect, c.Mail, c.Data}, c.Done...) {
		for _, check := range g {
			for _, s := range []State{OK, Timeout, Error, Skipped} {
				durations[ending{check.Name(), s}] = m.duration.WithLabelValues(check.Name(), string(s))
			}
		}
	}
	return durations
}

// symbol counts a finding. The set is closed: checks and rules define it.
func (m *Metrics) symbol(name string) {
	c, ok := m.counters.Load(name)
	if !ok {
		c, _ = m.counters.LoadOrStore(name, m.symbols.WithLabelValues(name))
	}
	c.(prometheus.Counter).Inc()
}

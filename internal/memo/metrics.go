package memo

import "github.com/prometheus/client_golang/prometheus"

// Metrics count for all tables, by name. A nil *Metrics counts nothing.
type Metrics struct {
	number  *prometheus.GaugeVec
	changes *prometheus.CounterVec
	failed  *prometheus.CounterVec
}

// NewMetrics registers them, with the names of the tables that there can be.
func NewMetrics(reg prometheus.Registerer, tables ...string) *Metrics {
	m := &Metrics{
		number: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mailweir_memo_entries", Help: "Names that something is remembered of, by table."}, []string{"table"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailweir_memo_written_total", Help: "Changes of tables that were written to the disk."}, []string{"table"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailweir_memo_write_failures_total", Help: "Attempts to write a table that failed; mail is not affected, and the next attempt writes all of it."}, []string{"table"}),
	}
	for _, t := range tables {
		m.number.WithLabelValues(t)
		m.changes.WithLabelValues(t)
		m.failed.WithLabelValues(t)
	}
	reg.MustRegister(m.number, m.changes, m.failed)
	return m
}

func (m *Metrics) entries(table string, n int) {
	if m != nil {
		m.number.WithLabelValues(table).Set(float64(n))
	}
}

func (m *Metrics) written(table string, n int, err error) {
	switch {
	case m == nil:
	case err != nil:
		m.failed.WithLabelValues(table).Inc()
	default:
		m.changes.WithLabelValues(table).Add(float64(n))
	}
}

package report

import "github.com/prometheus/client_golang/prometheus"

// Metrics of the reporter.
type Metrics struct {
	queued, skipped, failed prometheus.Counter
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mailweir_report_dmarc_reports_total",
		Help: "DMARC aggregate reports by what became of them: queued, skipped since nobody may get them, or failed and to be tried again.",
	}, []string{"result"})
	reg.MustRegister(v)
	return &Metrics{v.WithLabelValues("queued"), v.WithLabelValues("skipped"), v.WithLabelValues("failed")}
}

func (m *Metrics) count(s State) {
	switch s {
	case Queued:
		m.queued.Inc()
	case Skipped:
		m.skipped.Inc()
	}
}

package engine

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/filter"
)

// Metrics count for all engines, by their names in the config. A nil *Metrics
// counts nothing.
type Metrics struct {
	questions *prometheus.CounterVec
	up        *prometheus.GaugeVec
}

// results are the label values of questions_total.
var results = []string{"ok", "timeout", "busy", "suspended", "refused", "garbage", "error", "skipped"}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		questions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailweir_engine_questions_total", Help: "Messages by what came of asking an engine.",
		}, []string{"engine", "result"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mailweir_engine_up", Help: "Whether the last probe of an engine, a small message, was answered (1) or not (0).",
		}, []string{"engine"}),
	}
	reg.MustRegister(m.questions, m.up)
	return m
}

// Engines names those that the config in force has.
func (m *Metrics) Engines(names []string) {
	m.up.Reset()
	for _, name := range names {
		m.up.WithLabelValues(name)
		for _, r := range results {
			m.questions.WithLabelValues(name, r)
		}
	}
}

func resultOf(state filter.State, err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrBusy):
		return "busy"
	case errors.Is(err, ErrSuspended):
		return "suspended"
	case state == filter.Timeout:
		return "timeout"
	case errors.Is(err, ErrRefused):
		return "refused"
	case errors.Is(err, ErrReply):
		return "garbage"
	}
	return "error"
}

func (m *Metrics) asked(engine, result string) {
	if m != nil {
		m.questions.WithLabelValues(engine, result).Inc()
	}
}

func (m *Metrics) health(engine string, up bool) {
	if m == nil {
		return
	}
	value := 0.0
	if up {
		value = 1
	}
	m.up.WithLabelValues(engine).Set(value)
}

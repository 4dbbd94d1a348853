package attachment

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/filter"
)

// Metrics are the counters of an Examiner. A nil *Metrics counts nothing.
type Metrics struct {
	files    prometheus.Counter
	found    map[string]prometheus.Counter // by class
	duration prometheus.Histogram
}

// NewMetrics makes and registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		files: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "mailweir", Subsystem: "attachment", Name: "files_total",
			Help: "Attachments that were examined, and files in them.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "mailweir", Subsystem: "attachment", Name: "examination_seconds",
			Help:    "How long one examination held a worker.",
			Buckets: []float64{.0001, .001, .01, .1, 1, 10},
		}),
		found: make(map[string]prometheus.Counter),
	}
	found := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "mailweir", Subsystem: "attachment", Name: "found_total",
		Help: "Messages with an attachment of a class of the policy.",
	}, []string{"class"})
	for _, c := range filter.AttachmentClasses() {
		m.found[string(c)] = found.WithLabelValues(string(c))
	}
	reg.MustRegister(m.files, m.duration, found)
	return m
}

func (m *Metrics) took(d time.Duration) {
	if m != nil {
		m.duration.Observe(d.Seconds())
	}
}

// examined counts what a message had.
func (m *Metrics) examined(r *filter.Report) {
	if m == nil {
		return
	}
	seen := map[filter.AttachmentClass]bool{}
	for _, s := range r.Symbols {
		if c := filter.ClassOf(s.Name); c != "" && !seen[c] {
			seen[c] = true
			m.found[string(c)].Inc()
		}
	}
}

package clamav

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the counters of one scanner. A nil *Metrics counts nothing.
type Metrics struct {
	wanted   prometheus.Gauge
	up       prometheus.Gauge
	open     prometheus.Gauge
	running  prometheus.Gauge
	duration prometheus.Histogram
	cached   prometheus.Counter
	below    map[string]prometheus.Gauge
	results  map[string]prometheus.Counter
}

// The label values of scans_total, and the errors that lead to them. The order
// matters: ErrBusy is an ErrTimeout too, ErrSuspended an ErrUnavailable.
var failures = []struct {
	err    error
	result string
}{
	{ErrOversize, "oversize"},
	{ErrBusy, "busy"},
	{ErrTimeout, "timeout"},
	{ErrSuspended, "suspended"},
	{ErrUnavailable, "unavailable"},
	{ErrTruncated, "truncated"},
	{ErrReply, "garbage"},
	{ErrAborted, "aborted"},
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "mailweir", Subsystem: "clamav", Name: name, Help: help})
	}
	m := &Metrics{
		wanted:  gauge("configured", "Whether a scanner is configured (1) or mail is not scanned (0)."),
		up:      gauge("up", "Whether the last probe, a small scan, succeeded (1) or not (0)."),
		open:    gauge("breaker_open", "Whether the scanner is not asked because it keeps failing (1)."),
		running: gauge("active_scans", "Scans that hold a connection now."),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "mailweir", Subsystem: "clamav", Name: "scan_duration_seconds",
			Help:    "Time from the first chunk to the answer, waiting for a slot included.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		results: make(map[string]prometheus.Counter),
	}
	m.cached = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "mailweir", Subsystem: "clamav", Name: "cached_total",
		Help: "Contents that were not scanned, because the same octets were with the same signatures.",
	})
	below := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "mailweir", Subsystem: "clamav", Name: "limit_below",
		Help: "Whether one of the scanner's own limits is below ours, or it does not say what exceeds them (1).",
	}, []string{"limit"})
	m.below = make(map[string]prometheus.Gauge)
	for _, label := range limitLabels {
		m.below[label] = below.WithLabelValues(label)
	}
	scans := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "mailweir", Subsystem: "clamav", Name: "scans_total",
		Help: "Scans by what came back; aborted ones ended because the message did not come.",
	}, []string{"result"})
	for _, r := range []string{"clean", "virus", "unknown"} {
		m.results[r] = scans.WithLabelValues(r)
	}
	for _, f := range failures {
		m.results[f.result] = scans.WithLabelValues(f.result)
	}
	reg.MustRegister(m.wanted, m.up, m.open, m.running, m.duration, m.cached, below, scans)
	return m
}

// resultOf is the label value for the end of a scan.
func resultOf(v Verdict, err error) string {
	for _, f := range failures {
		if errors.Is(err, f.err) {
			return f.result
		}
	}
	switch {
	case err != nil:
		return "unknown"
	case v.Clean:
		return "clean"
	}
	return "virus"
}

func (m *Metrics) scanned(v Verdict, err error) {
	if m != nil {
		m.results[resultOf(v, err)].Inc()
	}
}

func (m *Metrics) remembered() {
	if m != nil {
		m.cached.Inc()
	}
}

func (m *Metrics) limits(list []limit) {
	if m == nil {
		return
	}
	for _, g := range m.below {
		g.Set(0)
	}
	for _, l := range list {
		m.below[l.label].Set(1)
	}
}

func (m *Metrics) took(d time.Duration) {
	if m != nil {
		m.duration.Observe(d.Seconds())
	}
}

func (m *Metrics) active(delta float64) {
	if m != nil {
		m.running.Add(delta)
	}
}

func (m *Metrics) breaker(open bool) {
	if m != nil {
		m.open.Set(bit(open))
	}
}

// Configured says whether there is to be a scanner: without one, up is 0 and
// nothing is wrong.
func (m *Metrics) Configured(yes bool) {
	m.wanted.Set(bit(yes))
	if !yes {
		m.up.Set(0)
		m.open.Set(0)
	}
}

func (m *Metrics) health(up bool) {
	if m != nil {
		m.up.Set(bit(up))
	}
}

func bit(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

package history

import "github.com/prometheus/client_golang/prometheus"

// Why an entry was dropped: the values of the reason label.
const (
	lostBacklog = "backlog" // the writer did not keep up
	lostEncode  = "encode"  // not JSON
	lostWrite   = "write"   // the disk failed
	lostDay     = "day_full"
	lostClosed  = "closed"
)

var lossReasons = []string{lostBacklog, lostEncode, lostWrite, lostDay, lostClosed}

type counters struct {
	written prometheus.Counter
	bytes   prometheus.Counter
	cut     prometheus.Counter
	dropped *prometheus.CounterVec
	lost    map[string]prometheus.Counter
}

func newCounters() counters {
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "mailweir", Subsystem: "history", Name: name, Help: help}
	}
	c := counters{
		written: prometheus.NewCounter(counter("entries_total", "Entries written to the history.")),
		bytes:   prometheus.NewCounter(counter("written_bytes_total", "Bytes written to the history.")),
		cut:     prometheus.NewCounter(counter("cut_total", "Entries written without their data, which was too large.")),
		dropped: prometheus.NewCounterVec(counter("dropped_total",
			"Entries that are missing from the history; mail is not affected."), []string{"reason"}),
		lost: make(map[string]prometheus.Counter, len(lossReasons)),
	}
	for _, reason := range lossReasons {
		c.lost[reason] = c.dropped.WithLabelValues(reason)
	}
	return c
}

func (c *counters) collectors() []prometheus.Collector {
	return []prometheus.Collector{c.written, c.bytes, c.cut, c.dropped}
}

// Describe implements prometheus.Collector.
func (l *Log) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range l.counters.collectors() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (l *Log) Collect(ch chan<- prometheus.Metric) {
	for _, c := range l.counters.collectors() {
		c.Collect(ch)
	}
}

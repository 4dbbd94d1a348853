package queue

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// stateCollector reads the gauges from the queue when they are scraped: they
// are never kept twice.
type stateCollector struct {
	queue atomic.Pointer[Queue]

	messages, oldest, low, recipients, bytes, segments, logBytes *prometheus.Desc
	freeBytes, freeInodes, sizeBytes, sizeInodes, imbalance      *prometheus.Desc
}

func newStateCollector() *stateCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("mailweir_queue_"+name, help, labels, nil)
	}
	return &stateCollector{
		messages:   desc("messages", "Messages in the queue, by state.", "state"),
		oldest:     desc("oldest_age_seconds", "Age of the oldest message, by state, but for low ones, which wait by design.", "state"),
		low:        desc("low_messages", "Messages of our own that are in no hurry, such as aggregate reports."),
		recipients: desc("pending_recipients", "Recipients in the queue, held ones included."),
		bytes:      desc("bytes", "Size of all messages in the queue."),
		segments:   desc("segments", "Segment files of the log."),
		logBytes:   desc("log_bytes", "Size of all segment files of the log."),
		freeBytes:  desc("spool_free_bytes", "Bytes that may still be used where the spool lives."),
		freeInodes: desc("spool_free_inodes", "Inodes free where the spool lives; absent where the file system does not count them."),
		sizeBytes:  desc("spool_size_bytes", "Size of the file system where the spool lives."),
		sizeInodes: desc("spool_size_inodes", "Inodes of the file system where the spool lives; absent where the file system does not count them."),
		imbalance:  desc("ledger_imbalance", "Recipients missing from the accounts; anything but 0 is a bug."),
	}
}

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.messages, c.oldest, c.low, c.recipients, c.bytes, c.segments, c.logBytes,
		c.freeBytes, c.freeInodes, c.sizeBytes, c.sizeInodes, c.imbalance} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	q := c.queue.Load()
	if q == nil {
		return
	}
	s := q.Stats()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, state := range []State{Queued, Active, Deferred, Held} {
		gauge(c.messages, float64(s.Messages[state]), string(state))
		gauge(c.oldest, s.Oldest[state].Seconds(), string(state))
	}
	gauge(c.low, float64(s.Low))
	gauge(c.recipients, float64(s.Recipients))
	gauge(c.bytes, float64(s.Bytes))
	gauge(c.segments, float64(s.Segments))
	gauge(c.logBytes, float64(s.LogBytes))
	gauge(c.imbalance, float64(s.Ledger.Imbalance()))
	space, err := q.fs.Free(q.dir)
	if err != nil {
		return // it is absent then, and alerts on absence say so
	}
	gauge(c.freeBytes, float64(space.Bytes))
	gauge(c.sizeBytes, float64(space.TotalBytes))
	if space.Inodes >= 0 {
		gauge(c.freeInodes, float64(space.Inodes))
		gauge(c.sizeInodes, float64(space.TotalInodes))
	}
}

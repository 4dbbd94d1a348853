package queue

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the queue's. Labels are closed sets: states, results, events.
type Metrics struct {
	recipients   *prometheus.CounterVec
	attempts     *prometheus.CounterVec
	fsync        prometheus.Histogram
	batchRecords prometheus.Histogram
	commit       prometheus.Histogram
	refused      *prometheus.CounterVec
	damaged      prometheus.Counter
	tornTails    prometheus.Counter
	poisoned     prometheus.Counter
	compacted    prometheus.Counter
	written      prometheus.Counter
	dsns         prometheus.Counter
	undelivered  prometheus.Counter

	keysDestroyed prometheus.Counter
	scrubbed      prometheus.Counter

	damagedSegments prometheus.Counter

	state *stateCollector

	// Children of the hot path, resolved once.
	accepted, generated, recovered, relayed, failed  prometheus.Counter
	discarded, deleted, erased, damagedRcpts         prometheus.Counter
	attemptRelayed, attemptDeferred, attemptFailed   prometheus.Counter
	refusedSpace, refusedPoisoned, refusedNotDurable prometheus.Counter
}

// NewMetrics registers the queue's metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		recipients:   counterVec("recipients_total", "Recipients that entered or left the queue, by event: accepted + generated + recovered = the others + in the queue.", "event"),
		attempts:     counterVec("attempts_total", "Delivery attempts ended, per recipient, by result.", "result"),
		refused:      counterVec("refused_total", "Messages that could not be taken, by reason.", "reason"),
		dsns:         counter("dsns_total", "Delivery status notifications made."),
		damaged:      counter("damaged_records_total", "Acknowledged records that could not be read back."),
		tornTails:    counter("torn_tails_total", "Segments that ended in an incomplete batch at start."),
		poisoned:     counter("poisoned_segments_total", "Segments given up after a failed write or sync."),
		compacted:    counter("compacted_records_total", "Live records copied forward to free their segment."),
		written:      counter("written_bytes_total", "Bytes written to the log."),
		undelivered:  counter("undeliverable_recipients_total", "Recipients held because they failed and no DSN may be sent. Look at them."),
		scrubbed:     counter("scrubbed_bytes_total", "Bytes of the spool that the background scrub has read and verified."),
		fsync:        histogram("fsync_duration_seconds", "Time of one fdatasync of the log.", 50e-6),
		commit:       histogram("commit_duration_seconds", "Time from Commit to its return.", 50e-6),
		batchRecords: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "mailweir", Subsystem: "queue", Name: "commit_batch_records", Help: "Records that shared one fdatasync.", Buckets: prometheus.ExponentialBuckets(1, 2, 12)}),
		state:        newStateCollector(),

		keysDestroyed: counter("keys_destroyed_total", "Epoch keys destroyed: what they sealed is unreadable for ever."),

		damagedSegments: counter("damaged_segments_total", "Segments in which the background scrub found damage."),
	}
	m.resolve()
	reg.MustRegister(m.recipients, m.attempts, m.refused, m.dsns, m.damaged, m.tornTails, m.poisoned,
		m.compacted, m.written, m.undelivered, m.scrubbed, m.damagedSegments, m.keysDestroyed, m.fsync, m.commit, m.batchRecords, m.state)
	return m
}

func (m *Metrics) resolve() {
	event := func(s string) prometheus.Counter { return m.recipients.WithLabelValues(s) }
	m.accepted, m.generated, m.recovered = event("accepted"), event("generated"), event("recovered")
	m.relayed, m.failed, m.discarded = event("relayed"), event("failed"), event("discarded")
	m.deleted, m.erased, m.damagedRcpts = event("deleted"), event("erased"), event("damaged")
	m.attemptRelayed = m.attempts.WithLabelValues("relayed")
	m.attemptDeferred = m.attempts.WithLabelValues("deferred")
	m.attemptFailed = m.attempts.WithLabelValues("failed")
	m.refusedSpace = m.refused.WithLabelValues("space")
	m.refusedPoisoned = m.refused.WithLabelValues("poisoned")
	m.refusedNotDurable = m.refused.WithLabelValues("not_durable")
}

func counterVec(name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "mailweir", Subsystem: "queue", Name: name, Help: help}, []string{label})
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "mailweir", Subsystem: "queue", Name: name, Help: help})
}

func histogram(name, help string, lowest float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "mailweir", Subsystem: "queue", Name: name, Help: help,
		Buckets: prometheus.ExponentialBuckets(lowest, 2, 16)})
}

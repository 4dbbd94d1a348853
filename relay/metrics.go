package relay

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/mail"
)

// Metrics of the relay. Children are resolved once, so that counting costs an
// atomic addition.
type Metrics struct {
	outcomes     [4][4]prometheus.Counter // by mail.Result and reply class
	attempt      [4]prometheus.Observer   // by the best result of the attempt
	connections  [len(connectResults)]prometheus.Counter
	connect      prometheus.Observer
	transactions [2]prometheus.Counter // new, kept
	open, idle   prometheus.Gauge
	handshakes   *prometheus.CounterVec // once a connection: looked up by version
	panics       prometheus.Counter
	failovers    prometheus.Counter
	stale        prometheus.Counter
	bytes        prometheus.Counter
	lookups      [len(findings)]prometheus.Counter // from mxFound on
}

// What became of a connection attempt.
const (
	connectOK = iota
	connectRefused
	connectTimeout
	connectBanner
	connectGreeting
	connectTLS
)

var (
	connectResults = [...]string{"ok", "error", "timeout", "banner", "greeting", "tls"}
	replyClasses   = [...]string{"none", "2yz", "4yz", "5yz"}
	handshakeEnds  = [...]string{"TLSv1.2", "TLSv1.3", "other", "failed"}
)

// NewMetrics makes the metrics and registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		open:      gauge("mailweir_relay_open_connections", "Connections to next hops, idle ones included."),
		idle:      gauge("mailweir_relay_idle_connections", "Connections to next hops that are kept open for the next message."),
		failovers: counter("mailweir_relay_failovers_total", "Times a next hop gave no service and the route had another one to try."),
		stale:     counter("mailweir_relay_stale_connections_total", "Kept connections that had died unnoticed and were replaced by a new one."),
		panics:    counter("mailweir_relay_panics_total", "Delivery attempts that ended with a panic: each is a bug. Their recipients are deferred."),
		bytes:     counter("mailweir_relay_sent_bytes_total", "Octets of message content sent to next hops, before dot-stuffing and encryption."),
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mailweir_relay_tls_handshakes_total",
			Help: "STARTTLS handshakes with next hops, by the version agreed on or failed."}, []string{"version"}),
	}
	m.register(reg)
	return m
}

func (m *Metrics) register(reg prometheus.Registerer) {
	outcomes := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mailweir_relay_outcomes_total",
		Help: "Outcomes of delivery attempts, one for each recipient, by result and class of the next hop's reply."}, []string{"result", "reply"})
	attempt := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "mailweir_relay_attempt_duration_seconds",
		Help: "Duration of delivery attempts by their best result.", Buckets: buckets}, []string{"result"})
	for r := mail.Relayed; r <= mail.Failed; r++ {
		m.attempt[r] = attempt.WithLabelValues(r.String())
		for class, name := range replyClasses {
			m.outcomes[r][class] = outcomes.WithLabelValues(r.String(), name)
		}
	}
	for _, version := range handshakeEnds {
		m.handshakes.WithLabelValues(version)
	}
	connections := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mailweir_relay_connections_total",
		Help: "Connection attempts to next hops by result: what failed, or ok."}, []string{"result"})
	for i, name := range connectResults {
		m.connections[i] = connections.WithLabelValues(name)
	}
	transactions := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mailweir_relay_transactions_total",
		Help: "Mail transactions with next hops, by whether the connection was new or kept."}, []string{"connection"})
	m.transactions[0], m.transactions[1] = transactions.WithLabelValues("new"), transactions.WithLabelValues("kept")
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mailweir_relay_mx_lookups_total",
		Help: "Delivery attempts by MX look-up, by what it found: hosts to connect to (found), or why none."}, []string{"result"})
	for what := mxFound; int(what) < len(findings); what++ {
		m.lookups[what] = lookups.WithLabelValues(findings[what])
	}
	connect := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "mailweir_relay_connect_duration_seconds",
		Help: "Time from dialing a next hop to the end of its greeting and TLS handshake.", Buckets: buckets})
	m.connect = connect
	reg.MustRegister(outcomes, attempt, connections, transactions, connect, lookups,
		m.open, m.idle, m.failovers, m.stale, m.bytes, m.handshakes, m.panics)
}

var buckets = []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 600}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

// outcome counts one recipient's outcome.
func (m *Metrics) outcome(o mail.Outcome) {
	class := 0
	switch {
	case o.Reply.Positive():
		class = 1
	case o.Reply.Transient():
		class = 2
	case o.Reply.Permanent():
		class = 3
	}
	m.outcomes[o.Result][class].Inc()
}

// connected counts a connection attempt that took d.
func (m *Metrics) connected(result int, d time.Duration) {
	m.connections[result].Inc()
	m.connect.Observe(d.Seconds())
}

package dns

import (
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What became of the cache in a look-up.
const (
	cacheMiss   = iota // a server was asked
	cacheHit           // the answer was there
	cacheShared        // another look-up of the same name was under way
)

var (
	typeNames   = [...]string{"A", "AAAA", "TXT", "MX", "PTR"}
	resultNames = [...]string{"found", "not_found", "temporary", "invalid"} // by Kind; 0 is no error
	cacheNames  = [...]string{"miss", "hit", "shared"}
)

// Metrics of one resolver. All children exist from the start, so that a rate
// of zero is visible too, and a hit costs one atomic addition.
type Metrics struct {
	lookups    [len(typeNames)][len(resultNames)][len(cacheNames)]prometheus.Counter
	duration   [len(typeNames)]prometheus.Observer
	ignored    prometheus.Counter
	validated  prometheus.Counter
	prefetches prometheus.Counter
	spent      prometheus.Counter
	handshakes *prometheus.CounterVec
	entries    prometheus.Gauge
	bytes      prometheus.Gauge
	failures   *prometheus.CounterVec
	up         *prometheus.GaugeVec
}

// NewMetrics registers the resolver's metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mailweir_dns_lookups_total",
		Help: "DNS look-ups by record type, result, and what the cache had.",
	}, []string{"type", "result", "cache"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "mailweir_dns_lookup_duration_seconds",
		Help:    "Time until a server's answer or the last failure, of look-ups that the cache could not answer.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2, 5},
	}, []string{"type"})
	m := &Metrics{
		ignored: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mailweir_dns_ignored_replies_total",
			Help: "Replies with another id or question than the query had, or too late: broken or forged.",
		}),
		validated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mailweir_dns_validated_answers_total",
			Help: "Answers, absences included, that a trusted DNS server says it has validated with DNSSEC.",
		}),
		prefetches: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mailweir_dns_prefetches_total",
			Help: "Look-ups that were begun ahead of their turn, so that nobody waits for one after the other.",
		}),
		spent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mailweir_dns_spent_lookups_total",
			Help: "Look-ups given up because those of the same message had used up their time: 20 s in all, 16 s of them for its client and envelope.",
		}),
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailweir_dns_tls_handshakes_total",
			Help: "TLS connections to a DNS server, by its place in the config and result.",
		}, []string{"server", "result"}),
		entries: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mailweir_dns_cache_entries", Help: "Answers in the DNS cache.",
		}),
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mailweir_dns_cache_bytes", Help: "Estimated memory of the DNS cache.",
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailweir_dns_server_failures_total",
			Help: "Queries that a DNS server did not answer properly, by its place in the config and reason.",
		}, []string{"server", "reason"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mailweir_dns_server_up",
			Help: "1 while a DNS server is asked in its turn, 0 while it is put behind the others.",
		}, []string{"server"}),
	}
	for t, tn := range typeNames {
		m.duration[t] = duration.WithLabelValues(tn)
		for r, rn := range resultNames {
			for c, cn := range cacheNames {
				m.lookups[t][r][c] = lookups.WithLabelValues(tn, rn, cn)
			}
		}
	}
	reg.MustRegister(lookups, duration, m.ignored, m.validated, m.prefetches, m.spent, m.handshakes, m.entries, m.bytes, m.failures, m.up)
	return m
}

func (m *Metrics) lookup(q Type, err *Error, cache int) {
	kind := Kind(0)
	if err != nil {
		kind = err.Kind
	}
	m.lookups[q][kind][cache].Inc()
}

func (m *Metrics) observe(q Type, d time.Duration) { m.duration[q].Observe(d.Seconds()) }

func (m *Metrics) handshake(server string, err error) {
	result := handshakes[0]
	if err != nil {
		result = handshakes[1]
	}
	m.handshakes.WithLabelValues(server, result).Inc()
}

// Servers forgets the servers above n: after a reload with fewer of them
// nobody would say any more whether they are up.
func (m *Metrics) Servers(n int) {
	for place := n + 1; m.up.DeleteLabelValues(strconv.Itoa(place)); place++ {
		m.failures.DeletePartialMatch(prometheus.Labels{"server": strconv.Itoa(place)})
		m.handshakes.DeletePartialMatch(prometheus.Labels{"server": strconv.Itoa(place)})
	}
}

// handshakes are the results of TLS handshakes.
var handshakes = [...]string{"ok", "failed"}

// reasons are the values of reason.
var reasons = [...]string{"timeout", "servfail", "refused", "garbage", "network", "tls"}

// reason is the closed set of words for what a server did wrong.
func reason(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, errLate):
		return "timeout"
	case errors.Is(err, errServFail):
		return "servfail"
	case errors.Is(err, errRefused):
		return "refused"
	case errors.Is(err, errGarbage):
		return "garbage"
	case isTLS(err):
		return "tls"
	}
	return "network"
}

package dns

import (
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// How long a failed server stays behind the others before it is probed:
// doubled at each failed probe.
const (
	minBehind = 5 * time.Second
	maxBehind = time.Minute
)

// server is a recursive server with its circuit breaker. A server that is
// behind is still asked when the ones before it fail: late is better than not.
type server struct {
	endpoint
	trusted bool     // its AD bit is believed
	secured *secured // nil: it is asked in clear text
	label   string   // its place in the config: an address is no metric label
	metrics *Metrics
	up      prometheus.Gauge
	logger  *slog.Logger

	mu     sync.Mutex
	behind time.Duration // 0 while it is asked in its turn
	until  time.Time     // when it is probed next
	lastOK time.Time
}

func newServer(e endpoint, place int, m *Metrics, logger *slog.Logger) *server {
	s := &server{endpoint: e, label: strconv.Itoa(place + 1), metrics: m, logger: logger}
	s.up = m.up.WithLabelValues(s.label)
	s.up.Set(1)
	for _, result := range handshakes {
		m.handshakes.WithLabelValues(s.label, result)
	}
	for _, why := range reasons {
		m.failures.WithLabelValues(s.label, why)
	}
	return s
}

// ok notes a proper reply.
func (s *server) ok() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastOK = time.Now()
	if s.behind > 0 {
		s.behind = 0
		s.up.Set(1)
		s.logger.Info("dns server answers again", "server", s.addr)
	}
}

// failed notes that a query sent at since had no proper reply. A server that
// has answered another query meanwhile is alive: it was the name that is slow.
func (s *server) failed(err error, since time.Time) {
	why := reason(err)
	s.metrics.failures.WithLabelValues(s.label, why).Inc()
	if why == "servfail" {
		return // it answers; what it asks did not
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.lastOK.After(since) || now.Before(s.until) {
		return
	}
	if s.behind == 0 {
		s.up.Set(0)
		s.logger.Warn("dns server does not answer, put behind the others", "server", s.addr, "reason", why, "error", err)
	}
	s.behind = min(max(2*s.behind, minBehind), maxBehind)
	s.until = now.Add(s.behind)
}

// state tells whether the server is behind, and whether the caller is the one
// to probe it now.
func (s *server) state(now time.Time) (behind, probe bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.behind == 0 {
		return false, false
	}
	if now.Before(s.until) {
		return true, false
	}
	s.behind = min(2*s.behind, maxBehind)
	s.until = now.Add(s.behind) // nobody else probes meanwhile
	return true, true
}

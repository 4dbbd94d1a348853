package smtpd

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of the engine. All labels come from closed sets, and every child is
// resolved once, here.
type Metrics struct {
	connections map[connResult]prometheus.Counter
	open        prometheus.Gauge
	commands    map[string]prometheus.Counter
	replies     [600]prometheus.Counter // by code; nil is otherReply
	otherReply  prometheus.Counter
	tls         map[tlsResult]prometheus.Counter
	panics      prometheus.Counter
	errors      map[connError]prometheus.Counter
	received    prometheus.Counter
	early       prometheus.Counter
	auth        map[authResult]prometheus.Counter
	shutdown    prometheus.Counter
}

// connResult is what became of a TCP connection before its banner.
type connResult string

const (
	connAccepted       connResult = "accepted"
	connTooMany        connResult = "too_many"
	connTooManyNetwork connResult = "too_many_network"
	connProxyError     connResult = "proxy_error"
	connTLSError       connResult = "tls_error"
	connRefused        connResult = "refused" // by the session: Opener.Open failed
)

// authResult is what became of an AUTH that had credentials.
type authResult string

const (
	authOK       authResult = "ok"
	authFailed   authResult = "failed"
	authDeferred authResult = "deferred" // too many guesses, or no time
)

// connError is why a session ended other than by QUIT or a plain close.
type connError string

const (
	errorTimeout   connError = "timeout"   // of a command, of data, of the session
	errorIO        connError = "io"        // reset by the peer and the like
	errorTooMany   connError = "too_many"  // errors or commands over their limit
	errorSync      connError = "sync"      // did not wait for a reply where it must
	errorSyntax    connError = "syntax"    // third malformed line
	errorOversize  connError = "oversize"  // went on far over a limit
	errorTruncated connError = "truncated" // the connection ended inside a message
)

// tlsResult labels a handshake; a failed one has no version.
type tlsResult struct{ version, result string }

var (
	tlsResults  = []tlsResult{{"TLSv1.2", "ok"}, {"TLSv1.3", "ok"}, tlsOther, tlsFailed}
	tlsOther    = tlsResult{"other", "ok"}
	tlsFailed   = tlsResult{"none", "error"}
	connResults = []connResult{connAccepted, connTooMany, connTooManyNetwork, connProxyError, connTLSError, connRefused}
	connErrors  = []connError{errorTimeout, errorIO, errorTooMany, errorSync, errorSyntax, errorOversize, errorTruncated}
	replyCodes  = []int{214, 220, 221, 235, 250, 252, 334, 354, 421, 450, 451, 452, 454, 500, 501, 502, 503, 504, 521, 530, 535, 538, 550, 551, 552, 553, 554, 555, 556}
)

// NewMetrics registers the engine's metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		connections: make(map[connResult]prometheus.Counter),
		commands:    make(map[string]prometheus.Counter),
		errors:      make(map[connError]prometheus.Counter),
		tls:         make(map[tlsResult]prometheus.Counter),
	}
	connections := counterVec(reg, "connections_total", "TCP connections, by what became of them before the banner.", "result")
	for _, r := range connResults {
		m.connections[r] = connections.WithLabelValues(string(r))
	}
	verbs := counterVec(reg, "commands_total", "SMTP commands received; other is everything unknown.", "verb")
	for verb := range commands() {
		m.commands[verb] = verbs.WithLabelValues(verb)
	}
	m.commands[""] = verbs.WithLabelValues("other")
	replies := counterVec(reg, "replies_total", "SMTP replies sent.", "code")
	for _, code := range replyCodes {
		m.replies[code] = replies.WithLabelValues(strconv.Itoa(code))
	}
	m.otherReply = replies.WithLabelValues("other")
	errors := counterVec(reg, "session_errors_total", "Sessions that ended other than by QUIT or a plain close.", "reason")
	for _, r := range connErrors {
		m.errors[r] = errors.WithLabelValues(string(r))
	}
	handshakes := counterVec(reg, "tls_handshakes_total", "TLS handshakes with clients, by version and result.", "version", "result")
	for _, r := range tlsResults {
		m.tls[r] = handshakes.WithLabelValues(r.version, r.result)
	}
	logins := counterVec(reg, "auth_total", "Log-ins with a password on listeners for outgoing mail, by result.", "result")
	m.auth = make(map[authResult]prometheus.Counter)
	for _, r := range []authResult{authOK, authFailed, authDeferred} {
		m.auth[r] = logins.WithLabelValues(string(r))
	}
	m.panics = counter(reg, "panics_total", "Sessions that ended with a panic: each is a bug.")
	m.received = counter(reg, "received_bytes_total", "Octets read from clients, after decryption.")
	m.early = counter(reg, "early_talkers_total", "Clients that sent something before the banner.")
	m.shutdown = counter(reg, "shutdowns_total", "Sessions ended with 421 because the service shuts down.")
	m.open = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "mailweir", Subsystem: "smtpd", Name: "open_connections", Help: "TCP connections open now.",
	})
	reg.MustRegister(m.open)
	return m
}

func counterVec(reg prometheus.Registerer, name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "mailweir", Subsystem: "smtpd", Name: name, Help: help,
	}, labels)
	reg.MustRegister(v)
	return v
}

func counter(reg prometheus.Registerer, name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "mailweir", Subsystem: "smtpd", Name: name, Help: help,
	})
	reg.MustRegister(c)
	return c
}

func (m *Metrics) handshake(version string) {
	c := m.tls[tlsResult{version, "ok"}]
	if c == nil {
		c = m.tls[tlsOther]
	}
	c.Inc()
}

func (m *Metrics) reply(code int) {
	if code >= 0 && code < len(m.replies) && m.replies[code] != nil {
		m.replies[code].Inc()
		return
	}
	m.otherReply.Inc()
}

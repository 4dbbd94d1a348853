// Package metrics is what an operator's machines read: the Prometheus
// registry, and the HTTP server with /metrics, /healthz and /readyz.
//
// Every other package makes its own collectors with NewMetrics(registerer) and
// knows nothing of HTTP; there is no global registry. Two questions are kept
// apart on purpose. /healthz asks "is the process alive": a supervisor restarts
// what fails it, so it never looks at a dependency. /readyz asks "should mail
// be sent here": it is 503 only for a part without which mail cannot be taken,
// and lists parts that are merely degraded (no virus scanner, one DNS list
// switched off) with a 200, because taking such a gateway out of service would
// turn a small fault into an outage.
package metrics

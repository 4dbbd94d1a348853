package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"mailweir/internal/config"
	"mailweir/internal/dns"
	"mailweir/internal/memo"
	"mailweir/queue"
	"mailweir/relay"
	"mailweir/report"
	"mailweir/smtpd"
)

// gatewayMetrics are the metrics of all parts, registered once.
type gatewayMetrics struct {
	judge   *instruments
	smtpd   *smtpd.Metrics
	session *smtpd.SessionMetrics
	queue   *queue.Metrics
	relay   *relay.Metrics
	report  *report.Metrics
	memo    *memo.Metrics
	replies *prometheus.CounterVec
	reloads struct {
		done, failed prometheus.Counter
		ok, at       prometheus.Gauge
	}
	registry prometheus.Registerer
}

func newGatewayMetrics(reg prometheus.Registerer) *gatewayMetrics {
	m := &gatewayMetrics{
		judge: newInstruments(reg), smtpd: smtpd.NewMetrics(reg), session: smtpd.NewSessionMetrics(reg),
		queue: queue.NewMetrics(reg), relay: relay.NewMetrics(reg), report: report.NewMetrics(reg), replies: newReplyMetrics(reg),
		memo: memo.NewMetrics(reg, greylistTable, reputationTable), registry: reg,
	}
	reloads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mailweir_config_reloads_total", Help: "Reloads of the config by result."}, []string{"result"})
	m.reloads.done, m.reloads.failed = reloads.WithLabelValues("ok"), reloads.WithLabelValues("failed")
	m.reloads.ok = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mailweir_config_last_reload_successful", Help: "1 unless the last reload failed and the old settings are in force."})
	m.reloads.at = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mailweir_config_last_reload_success_timestamp_seconds", Help: "When the settings in force were read."})
	m.reloads.ok.Set(1)
	m.reloads.at.SetToCurrentTime()
	reg.MustRegister(reloads, m.reloads.ok, m.reloads.at)
	return m
}

// inForce tells the metrics what the config in force has: of a scanner or a
// list that a reload took away nobody must say that it is down.
func (m *gatewayMetrics) inForce(cfg *config.Config, resolver *dns.Resolver) {
	m.judge.clamav.Configured(cfg.ClamAV.Address != "")
	m.judge.engine.Engines(engineNames(cfg))
	names := make([]string, len(cfg.DNSBL))
	for k, z := range cfg.DNSBL {
		names[k] = string(z.Zone)
	}
	for _, z := range cfg.URIBL {
		names = append(names, string(z.Zone))
	}
	m.judge.dnsbl.Zones(names)
	m.judge.dns.Servers(resolver.Servers())
}

// certificate exports when the certificate in use ends.
func (m *gatewayMetrics) certificate(c *smtpd.Certificates) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mailweir_tls_certificate_expiry_timestamp_seconds",
		Help: "When the certificate that clients get ends to be valid.",
	}, func() float64 { return float64(c.NotAfter().Unix()) }))
}

package smtpd

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"mailweir/filter/effect"
)

// SessionMetrics count what became of messages.
type SessionMetrics struct {
	messages *prometheus.CounterVec
	refusals *prometheus.CounterVec
	effects  *prometheus.CounterVec
	afterDot prometheus.Histogram
	size     prometheus.Histogram
	rates    *prometheus.CounterVec
}

// NewSessionMetrics registers them.
func NewSessionMetrics(reg prometheus.Registerer) *SessionMetrics {
	m := &SessionMetrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailweir_smtpd_messages_total",
			Help: "Transactions by result (accepted, deferred, rejected, aborted) and by the action of the verdict.",
		}, []string{"result", "action"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailweir_smtpd_refusals_total",
			Help: "Negative replies to recipients and messages, by reply code and reason.",
		}, []string{"code", "reason"}),
		effects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mailweir_smtpd_rule_effects_total",
			Help: "What rules did with accepted messages, for each recipient, by the effect and whether it was done or skipped.",
		}, []string{"effect", "result"}),
		afterDot: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "mailweir_smtpd_after_dot_seconds",
			Help:    "Time from the final dot to the reply: what the checks and the disk add.",
			Buckets: prometheus.ExponentialBuckets(0.00025, 2.5, 14), // 0.25 ms to 37 s
		}),
		size: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "mailweir_smtpd_message_size_bytes",
			Help:    "Size of accepted messages.",
			Buckets: prometheus.ExponentialBuckets(1024, 4, 9), // 1 KiB to 64 MiB
		}),
	}
	m.rates = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mailweir_smtpd_rate_refusals_total",
		Help: "Messages and recipients that were deferred by a rate limit, by whose limit it is.",
	}, []string{"by", "what"})
	reg.MustRegister(m.messages, m.refusals, m.effects, m.afterDot, m.size, m.rates)
	m.begin()
	return m
}

// begin makes the series that rate() and alerts look at exist from the start:
// the first increment of a series that appears with it is seen by nobody.
func (m *SessionMetrics) begin() {
	for _, v := range [][2]string{
		{"accepted", "accept"}, {"accepted", "tag"}, {"accepted", "strip"}, {"accepted", "quarantine"}, {"accepted", "discard"},
		{"deferred", "defer"}, {"rejected", "reject"}, {"aborted", "none"},
	} {
		m.messages.WithLabelValues(v[0], v[1])
	}
	for _, kind := range effect.Kinds() {
		m.effects.WithLabelValues(kind, "done")
		m.effects.WithLabelValues(kind, "skipped")
	}
	for _, by := range []RateBy{ByClient, ByNetwork, BySenderDomain, ByUser} {
		for _, what := range rateWords {
			m.rates.WithLabelValues(string(by), what)
		}
	}
	for reason, codes := range refusalCodes {
		for _, code := range codes {
			m.refusals.WithLabelValues(strconv.Itoa(code), reason)
		}
	}
}

// refusalCodes are the reasons of refusals and the codes that go with them.
var refusalCodes = map[string][]int{
	"relay_denied":       {replyRelayDenied.Code},
	"unknown_recipient":  {replyUnknownRecipient.Code},
	"verify_unavailable": {replyVerifyFailed.Code},
	"listed":             {replyListed.Code},
	"spam":               {replySpam.Code},
	"virus":              {replyVirus.Code},
	"oversize":           {replyOversize.Code},
	"scanner":            {replyScanner.Code},
	"dmarc":              {replyDMARC.Code},
	"attachment":         {replyExecutable.Code},
	"structure":          {replyOneFrom.Code},
	"dns":                {replyDNS.Code},
	"greylist":           {replyGreylist.Code},
	"rule":               {450, 451, 452, 550, 551, 552, 553, replyRule.Code},
	"blocked":            {replyBlocked.Code},
	"refused_data":       {replyBare.Code, replyTooBig.Code, replyTooManyHops.Code},
	"not_queued":         {replyNotQueued.Code, replyNoSpace.Code},
	reasonRate:           {replyRate.Code, replyRateLate.Code},
	"no_space":           {replyNoSpace.Code},
	"auth_required":      {replyAuthRequired.Code},
	"sender_denied":      {replySenderDenied.Code, replyFromDenied.Code},
}

func (m *SessionMetrics) message(result, action string) {
	if action == "" {
		action = "none"
	}
	m.messages.WithLabelValues(result, action).Inc()
}

// effect counts what a rule did, or could not do.
func (m *SessionMetrics) effect(e *effect.Effect) {
	result := "done"
	if e.Skipped != "" {
		result = "skipped"
	}
	m.effects.WithLabelValues(e.Kind(), result).Inc()
}

// refused counts a negative reply. Reasons are words of this package and of
// filter.Reason.
func (m *SessionMetrics) refused(reason string, code int) {
	m.refusals.WithLabelValues(strconv.Itoa(code), reason).Inc()
}

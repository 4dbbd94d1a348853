package smtpd

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	s := memServer(&desk{}, func(o *Options) { o.Metrics = m })
	run(t, s, ListenerOptions{}, pieces(preamble+"DATA\r\n", "x\r\n.\r\n", "data x\r\nXYZZY\r\nQUIT\r\n"))
	for name, want := range map[string]float64{
		"connections": testutil.ToFloat64(m.connections[connAccepted]) - 1,
		"open":        testutil.ToFloat64(m.open),
		"MAIL":        testutil.ToFloat64(m.commands["MAIL"]) - 1,
		"DATA":        testutil.ToFloat64(m.commands["DATA"]) - 2,
		"other":       testutil.ToFloat64(m.commands[""]) - 1,
		"354":         testutil.ToFloat64(m.replies[354]) - 1,
		"250":         testutil.ToFloat64(m.replies[250]) - 4,
		"received":    testutil.ToFloat64(m.received) - float64(len(preamble+"DATA\r\nx\r\n.\r\ndata x\r\nXYZZY\r\nQUIT\r\n")),
	} {
		if want != 0 {
			t.Errorf("%s is off by %v", name, want)
		}
	}
	// Every code of the table has its own series.
	for _, r := range []Reply{replyBye, replyTooBusy, replySyntax, replyNotImplemented, replyBadArgument, replyUnknownParam,
		replyNeedHelo, replyNeedUTF8, replyVrfy, replyHelp, replySync, replyTLSUnavailable, replyXclientRefused, replyStart,
		replyTooBig, replyTooManyRcpts, replyVerifyFailed, replyUnknownRecipient} {
		if m.replies[r.Code] == nil {
			t.Errorf("%d is counted as other", r.Code)
		}
	}
}

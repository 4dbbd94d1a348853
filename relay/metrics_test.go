package relay

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"mailweir/internal/mailtest"
	"mailweir/mail"
)

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	sink := mailtest.NewSink(t, mailtest.SinkOptions{On: rcptScript(map[string]string{"no": "550 5.1.1 No", "later": "450 Later"})})
	r := newRelay(t, Options{Metrics: m}, deadAddress(t), sink.Addr())
	for range 2 {
		deliver(t, r, message("x\r\n", "a@example.net", "b@example.net", "no@example.net", "later@example.net"))
	}
	dead := newRelay(t, Options{Metrics: m}, deadAddress(t))
	deliver(t, dead, message("x\r\n", "a@example.net"))
	want := `
# HELP mailweir_relay_connections_total Connection attempts to next hops by result: what failed, or ok.
# TYPE mailweir_relay_connections_total counter
mailweir_relay_connections_total{result="banner"} 0
mailweir_relay_connections_total{result="error"} 2
mailweir_relay_connections_total{result="greeting"} 0
mailweir_relay_connections_total{result="ok"} 1
mailweir_relay_connections_total{result="timeout"} 0
mailweir_relay_connections_total{result="tls"} 0
# HELP mailweir_relay_failovers_total Times a next hop gave no service and the route had another one to try.
# TYPE mailweir_relay_failovers_total counter
mailweir_relay_failovers_total 1
# HELP mailweir_relay_idle_connections Connections to next hops that are kept open for the next message.
# TYPE mailweir_relay_idle_connections gauge
mailweir_relay_idle_connections 1
# HELP mailweir_relay_open_connections Connections to next hops, idle ones included.
# TYPE mailweir_relay_open_connections gauge
mailweir_relay_open_connections 1
# HELP mailweir_relay_transactions_total Mail transactions with next hops, by whether the connection was new or kept.
# TYPE mailweir_relay_transactions_total counter
mailweir_relay_transactions_total{connection="kept"} 1
mailweir_relay_transactions_total{connection="new"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "mailweir_relay_connections_total", "mailweir_relay_failovers_total",
		"mailweir_relay_idle_connections", "mailweir_relay_open_connections", "mailweir_relay_transactions_total"); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		result mail.Result
		class  int
		want   float64
	}{{mail.Relayed, 1, 4}, {mail.Failed, 3, 2}, {mail.Deferred, 2, 2}, {mail.Deferred, 0, 1}} {
		if got := testutil.ToFloat64(m.outcomes[c.result][c.class]); got != c.want {
			t.Errorf("outcomes %s %s: %v, want %v", c.result, replyClasses[c.class], got, c.want)
		}
	}
	if got, want := testutil.ToFloat64(m.bytes), float64(2*len("Subject: test\r\n\r\nx\r\n")); got != want {
		t.Errorf("%v bytes sent, want %v", got, want)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

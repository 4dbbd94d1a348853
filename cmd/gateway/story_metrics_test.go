package main

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// TestMetricsOfUnusedGateway: a scrape of a gateway that has done nothing has
// all the series that rate() and alerts need.
func TestMetricsOfUnusedGateway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	w.write("gateway.toml", plainConfig)
	w.start()
	families, err := w.gw.scrape()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"mailweir_build_info", "mailweir_smtpd_messages_total", "mailweir_queue_messages", "mailweir_queue_oldest_age_seconds",
		"mailweir_queue_ledger_imbalance", "mailweir_queue_fsync_duration_seconds", "mailweir_config_last_reload_successful",
	} {
		if families[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	for name := range families {
		if !strings.HasPrefix(name, "mailweir_") && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") && !strings.HasPrefix(name, "promhttp_") {
			t.Errorf("a metric named %s", name)
		}
	}
}

// TestPromtool: what Prometheus's own tool thinks of /metrics, after some
// traffic.
func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool := tool(t, "promtool")
	w := newWorld(t, t.TempDir())
	w.write("gateway.toml", plainConfig+"\n[[dnsbl]]\nzone = \"bl.example\"\nscore = 5.0\n")
	w.start()
	for _, to := range []string{"bob@example.org", "bob@elsewhere.example"} {
		if _, _, err := w.post(&letter{listen: "Listen", xclient: "ADDR=192.0.2.10", helo: "client.example",
			from: "alice@sender.example", to: []string{to}, msg: []byte(smallMessage)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.sinks["Sink"].wait(1, patience); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + w.names["Metrics"] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = resp.Body
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

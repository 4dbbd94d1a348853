package configs_test

import (
	"os"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// TestReloadForgets: of a scanner, a list or a DNS server that a reload took
// away nobody may go on to say that it is down; and a reload that failed is
// told.
func TestReloadForgets(t *testing.T) {
	g := startGateway(t)
	if v := g.value(t, "mailweir_clamav_configured"); v != 1 {
		t.Fatalf("configured is %v", v)
	}
	text, err := os.ReadFile(g.config)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`(?s)\[clamav\].*\[metrics\]`).ReplaceAll(text, []byte("[metrics]"))
	g.reload(t, text, 1)
	if v := g.value(t, "mailweir_clamav_configured"); v != 0 {
		t.Errorf("without [clamav] configured is %v", v)
	}
	if m := parseExposition(t, g.exposition(t))["mailweir_dnsbl_zone_up"]; m != nil {
		t.Errorf("without [[dnsbl]] there is %v", m)
	}
	g.reload(t, append(text, "nonsense = 1\n"...), 0)
	if v := g.value(t, "mailweir_config_reloads_total"); v != 1 { // the first series is result="failed"
		t.Errorf("%v reloads failed, want 1", v)
	}
}

// reload puts another config in place and waits until the gateway has taken
// (1) or refused (0) it.
func (g *gateway) reload(t *testing.T, config []byte, successful float64) {
	t.Helper()
	const ended = "mailweir_config_reloads_total"
	count := func() (n float64) {
		for _, m := range parseExposition(t, g.exposition(t))[ended].GetMetric() {
			n += m.GetCounter().GetValue()
		}
		return n
	}
	before := count()
	if err := os.WriteFile(g.config, config, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); count() == before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the reload does not end")
		}
	}
	if v := g.value(t, "mailweir_config_last_reload_successful"); v != successful {
		t.Fatalf("the reload's success is %v, want %v", v, successful)
	}
}

// value is that of a metric's first series.
func (g *gateway) value(t *testing.T, name string) float64 {
	t.Helper()
	series := parseExposition(t, g.exposition(t))[name].GetMetric()
	if len(series) == 0 {
		t.Fatalf("%s is not exported", name)
	}
	return series[0].GetGauge().GetValue() + series[0].GetCounter().GetValue()
}

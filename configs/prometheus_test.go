package configs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailweir/internal/mailtest"
)

func promtool(t *testing.T, stdin []byte, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		mailtest.SkipHarness(t, "promtool is not installed (package prometheus)")
	}
	cmd := exec.Command("promtool", args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil || stdin != nil && len(bytes.TrimSpace(out)) > 0 { // it warns with exit status 0
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestPromtool(t *testing.T) {
	promtool(t, nil, "check", "config", "prometheus/prometheus.yml") // and the rules in it
	promtool(t, nil, "check", "rules", "--lint-fatal", alertsFile)
	promtool(t, nil, "test", "rules", "prometheus/alerts_test.yml")
	g := startGateway(t)
	promtool(t, g.exposition(t), "check", "metrics")
	g.traffic(t)
	promtool(t, g.exposition(t), "check", "metrics")
}

// TestAlertsAreTested: for each alert a time when it fires and one when it
// does not.
func TestAlertsAreTested(t *testing.T) {
	rules, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("prometheus/alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	alerts := regexp.MustCompile(`- alert: (\w+)`).FindAllSubmatch(rules, -1)
	if len(alerts) < 15 {
		t.Fatalf("only %d alerts", len(alerts))
	}
	for _, m := range alerts {
		query := fmt.Sprintf(`expr: ALERTS\{alertname="%s",alertstate="firing"\}\s+eval_time: \w+\s+exp_samples:`, m[1])
		for what, after := range map[string]string{"fires": `\s+- \{labels: 'ALERTS`, "does not fire": ` \[\]`} {
			if !regexp.MustCompile(query + after).Match(tests) {
				t.Errorf("no test shows when %s %s", m[1], what)
			}
		}
	}
}

// promServer is a real Prometheus that scrapes a gateway.
type promServer struct {
	t    *testing.T
	addr string
}

const scrapeConfig = `
global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 500ms}
rule_files: [%q]
scrape_configs:
  - job_name: mailweir
    static_configs: [{targets: [%q]}]
`

func startPrometheus(t *testing.T, target string) *promServer {
	t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		mailtest.SkipHarness(t, "prometheus is not installed (package prometheus)")
	}
	dir := t.TempDir()
	rules, err := filepath.Abs(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, scrapeConfig, rules, target), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &promServer{t: t, addr: freeAddress(t)}
	var log bytes.Buffer
	cmd := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+p.addr, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus:\n%s", &log)
		}
	})
	return p
}

// freeAddress is a port that was free a moment ago: prometheus does not tell
// which one it takes when it is given 0.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// get asks the HTTP API and decodes the answer's data.
func (p *promServer) get(path string, data any) error {
	resp, err := http.Get("http://" + p.addr + "/api/v1/" + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", answer.Status, answer.Error)
	}
	return nil
}

type sample struct {
	Metric map[string]string
	Value  [2]any // time and text
}

func (p *promServer) query(expr string) ([]sample, error) {
	var data struct{ Result []sample }
	err := p.get("query?query="+url.QueryEscape(expr), &data)
	return data.Result, err
}

// has polls until expr has a result: on a busy machine a scrape may come too
// late, and all series are gone until the next one.
func (p *promServer) has(expr string, within time.Duration) error {
	for end := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) {
		result, err := p.query(expr)
		if err == nil && len(result) > 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s stays without result: %v", expr, err)
		}
	}
}

func (p *promServer) wait(expr string) {
	p.t.Helper()
	if err := p.has(expr, patience); err != nil {
		p.t.Fatal(err)
	}
}

// selector is a metric with what it is selected by.
var selector = regexp.MustCompile(`\b(?:mailweir_[a-z0-9_]+|up)\b(?:\{[^}]*\})?`)

// TestPrometheus lets the real one scrape the gateway, ask all that the
// dashboard asks, and evaluate the alerts.
func TestPrometheus(t *testing.T) {
	g := startGateway(t)
	p := startPrometheus(t, g.metrics)
	p.wait(`up{job="mailweir"} == 1`)
	g.traffic(t)
	p.wait(`sum(increase(mailweir_smtpd_messages_total{result="accepted"}[1m])) > 0`)
	p.wait(`rate(mailweir_relay_outcomes_total{result="relayed"}[1m]) > 0`)
	expressions := loadDashboard(t).expressions()
	for where, expr := range p.alerts() {
		expressions[where] = expr
	}
	for where, expr := range expressions {
		if _, err := p.query(expr); err != nil {
			t.Errorf("%s: %v\n%s", where, err, expr)
		}
		for _, s := range selector.FindAllString(expr, -1) {
			// A misspelt label or value selects nothing, and no error says so.
			if err := p.has("count("+s+")", 5*time.Second); err != nil {
				t.Errorf("%s: %v", where, err)
			}
		}
	}
}

// alerts are the expressions of the rules, each evaluated without an error and
// with all that a pager needs.
func (p *promServer) alerts() map[string]string {
	p.t.Helper()
	p.wait("ALERTS") // the scanner that is not there: the rules are evaluated
	var data struct {
		Groups []struct {
			Rules []struct {
				Name, Query, Health, LastError string
				Labels, Annotations            map[string]string
			}
		}
	}
	if err := p.get("rules", &data); err != nil {
		p.t.Fatal(err)
	}
	all := make(map[string]string)
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			all["alert "+r.Name] = r.Query
			if r.LastError != "" || r.Health == "err" {
				p.t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
			}
			for _, key := range []string{"summary", "description", "action"} {
				if r.Annotations[key] == "" {
					p.t.Errorf("%s has no %s", r.Name, key)
				}
			}
			if s := r.Labels["severity"]; s != "warning" && s != "critical" {
				p.t.Errorf("%s has severity %q", r.Name, s)
			}
		}
	}
	if len(all) < 15 {
		p.t.Errorf("only %d rules are loaded", len(all))
	}
	return all
}

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// process is a running `gateway run`.
type process struct {
	t       testing.TB
	metrics string // address
	cmd     *exec.Cmd
	ended   chan struct{}
	err     error // of Wait, once ended is closed

	mu      sync.Mutex
	log     []string
	changed chan struct{}
}

// patience is how long a test waits for something that takes milliseconds on
// an idle machine.
const patience = 20 * time.Second

func startProcess(t testing.TB, binary, config, metrics string, files []*os.File) *process {
	t.Helper()
	p := launch(t, binary, config, metrics, files)
	select {
	case <-p.ended:
		t.Fatalf("the gateway ended at once: %v\n%s", p.err, strings.Join(p.lines(), "\n"))
	case <-p.seen(`"msg":"ready"`, 0):
	case <-time.After(patience):
		p.kill()
		t.Fatalf("the gateway was not ready in %v\n%s", patience, strings.Join(p.lines(), "\n"))
	}
	return p
}

// launch starts the process and waits for nothing.
func launch(t testing.TB, binary, config, metrics string, files []*os.File) *process {
	t.Helper()
	p := &process{t: t, metrics: metrics, ended: make(chan struct{}), changed: make(chan struct{})}
	p.cmd = exec.Command(binary, "run", "--config", config)
	if len(files) > 0 { // LISTEN_PID must be the pid of the gateway itself
		p.cmd = exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", binary, "run", "--config", config)
		p.cmd.Env = append(os.Environ(), fmt.Sprintf("LISTEN_FDS=%d", len(files)))
		p.cmd.ExtraFiles = files
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read(stderr)
	t.Cleanup(p.end)
	return p
}

// end is the end of the test: a gateway that still runs must be sound, and
// must stop in order.
func (p *process) end() {
	if p.running() && !p.t.Failed() {
		if err := p.stop(); err != nil {
			p.t.Errorf("%v", err)
		}
	}
	p.kill()
	if p.t.Failed() {
		p.t.Logf("the gateway's log:\n%s", strings.Join(p.lines(), "\n"))
	}
}

func (p *process) read(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		p.mu.Lock()
		p.log = append(p.log, s.Text())
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
	p.err = p.cmd.Wait()
	close(p.ended)
}

func (p *process) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.log...)
}

// seen is closed when a log line matches, from the given line on.
func (p *process) seen(pattern string, from int) <-chan struct{} {
	re := regexp.MustCompile(pattern)
	found := make(chan struct{})
	go func() {
		for {
			p.mu.Lock()
			lines, changed := p.log[min(from, len(p.log)):], p.changed
			p.mu.Unlock()
			for _, line := range lines {
				if re.MatchString(line) {
					close(found)
					return
				}
			}
			select {
			case <-changed:
			case <-p.ended:
				return
			}
		}
	}()
	return found
}

// waitLog waits for a log line from the given one on.
func (p *process) waitLog(pattern string, from int) error {
	select {
	case <-p.seen(pattern, from):
		return nil
	case <-time.After(patience):
		return fmt.Errorf("no log line like %s", pattern)
	}
}

func (p *process) signal(s syscall.Signal) { p.cmd.Process.Signal(s) }

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// stop ends it in order, after looking at what must hold at any time.
func (p *process) stop() error {
	if err := p.sound(); err != nil {
		return err
	}
	return p.terminate()
}

// terminate is stop under load.
func (p *process) terminate() error {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(patience):
		return fmt.Errorf("the gateway did not stop in %v after SIGTERM", patience)
	}
	if p.err != nil {
		return fmt.Errorf("the gateway did not stop in order: %w", p.err)
	}
	return p.logIsSound()
}

// sound checks the ledger: nobody was lost from the accounts (DESIGN, law 8).
func (p *process) sound() error {
	if p.metrics == "" {
		return nil
	}
	// What a client has just ended is counted and logged a little later, also
	// between the two looks at it. On a machine that stands still one look may
	// take all of the time: there are some in any case.
	var counted, logged float64
	deadline := time.Now().Add(patience)
	for looks := 0; looks < 20 || time.Now().Before(deadline); looks++ {
		if looks > 0 {
			time.Sleep(5 * time.Millisecond)
		}
		families, err := p.scrape()
		if err != nil {
			return err
		}
		if v := sumOf(families, "mailweir_queue_ledger_imbalance", nil); v != 0 {
			return fmt.Errorf("the ledger is out of balance by %v", v)
		}
		counted, logged = sumOf(families, "mailweir_smtpd_messages_total", nil), float64(p.count(`"msg":"transaction"`))
		if logged == counted {
			return nil
		}
	}
	return fmt.Errorf("%v transactions were counted, %v logged", counted, logged)
}

func (p *process) count(text string) int {
	n := 0
	for _, line := range p.lines() {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// logIsSound: every line is a JSON object with time, level and text.
func (p *process) logIsSound() error {
	ids := map[string]bool{}
	for _, line := range p.lines() {
		var entry struct{ Time, Level, Msg, ID string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Time == "" || entry.Level == "" || entry.Msg == "" {
			return fmt.Errorf("not a log line: %v\n%s", err, line)
		}
		if entry.Msg == "transaction" {
			if ids[entry.ID] {
				return fmt.Errorf("transaction %s was logged twice", entry.ID)
			}
			ids[entry.ID] = true
		}
		if strings.Contains(line, "panic") {
			return fmt.Errorf("the log tells of a panic: %s", line)
		}
	}
	return nil
}

// scrape reads /metrics with Prometheus's own parser.
func (p *process) scrape() (map[string]*dto.MetricFamily, error) {
	resp, err := http.Get("http://" + p.metrics + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	return parser.TextToMetricFamilies(resp.Body)
}

// sumOf adds up the series of a family that have the given labels. Of a
// histogram it is the number of observations.
func sumOf(families map[string]*dto.MetricFamily, name string, labels map[string]string) float64 {
	sum := 0.0
	for _, m := range families[name].GetMetric() {
		matching := 0
		for _, l := range m.GetLabel() {
			if v, asked := labels[l.GetName()]; asked && v == l.GetValue() {
				matching++
			}
		}
		if matching != len(labels) {
			continue
		}
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return sum
}

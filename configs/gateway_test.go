package configs_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"mailweir/internal/dns/dnstest"
	"mailweir/internal/mailtest"
)

// patience is how long a test waits for what takes a moment on an idle machine.
const patience = 30 * time.Second

// liveConfig has everything that metrics come from. The scanner is configured
// and not there: its metrics exist, and it defers no mail.
const liveConfig = `
hostname = "mx.example.org"
data_dir = %q

[[listener]]
address = "127.0.0.1:0"

[dns]
servers = [%q]

[[domain]]
name      = "example.org"
next_hops = [%q]

[[engine]]
name    = "rspamd"
type    = "rspamd"
address = "127.0.0.1:1"
[clamav]
address  = "unix:%s"
on_error = "accept"

[[dnsbl]]
zone  = "bl.example"
score = 5

[metrics]
address = "127.0.0.1:0"
`

const liveZone = `
	2.0.0.127.bl.example A 127.0.0.2
	sender.example TXT "v=spf1 ip4:127.0.0.1 -all"
`

// gateway is the built binary at work.
type gateway struct {
	smtp, metrics string // addresses
	config        string // its file
	process       *os.Process
}

// scratch is where binary builds; it ends with the tests.
var scratch string

// binary builds the gateway once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "gateway")
	if out, err := exec.Command("go", "build", "-o", path, "../cmd/gateway").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "mailweir-configs-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

// startGateway runs the binary with liveConfig until the test ends.
func startGateway(t *testing.T) *gateway {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sink := mailtest.NewSink(t, mailtest.SinkOptions{})
	config := fmt.Sprintf(liveConfig, filepath.Join(dir, "data"), dnstest.Start(t, liveZone), sink.Addr(), filepath.Join(dir, "no-clamd"))
	file := filepath.Join(dir, "gateway.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "run", "--config", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g, ready := &gateway{config: file, process: cmd.Process}, make(chan bool)
	go g.follow(stderr, ready)
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	select {
	case ok := <-ready:
		if !ok {
			t.Fatal("the gateway ended instead of starting")
		}
	case <-time.After(patience):
		t.Fatal("the gateway does not start")
	}
	return g
}

// follow reads the log for the addresses, and until the end.
func (g *gateway) follow(log io.Reader, ready chan<- bool) {
	started := false
	for s := bufio.NewScanner(log); s.Scan(); {
		var line struct{ Msg, Address string }
		if started || json.Unmarshal(s.Bytes(), &line) != nil {
			continue
		}
		switch line.Msg {
		case "metrics server is listening":
			g.metrics = line.Address
		case "listening":
			g.smtp = line.Address
		case "ready":
			started = true
			ready <- true
		}
	}
	if !started {
		ready <- false
	}
}

// GTUBE in halves: in one piece it would make filters flag this file.
const gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-" + "UBE-TEST-EMAIL*C.34X"

// traffic is one message that is relayed, one that is rejected, and one
// recipient that is refused.
func (g *gateway) traffic(t *testing.T) {
	t.Helper()
	for _, m := range []struct {
		to, text string
		code     int
	}{
		{"bob@example.org", "see you at noon", 0},
		{"bob@example.org", gtube, 554},
		{"bob@elsewhere.example", "", 554},
	} {
		err := g.send(m.to, m.text)
		if got := replyCode(err); got != m.code {
			t.Fatalf("the message to %s got %d (%v), want %d", m.to, got, err, m.code)
		}
	}
}

func replyCode(err error) int {
	switch e := err.(type) {
	case nil:
		return 0
	case *smtp.SMTPError:
		return e.Code
	}
	return -1
}

func (g *gateway) send(to, text string) error {
	c, err := smtp.Dial(g.smtp)
	if err != nil {
		return err
	}
	defer c.Close()
	msg := "From: alice@sender.example\r\nTo: " + to + "\r\nSubject: lunch\r\nDate: " +
		time.Now().Format(time.RFC1123Z) + "\r\nMessage-ID: <1.lunch@sender.example>\r\n\r\n" + text + "\r\n"
	if err := c.SendMail("alice@sender.example", []string{to}, strings.NewReader(msg)); err != nil {
		return err
	}
	return c.Quit()
}

// exposition is what /metrics answers.
func (g *gateway) exposition(t *testing.T) []byte {
	t.Helper()
	resp, err := http.Get("http://" + g.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("/metrics: %s, %v", resp.Status, err)
	}
	return body
}

type families map[string]*dto.MetricFamily

func parseExposition(t *testing.T, text []byte) families {
	t.Helper()
	p := expfmt.NewTextParser(model.LegacyValidation)
	f, err := p.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// find is the family that a name in PromQL belongs to; a histogram's series
// have a suffix.
func (f families) find(name string) *dto.MetricFamily {
	if m := f[name]; m != nil {
		return m
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && f[base].GetType() == dto.MetricType_HISTOGRAM && f[base] != nil {
			return f[base]
		}
	}
	return nil
}

// labels are those of the family's first series.
func labels(m *dto.MetricFamily) map[string]bool {
	names := make(map[string]bool)
	for _, series := range m.GetMetric() {
		for _, l := range series.GetLabel() {
			names[l.GetName()] = true
		}
	}
	return names
}

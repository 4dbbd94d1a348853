package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// build makes the gateway as it is released: static, without symbols of this
// machine.
func build(ctx context.Context, dir string) (string, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "gateway")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "./cmd/gateway")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/gateway: %w\n%s", err, out)
	}
	return path, nil
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	mod := strings.TrimSpace(string(out))
	if err != nil || mod == "" || mod == os.DevNull {
		return "", errors.Join(errors.New("run this inside of the module"), err)
	}
	return filepath.Dir(mod), nil
}

// gatewayConfig is a shipped config with this machine's addresses in it.
// Everything else stays: what is measured is what the file says.
func gatewayConfig(file, dataDir, listen string, w *world) ([]byte, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var doc map[string]any
	if err := toml.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	doc["data_dir"] = dataDir
	doc["listener"] = []any{map[string]any{"address": listen, "trusted_proxies": []string{"127.0.0.0/8"}}}
	doc["dns"] = map[string]any{"servers": []string{w.dns.Addr()}}
	doc["relay"] = map[string]any{"outbound": w.sink.addr()}
	delete(doc, "metrics")
	domains, ok := doc["domain"].([]any)
	if !ok || len(domains) != 1 {
		return nil, fmt.Errorf("%s: there must be one [[domain]]", file)
	}
	domain, ok := domains[0].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: [[domain]] is no table", file)
	}
	domain["next_hops"] = []string{w.sink.addr()}
	return toml.Marshal(doc)
}

// process is a running gateway.
type process struct {
	name    string
	binary  string
	config  string
	address string
	log     string // its standard error
	cmd     *exec.Cmd
	ended   chan struct{}
	err     error // of Wait; read after ended
}

// launch starts binary with a shipped config and waits until it listens.
func launch(ctx context.Context, dir, name, binary, file string, w *world) (*process, error) {
	p := &process{
		name: name, binary: binary, config: filepath.Join(dir, name+".toml"),
		log: filepath.Join(dir, name+".log"), ended: make(chan struct{}),
	}
	var err error
	if p.address, err = freeAddress(); err != nil {
		return nil, err
	}
	text, err := gatewayConfig(file, filepath.Join(dir, name), p.address, w)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(p.config, text, 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(binary, "run", "--config", p.config)
	p.cmd.Stderr = log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	if err := p.await(ctx); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// freeAddress is one that nobody listens on at this moment.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// startTimeout is how long a gateway may take until it listens.
const startTimeout = 20 * time.Second

func (p *process) await(ctx context.Context) error {
	for begin := time.Now(); ; {
		nc, err := net.Dial("tcp", p.address)
		if err == nil {
			return nc.Close()
		}
		select {
		case <-p.ended:
			return fmt.Errorf("gateway %s ended: %v\n%s", p.name, p.err, p.tail())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Since(begin) > startTimeout {
			return fmt.Errorf("gateway %s does not listen on %s\n%s", p.name, p.address, p.tail())
		}
	}
}

// tail is the end of its log.
func (p *process) tail() string {
	raw, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-2000):])
}

// stopTimeout is longer than the gateway's own.
const stopTimeout = 70 * time.Second

func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("gateway %s did not stop within %v", p.name, stopTimeout)
	}
	if p.err != nil {
		return fmt.Errorf("gateway %s: %w\n%s", p.name, p.err, p.tail())
	}
	return nil
}

// cpuTime is what a process has used so far.
type cpuTime struct{ User, System time.Duration }

// tick is the unit of /proc/PID/stat; Linux shows 1/100 s whatever it counts in.
const tick = 10 * time.Millisecond

// cpu reads /proc/PID/stat (proc(5)): fields 14 and 15, counted behind the
// command's name, which may hold anything.
func (p *process) cpu() (cpuTime, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return cpuTime{}, err
	}
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	if len(fields) < 13 {
		return cpuTime{}, fmt.Errorf("/proc/%d/stat has %d fields", p.cmd.Process.Pid, len(fields))
	}
	user, err1 := strconv.Atoi(string(fields[11]))
	system, err2 := strconv.Atoi(string(fields[12]))
	return cpuTime{time.Duration(user) * tick, time.Duration(system) * tick}, errors.Join(err1, err2)
}

// resident is the memory it holds now, in MiB; 0 when that cannot be read.
func (p *process) resident() float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), "VmRSS:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0
	}
	return kib / 1024
}

// machineBusy is what all processors have worked, stolen time included.
func machineBusy() time.Duration {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	var sum time.Duration
	for k, f := range strings.Fields(line)[1:] {
		if k == 3 || k == 4 || k > 7 { // idle, iowait; guest time is in user time already
			continue
		}
		n, _ := strconv.ParseInt(f, 10, 64)
		sum += time.Duration(n) * tick
	}
	return sum
}

// ownCPU is what this process has used: source, sink and DNS server.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

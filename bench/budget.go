package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// part is one line of the budget in docs/architecture.md, section 6: what it
// may cost, and the benchmark that says what it costs.
type part struct {
	name      string
	pkg       string
	benchmark [2]string // for 4 KB and 64 KB, as `go test -bench` prints it
	budget    [2]float64
}

// parts in the order of the budget. Times are microseconds of CPU.
var parts = []part{
	{"receive", "./smtpd", [2]string{"BenchmarkData4K", "BenchmarkData64K"}, [2]float64{15, 50}},
	{"make durable", "./queue", [2]string{"BenchmarkCommit/4KB/16", "BenchmarkCommit/64KB/16"}, [2]float64{8, 60}},
	{"relay", "./relay", [2]string{"BenchmarkDeliver/PIPELINING,CHUNKING/4K", "BenchmarkDeliver/PIPELINING,CHUNKING/64K"}, [2]float64{12, 40}},
	{"SPF, DKIM, DMARC", "./filter/dmarc", [2]string{"BenchmarkAuth4K", "BenchmarkAuth64K"}, [2]float64{90, 400}},
	{"MIME, rules, privacy", "./bench", [2]string{"BenchmarkContent4K", "BenchmarkContent64K"}, [2]float64{200, 900}},
}

// partResult is what one part costs, in microseconds, for 4 KB and 64 KB.
type partResult struct {
	Part     string     `json:"part"`
	Measured [2]float64 `json:"measured_us"`
	Budget   [2]float64 `json:"budget_us"`
}

// measureBudget runs the benchmarks. dir is on the disk that "make durable"
// is about.
func measureBudget(ctx context.Context, out io.Writer, dir string) ([]partResult, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "\nthe budget, part by part: CPU microseconds a message\n%-22s %10s %8s %10s %8s\n",
		"part", "4 KB", "budget", "64 KB", "budget")
	var list []partResult
	sum := partResult{Part: "all of these"}
	for _, p := range parts {
		r, err := p.measure(ctx, root, dir)
		if err != nil {
			return list, err
		}
		for k := range 2 {
			sum.Measured[k] += r.Measured[k]
			sum.Budget[k] += r.Budget[k]
		}
		list = append(list, r)
		fmt.Fprintln(out, r)
	}
	fmt.Fprintln(out, sum)
	return append(list, sum), nil
}

func (r partResult) String() string {
	return fmt.Sprintf("%-22s %10.1f %8.0f %10.1f %8.0f", r.Part, r.Measured[0], r.Budget[0], r.Measured[1], r.Budget[1])
}

func (p *part) measure(ctx context.Context, root, dir string) (partResult, error) {
	r := partResult{Part: p.name, Budget: p.budget}
	for k, name := range p.benchmark {
		cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", exactly(name), "-benchtime", "1s", p.pkg)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "MAILWEIR_BENCH_DIR="+dir, "MAILWEIR_BENCH_RELAY=1")
		raw, err := cmd.CombinedOutput()
		if err != nil {
			return r, fmt.Errorf("%s: %w\n%s", name, err, raw)
		}
		if r.Measured[k], err = parseBenchmark(raw, name); err != nil {
			return r, err
		}
	}
	return r, nil
}

// exactly is the pattern that -bench wants for one benchmark.
func exactly(name string) string {
	return "^" + strings.ReplaceAll(name, "/", "$/^") + "$"
}

// cpuUnits are what our benchmarks call CPU time; without one a benchmark is
// one goroutine without waits, and its time is its CPU.
var cpuUnits = map[string]float64{"cpu-us/op": 1, "cpu-µs/op": 1, "cpu-ns/op": 1e-3}

// parseBenchmark finds a benchmark's line and its CPU time in microseconds.
func parseBenchmark(raw []byte, name string) (float64, error) {
	for scan := bufio.NewScanner(bytes.NewReader(raw)); scan.Scan(); {
		fields := strings.Fields(scan.Text())
		if len(fields) < 4 || withoutProcs(fields[0]) != name {
			continue
		}
		us := 0.0
		for k := 2; k+1 < len(fields); k += 2 {
			value, err := strconv.ParseFloat(fields[k], 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", name, err)
			}
			if scale, ok := cpuUnits[fields[k+1]]; ok {
				return value * scale, nil
			}
			if fields[k+1] == "ns/op" {
				us = value / 1000
			}
		}
		return us, nil
	}
	return 0, fmt.Errorf("no benchmark %s in\n%s", name, raw)
}

// withoutProcs cuts the "-2" of GOMAXPROCS off.
func withoutProcs(name string) string {
	if k := strings.LastIndexByte(name, '-'); k > 0 {
		if _, err := strconv.Atoi(name[k+1:]); err == nil {
			return name[:k]
		}
	}
	return name
}

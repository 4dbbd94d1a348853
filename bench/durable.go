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

// durable is what it costs to make a message durable: one line of the
// benchmarks of ./queue, or of one file and fsync a message on the same disk.
type durable struct {
	How     string  `json:"how"` // plain, sealed, file
	Size    string  `json:"size"`
	Writers int     `json:"writers"`
	Rate    float64 `json:"messages_per_second"` // the best of the repetitions
	CPU     float64 `json:"cpu_us"`              // the least
	P50     float64 `json:"p50_us"`              // of the run with the best rate
	P99     float64 `json:"p99_us"`
	Written float64 `json:"written_per_byte,omitempty"`
}

var durableBenchmarks = map[string]string{
	"BenchmarkCommit": "plain", "BenchmarkCommitSealed": "sealed", "BenchmarkFilePerMessage": "file",
}

// durableTime is how long each line runs. Half a second would be that of a new
// spool, whose segments grow and are written ahead at the same time.
const durableTime = "1s"

// measureDurable runs the benchmarks reps times, in turns, and prints the best.
func measureDurable(ctx context.Context, out io.Writer, dir string, reps int) ([]durable, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	var list []durable
	for k := range reps {
		fmt.Fprintf(os.Stderr, "durable messages: turn %d of %d\n", k+1, reps)
		cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "Commit|FilePerMessage", "-benchtime", durableTime, "./queue")
		cmd.Dir, cmd.Env = root, append(os.Environ(), "MAILWEIR_BENCH_DIR="+dir, "MAILWEIR_BENCH_RELAY=1")
		raw, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("go test -bench ./queue: %w\n%s", err, raw)
		}
		list = bestOf(list, parseDurable(raw))
	}
	fmt.Fprintf(out, "\nmake durable, best of %d: the queue's log, sealed, and one file and fsync a message\n%-8s %-6s %8s %10s %8s %8s %8s %8s %8s\n",
		reps, "how", "size", "writers", "messages/s", "x file", "CPU µs", "p50 µs", "p99 µs", "written")
	for _, d := range list {
		fmt.Fprintf(out, "%-8s %-6s %8d %10.0f %8.1f %8.1f %8.0f %8.0f %8.2f\n",
			d.How, d.Size, d.Writers, d.Rate, d.Rate/fileRate(list, d), d.CPU, d.P50, d.P99, d.Written)
	}
	return list, nil
}

// fileRate is the rate of one file a message under the same load.
func fileRate(list []durable, d durable) float64 {
	for _, f := range list {
		if f.How == "file" && f.Size == d.Size && f.Writers == d.Writers {
			return f.Rate
		}
	}
	return 0
}

func bestOf(list, more []durable) []durable {
	for _, m := range more {
		known := false
		for k := range list {
			if l := &list[k]; l.How == m.How && l.Size == m.Size && l.Writers == m.Writers {
				known = true
				m.CPU = min(l.CPU, m.CPU)
				if l.CPU = m.CPU; m.Rate > l.Rate {
					*l = m
				}
			}
		}
		if !known {
			list = append(list, m)
		}
	}
	return list
}

// parseDurable reads lines like
//
//	BenchmarkCommit/4KB/16-2  9000  110 ns/op  27.4 cpu-µs/op  8812 msg/s ...
func parseDurable(raw []byte) (list []durable) {
	for scan := bufio.NewScanner(bytes.NewReader(raw)); scan.Scan(); {
		fields := strings.Fields(scan.Text())
		if len(fields) < 4 {
			continue
		}
		name := strings.Split(withoutProcs(fields[0]), "/")
		d := durable{How: durableBenchmarks[name[0]]}
		if d.How == "" || len(name) != 3 {
			continue
		}
		d.Size = name[1]
		d.Writers, _ = strconv.Atoi(name[2]) // it is ours
		for k := 2; k+1 < len(fields); k += 2 {
			v, err := strconv.ParseFloat(fields[k], 64)
			if err != nil {
				break
			}
			switch fields[k+1] {
			case "msg/s":
				d.Rate = v
			case "cpu-µs/op":
				d.CPU = v
			case "p50-µs":
				d.P50 = v
			case "p99-µs":
				d.P99 = v
			case "written/byte":
				d.Written = v
			}
		}
		list = append(list, d)
	}
	return list
}

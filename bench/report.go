package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

const reportHelp = `
go run ./bench [report] [FLAG...]

Builds the gateway and measures it on loopback, with source, sink and DNS
server in this process: relay-only (configs/bench-relay.toml) and the full
pipeline (configs/bench-full.toml: DKIM-signed messages, SPF with two includes,
DMARC, PTR, three DNSBL zones, MIME walk, the shipped rules; no clamd), 4 KB and
64 KB each. Scenarios take turns, so that a slow minute of the machine hits all
of them. Then the budget of docs/architecture.md, part by part, and what it costs
to make messages durable, encrypted and not.

CPU is the gateway's own, user and system, from /proc; "others" is what the rest
of the machine used meanwhile, in cores: figures are clean when it is near 0.

exit status: 0; 1 when a message was lost or doubled, or something failed; 2 for
wrong flags.
`

// reportOptions are the flags of the report.
type reportOptions struct {
	messages, connections, reps int
	only, dir, binary, peers    string
	budget, load, strace, json  bool
	durable                     bool
	noChunking                  bool
}

// report is the whole outcome, as --json prints it.
type report struct {
	Machine   string             `json:"machine"`
	When      time.Time          `json:"when"`
	Turns     []turn             `json:"turns,omitempty"`
	Summaries []summary          `json:"summaries,omitempty"`
	Checks    map[string][]check `json:"checks,omitempty"` // by scenario, of its last message
	Syncs     []syncs            `json:"syncs,omitempty"`
	Budget    []partResult       `json:"budget,omitempty"`
	Durable   []durable          `json:"durable,omitempty"`
}

func reportCommand(ctx context.Context, out, errs io.Writer, args []string) error {
	fs := flags(out, errs, "report", reportHelp)
	var o reportOptions
	fs.IntVar(&o.messages, "n", 10000, "messages a turn; a fifth of it for 64 KB")
	fs.IntVar(&o.connections, "c", 20, "connections at the same time")
	fs.IntVar(&o.reps, "r", 3, "repetitions")
	fs.StringVar(&o.only, "only", "", "measure only scenarios whose name contains this")
	fs.StringVar(&o.dir, "dir", "", "parent of the spools: a `DIR` on a real disk; default: the system's for temporary files")
	fs.StringVar(&o.binary, "gateway", "", "measure this `BINARY`; default: build one")
	fs.StringVar(&o.peers, "peers", "", "run the comparison with other mail systems by the scripts in `DIR`, and nothing else")
	fs.BoolVar(&o.load, "load", true, "measure the scenarios")
	fs.BoolVar(&o.budget, "budget", true, "run the packages' benchmarks beside their budget")
	fs.BoolVar(&o.durable, "durable", true, "measure what it costs to make messages durable, sealed and not, beside one file and fsync a message")
	fs.BoolVar(&o.strace, "strace", false, "count fdatasync calls a message, and look for one before each 250 (needs strace)")
	fs.BoolVar(&o.noChunking, "no-chunking", false, "the sink does not offer CHUNKING")
	fs.BoolVar(&o.json, "json", false, "print JSON")
	if err := parse(fs, errs, args); err != nil {
		return err
	}
	if o.messages < 10 || o.connections < 1 || o.reps < 1 {
		return wrong(errs, "-n must be at least 10, -c and -r at least 1")
	}
	list := o.scenarios()
	if len(list) == 0 {
		return wrong(errs, "no scenario is called like %q", o.only)
	}
	return o.run(ctx, out, errs, list)
}

func (o *reportOptions) scenarios() []scenario {
	return slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool { return !strings.Contains(s.Name, o.only) })
}

func (o *reportOptions) run(ctx context.Context, out, errs io.Writer, list []scenario) (err error) {
	dir, err := os.MkdirTemp(o.dir, "mailweir-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.binary == "" {
		if o.binary, err = build(ctx, dir); err != nil {
			return err
		}
	}
	if o.peers != "" {
		return runPeers(ctx, out, errs, o, dir)
	}
	r := &report{Machine: machine(), When: time.Now().UTC(), Checks: map[string][]check{}}
	text := out
	if o.json {
		text = errs // progress; standard output is for the JSON
	}
	fmt.Fprintln(text, r.Machine)
	if o.load || o.strace {
		err = o.measureAll(ctx, text, r, dir, list)
	}
	if o.budget && err == nil {
		r.Budget, err = measureBudget(ctx, text, dir)
	}
	if o.durable && err == nil {
		r.Durable, err = measureDurable(ctx, text, dir, o.reps)
	}
	if o.json {
		err = errors.Join(err, printJSON(out, r))
	}
	return errors.Join(err, r.verdict())
}

// verdict is an error when a message did not arrive exactly once.
func (r *report) verdict() error {
	for _, t := range r.Turns {
		if t.Lost > 0 || t.Doubled > 0 {
			return fmt.Errorf("%s: %d messages lost, %d doubled", t.Scenario, t.Lost, t.Doubled)
		}
	}
	return nil
}

// machine is what figures depend on.
func machine() string {
	cpu := "unknown processor"
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(raw), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			cpu = strings.TrimLeft(line, "\t: ")
		}
	}
	return fmt.Sprintf("%d x %s, %s", runtime.NumCPU(), cpu, runtime.Version())
}

// measureAll starts a gateway for each config, and lets the scenarios take
// turns.
func (o *reportOptions) measureAll(ctx context.Context, out io.Writer, r *report, dir string, list []scenario) (err error) {
	w, err := newWorld(o.noChunking)
	if err != nil {
		return err
	}
	defer w.close()
	running, err := o.launchAll(ctx, dir, w, list)
	defer func() {
		for _, p := range running {
			err = errors.Join(err, p.stop())
		}
	}()
	if err != nil {
		return err
	}
	if o.load {
		if err := o.turns(ctx, out, r, w, running, list); err != nil {
			return err
		}
		for _, sc := range list {
			r.Summaries = append(r.Summaries, summarize(sc.Name, r.Turns))
		}
		printSummaries(out, r.Summaries)
		printChecks(out, r.Checks)
	}
	if o.strace {
		r.Syncs, err = measureSyncs(ctx, out, w, running)
	}
	return err
}

func (o *reportOptions) launchAll(ctx context.Context, dir string, w *world, list []scenario) (map[string]*process, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	running := map[string]*process{}
	for _, sc := range list {
		if running[sc.Config] != nil {
			continue
		}
		name := strings.TrimSuffix(sc.Config, ".toml")
		p, err := launch(ctx, dir, name, o.binary, filepath.Join(root, "configs", sc.Config), w)
		if err != nil {
			return running, err
		}
		running[sc.Config] = p
	}
	return running, nil
}

// turns runs every scenario once to warm up, and then in turns.
func (o *reportOptions) turns(ctx context.Context, out io.Writer, r *report, w *world, running map[string]*process, list []scenario) error {
	fmt.Fprintf(out, "\n%d connections, %d messages of 4 KB or %d of 64 KB a turn\n", o.connections, o.messages, o.messages/5)
	fmt.Fprintf(out, "%-15s %3s %9s %9s %8s %6s %6s %7s %5s %6s  %s\n",
		"scenario", "rep", "accept/s", "relay/s", "CPU ms", "user", "sys", "load", "MiB", "others", "after the dot; replies")
	for rep := range o.reps + 1 {
		for k := range list {
			sc := &list[k]
			n := o.messages
			if sc.Size == "64k" {
				n /= 5
			}
			if rep == 0 {
				n = max(1, n/10)
			}
			p := running[sc.Config]
			t, err := sc.measure(ctx, w, p, n, o.connections)
			if err != nil {
				return err
			}
			if rep == 0 { // warming up
				continue
			}
			t.Rep = rep
			r.Turns = append(r.Turns, t)
			fmt.Fprintln(out, t)
			if r.Checks[sc.Name], err = checksOf(ctx, p, t.Source.LastID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t turn) String() string {
	s := fmt.Sprintf("%-15s %3d %9.0f %9.0f %8.3f %6.3f %6.3f %7.3f %5.0f %6.2f  %v; %s",
		t.Scenario, t.Rep, t.Accepted, t.Relayed, t.CPU, t.User, t.System, t.Load, t.Memory, t.Others,
		t.Source.AfterDot, t.Source.codes())
	if t.Lost > 0 || t.Doubled > 0 {
		s += fmt.Sprintf("; LOST %d, DOUBLED %d", t.Lost, t.Doubled)
	}
	return s
}

// summary is a scenario over its repetitions.
type summary struct {
	Scenario string `json:"scenario"`
	CPU      spread `json:"cpu_ms"`
	Accepted spread `json:"accepted_per_second"`
	Relayed  spread `json:"relayed_per_second"`
	P50      spread `json:"after_dot_p50_ms"`
	P99      spread `json:"after_dot_p99_ms"`
	Memory   spread `json:"peak_rss_mib"`
	Others   spread `json:"others_cores"`
}

func summarize(name string, turns []turn) summary {
	over := func(value func(*turn) float64) spread {
		var list []float64
		for k := range turns {
			if turns[k].Scenario == name {
				list = append(list, value(&turns[k]))
			}
		}
		return spreadOf(list)
	}
	return summary{
		Scenario: name,
		CPU:      over(func(t *turn) float64 { return t.CPU }),
		Accepted: over(func(t *turn) float64 { return t.Accepted }),
		Relayed:  over(func(t *turn) float64 { return t.Relayed }),
		P50:      over(func(t *turn) float64 { return t.Source.AfterDot.P50 }),
		P99:      over(func(t *turn) float64 { return t.Source.AfterDot.P99 }),
		Memory:   over(func(t *turn) float64 { return t.Memory }),
		Others:   over(func(t *turn) float64 { return t.Others }),
	}
}

func printSummaries(w io.Writer, list []summary) {
	fmt.Fprintf(w, "\nmedian (min-max)\n%-15s %22s %20s %20s %19s %19s %17s\n",
		"scenario", "CPU ms/message", "accepted/s", "relayed/s", "after dot p50 ms", "p99 ms", "others, cores")
	for _, s := range list {
		fmt.Fprintf(w, "%-15s %22s %20s %20s %19s %19s %17s\n", s.Scenario, s.CPU.format(3), s.Accepted.format(0),
			s.Relayed.format(0), s.P50.format(2), s.P99.format(1), s.Others.format(2))
	}
}

// runPeers hands over to the script beside this file.
func runPeers(ctx context.Context, out, errs io.Writer, o *reportOptions, dir string) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "bash", filepath.Join(root, "bench", "peers.sh"), o.peers, o.binary)
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, out, errs
	cmd.Env = append(os.Environ(), fmt.Sprintf("REPS=%d", o.reps))
	return cmd.Run()
}

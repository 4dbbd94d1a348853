package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/mail"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/rogpeppe/go-internal/testscript"

	"mailweir/internal/mailtest"
)

// nth is the Nth message of a sink, which must be there already.
func (w *world) nth(args []string) (mailtest.Message, []string, error) {
	s, args := w.sink(args)
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return mailtest.Message{}, nil, err
	}
	list := s.messages()
	if n < 1 || n > len(list) {
		return mailtest.Message{}, nil, fmt.Errorf("message %d of the sink, which has %d", n, len(list))
	}
	return list[n-1], args[1:], nil
}

func cmdGot(ts *testscript.TestScript, _ bool, args []string) {
	m, _, err := worldOf(ts).nth(args)
	ts.Check(err)
	fmt.Fprint(ts.Stdout(), envelopeAndText(m))
}

// cmdDSN takes a report apart with the standard library, which knows nothing of
// how the gateway made it.
func cmdDSN(ts *testscript.TestScript, _ bool, args []string) {
	m, _, err := worldOf(ts).nth(args)
	ts.Check(err)
	msg, err := mail.ReadMessage(bytes.NewReader(m.Data))
	ts.Check(err)
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	ts.Check(err)
	out := ts.Stdout()
	fmt.Fprintf(out, "type: %s; report-type=%s\n", kind, params["report-type"])
	for _, name := range []string{"From", "To", "Auto-Submitted"} {
		fmt.Fprintf(out, "%s: %s\n", name, msg.Header.Get(name))
	}
	parts := multipart.NewReader(msg.Body, params["boundary"])
	for n := 1; ; n++ {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return
		}
		ts.Check(err)
		text, err := io.ReadAll(p)
		ts.Check(err)
		text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n "), []byte(" "))
		fmt.Fprintf(out, "part %d: %s\n%s\n", n, p.Header.Get("Content-Type"), text)
	}
}

func cmdBody(w *world, args []string) error {
	m, args, err := w.nth(args)
	if err != nil {
		return err
	}
	_, got := split(m.Data)
	_, want := split(w.message(args[0]))
	return same(got, want)
}

func cmdWhole(w *world, args []string) error {
	m, args, err := w.nth(args)
	if err != nil {
		return err
	}
	want := w.message(args[0])
	return same(m.Data[max(0, len(m.Data)-len(want)):], want)
}

func cmdWholes(w *world, args []string) error {
	list := w.sinks["Sink"].messages()
	for _, name := range args {
		want := w.message(name)
		n := slices.IndexFunc(list, func(m mailtest.Message) bool { return bytes.HasSuffix(m.Data, want) })
		if n < 0 {
			return fmt.Errorf("%s is not among the other messages of the sink", name)
		}
		list = slices.Delete(list, n, n+1)
	}
	if len(list) > 0 {
		return fmt.Errorf("the sink has %d more messages", len(list))
	}
	return nil
}

// same tells where two texts part.
func same(got, want []byte) error {
	if bytes.Equal(got, want) {
		return nil
	}
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	tail := func(b []byte) []byte { return b[max(0, i-20):min(len(b), i+60)] }
	return fmt.Errorf("octet %d differs: %q, want %q (%d and %d octets)", i, tail(got), tail(want), len(got), len(want))
}

// cmdEventually is for what needs a moment: a state of the queue, the history.
func cmdEventually(ts *testscript.TestScript, _ bool, args []string) {
	re, err := regexp.Compile(`(?m)` + args[0])
	ts.Check(err)
	var stdout, stderr string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(30 * time.Millisecond) {
		stdout, stderr, _ = run(ts, args[1:])
		if re.MatchString(stdout) {
			fmt.Fprint(ts.Stdout(), stdout)
			return
		}
	}
	ts.Fatalf("it never printed %s; last:\n%s%s", args[0], stdout, stderr)
}

// cmdStatus is exec for programs whose exit status has a meaning.
func cmdStatus(ts *testscript.TestScript, _ bool, args []string) {
	stdout, stderr, status := run(ts, args[1:])
	fmt.Fprint(ts.Stdout(), stdout)
	fmt.Fprint(ts.Stderr(), stderr)
	if strconv.Itoa(status) != args[0] {
		ts.Fatalf("exit status %d, want %s", status, args[0])
	}
}

func run(ts *testscript.TestScript, args []string) (stdout, stderr string, status int) {
	var out, errs bytes.Buffer
	program := args[0]
	if program == "gateway" {
		program = worldOf(ts).binary
	}
	cmd := exec.Command(program, args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Check(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// cmdKeys compares the keys of the JSON objects in stdout, one a line, with
// what others rely on: "id,state,..."; of a member with a second argument, such
// as "recipients".
func cmdTake(ts *testscript.TestScript, _ bool, args []string) {
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) != 2 {
		ts.Fatalf("stdout has nothing for %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}

func cmdKeys(ts *testscript.TestScript, _ bool, args []string) {
	want := strings.Split(args[0], ",")
	slices.Sort(want)
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		var object any
		ts.Check(json.Unmarshal([]byte(line), &object))
		if len(args) > 1 {
			object = object.(map[string]any)[args[1]]
		}
		if list, ok := object.([]any); ok {
			if len(list) == 0 {
				ts.Fatalf("%s is empty", args[1])
			}
			object = list[0]
		}
		var keys []string
		for key := range object.(map[string]any) {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		if !slices.Equal(keys, want) {
			ts.Fatalf("keys %v, want %v", keys, want)
		}
	}
}

// cmdMetric waits until a series has a value: 'name{label="x"}' 3, or '>=3'.
func cmdMetric(w *world, args []string) error {
	name, labels := parseSeries(args[0])
	least := strings.HasPrefix(args[1], ">=")
	want, err := strconv.ParseFloat(strings.TrimPrefix(args[1], ">="), 64)
	if err != nil {
		return err
	}
	var got float64
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var families map[string]*dto.MetricFamily
		if families, err = w.gw.scrape(); err != nil {
			return err
		}
		if families[name] == nil && want != 0 {
			return fmt.Errorf("there is no metric %s", name)
		}
		if got = sumOf(families, name, labels); got == want || least && got >= want {
			return nil
		}
	}
	return fmt.Errorf("%s is %v, want %s", args[0], got, args[1])
}

var labelPair = regexp.MustCompile(`(\w+)="([^"]*)"`)

func parseSeries(s string) (name string, labels map[string]string) {
	name, rest, _ := strings.Cut(s, "{")
	labels = map[string]string{}
	for _, pair := range labelPair.FindAllStringSubmatch(rest, -1) {
		labels[pair[1]] = pair[2]
	}
	return name, labels
}

// cmdReady waits until /readyz, with its code before the text, matches.
func cmdReady(w *world, args []string) error {
	re, err := regexp.Compile(`(?s)` + args[0])
	if err != nil {
		return err
	}
	var got string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + w.names["Metrics"] + "/readyz")
		if err != nil {
			return err
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		if got = fmt.Sprintf("%d %s", resp.StatusCode, text); re.MatchString(got) {
			return nil
		}
	}
	return fmt.Errorf("/readyz says %q, want %s", got, args[0])
}

// cmdLog looks for a line in the gateway's log. Negated it does not wait.
func cmdLog(ts *testscript.TestScript, neg bool, args []string) {
	gw := worldOf(ts).gw
	if !neg {
		ts.Check(gw.waitLog(args[0], 0))
		return
	}
	re := regexp.MustCompile(args[0])
	for _, line := range gw.lines() {
		if re.MatchString(line) {
			ts.Fatalf("the log says: %s", line)
		}
	}
}

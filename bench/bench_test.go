package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/pelletier/go-toml/v2"
	"go.uber.org/goleak"

	"mailweir/internal/config"
	"mailweir/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func startSink(t *testing.T, o sinkOptions) *sink {
	t.Helper()
	o.Address = "127.0.0.1:0"
	s, err := newSink(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func testSource(address string, n int) *source {
	return &source{
		Address: address, Connections: 4, Messages: n, Message: builtin(4 << 10),
		Helo: "client.sender.test", From: "alice@sender.test", To: "user+%d@mx.test", First: 100,
	}
}

// The source straight into the sink: whatever is counted must agree.
func TestSourceIntoSink(t *testing.T) {
	for name, change := range map[string]func(*source){
		"many":    func(*source) {},
		"one":     func(s *source) { s.PerConnection = 1 },
		"seven":   func(s *source) { s.PerConnection = 7 },
		"large":   func(s *source) { s.Message = builtin(300 << 10) },
		"dots":    func(s *source) { s.Message = []byte(".\r\n..\r\nx\r\n.\r\n.y") },
		"empty":   func(s *source) { s.Message = []byte("\r\n") },
		"trickle": func(s *source) { s.Trickle, s.Messages = 50*time.Millisecond, 5 },
		"rate":    func(s *source) { s.Rate, s.Messages = 200, 20 },
		"xclient": func(s *source) { s.Clients, s.PerConnection = clients(10), 3 },
	} {
		t.Run(name, func(t *testing.T) {
			sink := startSink(t, sinkOptions{})
			s := testSource(sink.addr(), 200)
			change(s)
			roll := sink.expect(s.First, s.Messages)
			begin := time.Now()
			r, err := s.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(begin)
			<-roll.done
			c := sink.counts()
			if r.Accepted != s.Messages || r.Failed != 0 || c.Messages != int64(s.Messages) || r.Replies["250"] != s.Messages {
				t.Errorf("%+v, sink has %v", r, c)
			}
			if roll.doubles.Load() != 0 || roll.strange.Load() != 0 {
				t.Errorf("%d doubles, %d strange", roll.doubles.Load(), roll.strange.Load())
			}
			if q := r.AfterDot; q.P50 <= 0 || q.P50 > q.P90 || q.P90 > q.P99 || q.P99 > q.Max || q.Max > took.Seconds()*1000 {
				t.Errorf("latencies %v of a run of %v", q, took)
			}
			if name == "rate" && took < 90*time.Millisecond {
				t.Errorf("20 messages at 200/s took %v", took)
			}
			if want := int64((s.Messages-1)/max(1, s.PerConnection) + 1); s.PerConnection > 0 && c.Connections < want {
				t.Errorf("%d connections, want at least %d", c.Connections, want)
			}
		})
	}
}

// fault serves one connection after the other with a given handler.
func fault(t *testing.T, serve func(nc net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			serve(nc)
			nc.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

// converse answers each command line by the first word, DATA's content by ".".
func converse(nc net.Conn, replies map[string]string) {
	fmt.Fprint(nc, "220 x\r\n")
	in := newLines(nc)
	for content := false; ; {
		line, err := in()
		if err != nil {
			return
		}
		if content && line != "." {
			continue
		}
		verb, _, _ := strings.Cut(line, " ")
		reply := replies[verb]
		if reply == "" {
			return
		}
		content = verb == "DATA" && strings.HasPrefix(reply, "354")
		fmt.Fprint(nc, reply+"\r\n")
	}
}

func newLines(r io.Reader) func() (string, error) {
	var rest []byte
	buf := make([]byte, 64<<10)
	return func() (string, error) {
		for {
			if line, after, ok := bytes.Cut(rest, []byte("\r\n")); ok {
				rest = after
				return string(line), nil
			}
			n, err := r.Read(buf)
			if n == 0 && err != nil {
				return "", err
			}
			rest = append(rest, buf[:n]...)
		}
	}
}

// What a server refuses is counted by its code; what it breaks is counted as
// without reply, and the source neither hangs nor goes on for ever.
func TestSourceAgainstFaults(t *testing.T) {
	plain := map[string]string{"EHLO": "250 x", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go", ".": "250 ok", "RSET": "250 ok", "QUIT": "221 bye"}
	with := func(verb, reply string) map[string]string {
		m := map[string]string{}
		for k, v := range plain {
			m[k] = v
		}
		m[verb] = reply
		return m
	}
	for name, c := range map[string]struct {
		replies map[string]string
		want    string // codes
		fails   bool
	}{
		"no pipelining":  {plain, "250: 20", false},
		"dot refused":    {with(".", "554 5.7.1 no"), "554: 20", false},
		"dot multi-line": {with(".", "250-a\r\n250 b"), "250: 20", false},
		"rcpt refused":   {with("DATA", "503 none"), "503: 20", false},
		"banner only":    {map[string]string{}, "", true},
		"closed at dot":  {with(".", ""), "no reply: 5", true},
		"garbage":        {with(".", "x"), "no reply: 5", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := testSource(fault(t, func(nc net.Conn) { converse(nc, c.replies) }), 20)
			s.Connections = 1
			r, err := s.run(t.Context())
			if (err != nil) != c.fails || r.codes() != c.want {
				t.Errorf("%v; replies %q, want %q", err, r.codes(), c.want)
			}
		})
	}
}

func TestSourceStops(t *testing.T) {
	release := make(chan struct{})
	address := fault(t, func(net.Conn) { <-release })
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := testSource(address, 10).run(ctx); err == nil {
		t.Error("a run that was interrupted says nothing")
	}
	close(release)
}

// dialogue sends commands to a sink, cut everywhere, and returns its replies.
func dialogue(t *testing.T, s *sink, text string, cut int) string {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, piece := range []string{text[:cut], text[cut:]} {
		if _, err := io.WriteString(nc, piece); err != nil {
			t.Fatal(err)
		}
	}
	all, err := io.ReadAll(nc)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// An end of data that is split between two reads is still one end.
func TestSinkFindsTheEnd(t *testing.T) {
	s := startSink(t, sinkOptions{})
	const text = "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<u+1@x>\r\nDATA\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<u+2@x>\r\nDATA\r\n" +
		"a\r\n..\r\n.b\r\n\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<u+3@x>\r\nBDAT 5\r\n\r\n.\r\nBDAT 2 LAST\r\nx\nQUIT\r\n"
	for cut := range text {
		roll := s.expect(1, 3)
		before := s.messages.Load()
		replies := dialogue(t, s, text, cut)
		if got := s.messages.Load() - before; got != 3 || roll.missing.Load() != 0 || strings.Count(replies, "Ok: sunk") != 3 {
			t.Fatalf("cut at %d: %d messages, %d missing\n%s", cut, got, roll.missing.Load(), replies)
		}
	}
	if roll := s.expect(1, 2); roll.missing.Load() != 2 {
		t.Error("a new count begins with old messages")
	}
}

func TestSinkOffersWhatItIsTold(t *testing.T) {
	with := dialogue(t, startSink(t, sinkOptions{}), "EHLO x\r\nQUIT\r\n", 0)
	without := dialogue(t, startSink(t, sinkOptions{NoChunking: true}), "EHLO x\r\nQUIT\r\n", 0)
	if !strings.Contains(with, "CHUNKING") || strings.Contains(without, "CHUNKING") || !strings.Contains(without, "PIPELINING") {
		t.Errorf("%q, %q", with, without)
	}
}

// A message that was cut short, doubled or never asked for must be seen.
func TestSinkCountsLosses(t *testing.T) {
	s := startSink(t, sinkOptions{})
	roll := s.expect(10, 3)
	const top = "MAIL FROM:<>\r\nRCPT TO:<u+"
	dialogue(t, s, "EHLO x\r\n"+top+"10@x>\r\nDATA\r\n.\r\n"+top+"10@x>\r\nDATA\r\n.\r\n"+top+"99@x>\r\nDATA\r\n.\r\nQUIT\r\n", 0)
	nc, err := net.Dial("tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(nc, "EHLO x\r\n"+top+"11@x>\r\nBDAT 100 LAST\r\nshort")
	nc.Close()
	if roll.missing.Load() != 2 || roll.doubles.Load() != 1 || roll.strange.Load() != 1 {
		t.Errorf("%d missing, %d doubled, %d strange", roll.missing.Load(), roll.doubles.Load(), roll.strange.Load())
	}
}

func TestBuiltinMessage(t *testing.T) {
	for _, size := range []int{4 << 10, 64 << 10} {
		m := builtin(size)
		if len(m) < size-100 || len(m) > size+200 {
			t.Errorf("%d octets, want about %d", len(m), size)
		}
		if bytes.Count(m, []byte("\n")) != bytes.Count(m, []byte("\r\n")) {
			t.Error("a bare LF")
		}
		if !bytes.Equal(m, builtin(size)) {
			t.Error("differs from run to run")
		}
	}
}

func TestSignedMessageVerifies(t *testing.T) {
	w, err := newWorld(false)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	signed, err := w.signer.sign(builtin(4 << 10))
	if err != nil {
		t.Fatal(err)
	}
	key, err := w.signer.record()
	if err != nil {
		t.Fatal(err)
	}
	v, err := dkim.VerifyWithOptions(bytes.NewReader(signed), &dkim.VerifyOptions{
		LookupTXT: func(string) ([]string, error) {
			return []string{strings.ReplaceAll(strings.Trim(key, `"`), `" "`, "")}, nil
		},
	})
	if err != nil || len(v) != 1 || v[0].Err != nil || v[0].Domain != senderDomain {
		t.Errorf("%v, %+v", err, v)
	}
}

func TestLoadMessage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "m")
	if err := os.WriteFile(file, []byte("A: b\n\nx\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := loadMessage(file); err != nil || string(m) != "A: b\r\n\r\nx\r\n" {
		t.Errorf("%q, %v", m, err)
	}
	if m, err := loadMessage("10000"); err != nil || len(m) < 9900 {
		t.Errorf("%d, %v", len(m), err)
	}
	for _, name := range []string{"999999k", "99999999999999999999", filepath.Join(t.TempDir(), "none"), os.DevNull} {
		if _, err := loadMessage(name); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestClients(t *testing.T) {
	networks := map[string]bool{}
	for _, a := range clients(manyClients) {
		bits := 24
		if a.Is6() {
			bits = 64
		}
		p, err := a.Prefix(bits)
		if err != nil {
			t.Fatal(err)
		}
		networks[p.String()] = true
	}
	if len(networks) != 3+manyClients/8 {
		t.Errorf("%d networks", len(networks))
	}
	if got := reverseName(clients(8)[7]); len(strings.Split(got, ".")) != 34 || !strings.HasPrefix(got, "9.1.0.0.") {
		t.Errorf("reverse name %q", got)
	}
	if got := reverseName(clients(1)[0]); got != "1.2.0.192.in-addr.arpa" {
		t.Errorf("reverse name %q", got)
	}
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		says string // in standard output or standard error
	}{
		{"--help", 0, "-strace"},
		{"help", 0, "go run ./bench sink"},
		{"source --help", 0, "-trickle"},
		{"sink -h", 0, "-no-chunking"},
		{"message --help", 0, "-record"},
		{"nonsense", 2, `no command "nonsense"`},
		{"-nonsense", 2, "not defined"},
		{"report -n 1", 2, "-n must be"},
		{"-only nothing-like-it", 2, "no scenario"},
		{"source -c 0", 2, "-c and -n"},
		{"source -rate -1", 2, "must not be negative"},
		{"source extra", 2, `unexpected argument "extra"`},
		{"source -m /nonexistent/file", 1, "no such file"},
		{"source -address 127.0.0.1:1 -n 1", 1, "refused"},
		{"sink -n -1", 2, "must not be negative"},
		{"sink -address 192.0.2.1:1", 1, "bench sink"},
	} {
		var out, errs bytes.Buffer
		code := dispatch(t.Context(), &out, &errs, strings.Fields(c.args))
		if code != c.code || !strings.Contains(out.String()+errs.String(), c.says) {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", c.args, code, c.code, c.says, &out, &errs)
		}
	}
}

func TestCommandsAsJSON(t *testing.T) {
	s := startSink(t, sinkOptions{})
	var out, errs bytes.Buffer
	args := strings.Fields("source -n 50 -c 2 -per 10 -xclient 4 -json -address " + s.addr())
	if code := dispatch(t.Context(), &out, &errs, args); code != 0 {
		t.Fatalf("exit %d: %s", code, &errs)
	}
	var r sourceResult
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Accepted != 50 || r.Rate <= 0 || r.LastID != "sunk" {
		t.Errorf("%v, %+v", err, r)
	}
}

// Two messages signed with the same key need one record.
func TestMessageCommand(t *testing.T) {
	dir := t.TempDir()
	key, record := filepath.Join(dir, "k.pem"), filepath.Join(dir, "k.txt")
	var records []string
	for _, size := range []string{"4k", "64k"} {
		var out, errs bytes.Buffer
		args := []string{"message", "-m", size, "-key", key, "-record", record, "-lf"}
		if code := dispatch(t.Context(), &out, &errs, args); code != 0 {
			t.Fatalf("exit %d: %s", code, &errs)
		}
		if !strings.HasPrefix(out.String(), "DKIM-Signature:") || strings.Contains(out.String(), "\r") {
			t.Errorf("%.80q", &out)
		}
		raw, err := os.ReadFile(record)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, string(raw))
	}
	if records[0] != records[1] || !strings.HasPrefix(records[0], `"v=DKIM1;`) {
		t.Errorf("%q", records)
	}
	var out, errs bytes.Buffer
	if code := dispatch(t.Context(), &out, &errs, []string{"message", "-key", record}); code != 1 {
		t.Errorf("a key that is none: exit %d", code)
	}
}

// The configs that are measured are configs of the gateway, and the report's
// changes leave them so.
func TestShippedConfigs(t *testing.T) {
	w, err := newWorld(false)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	known := config.Known{Checks: disabledChecks(t)}
	for _, sc := range scenarios {
		file := filepath.Join("..", "configs", sc.Config)
		shipped, err := config.Load(file, known)
		if err != nil {
			t.Error(err)
			continue
		}
		text, err := gatewayConfig(file, t.TempDir(), "127.0.0.1:2", w)
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse(file, text, known)
		if err != nil {
			t.Errorf("%v\n%s", err, text)
			continue
		}
		if len(c.DNSBL) != len(shipped.DNSBL) || c.Privacy.Redact != shipped.Privacy.Redact || len(c.Checks.Disabled) != len(shipped.Checks.Disabled) {
			t.Errorf("%s: %+v became %+v", sc.Config, shipped, c)
		}
		if sc.Full && (len(c.DNSBL) != len(dnsblZones) || len(c.Checks.Disabled) > 0) {
			t.Errorf("%s is not the full pipeline: %+v", sc.Config, c)
		}
	}
}

// disabledChecks are the checks that relay-only switches off. That these are
// all that exist is tested where they are known.
func disabledChecks(t *testing.T) []string {
	raw, err := os.ReadFile("../configs/bench-relay.toml")
	if err != nil {
		t.Fatal(err)
	}
	var c struct{ Checks struct{ Disabled []string } }
	if err := toml.Unmarshal(raw, &c); err != nil || len(c.Checks.Disabled) == 0 {
		t.Fatalf("%v, %d checks", err, len(c.Checks.Disabled))
	}
	return c.Checks.Disabled
}

func TestGatewayConfig(t *testing.T) {
	w, err := newWorld(true)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	file := filepath.Join(t.TempDir(), "c.toml")
	const shipped = "hostname = 'gw.mx.test'\ndata_dir = '/x'\n[metrics]\naddress = '127.0.0.1:9'\n[[domain]]\nname = 'mx.test'\nnext_hops = ['127.0.0.1:1']\n[limits]\nerrors = 7\n"
	if err := os.WriteFile(file, []byte(shipped), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := gatewayConfig(file, "/spool", "127.0.0.1:2", w)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"errors = 7", "/spool", w.sink.addr(), w.dns.Addr(), "mx.test"} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if bytes.Contains(text, []byte("127.0.0.1:9'")) {
		t.Error("the metrics address would be taken twice")
	}
}

func TestReadTrace(t *testing.T) {
	const trace = `7 write(9, "x", 1) = 1
7 fdatasync(8 <unfinished ...>
9 write(5, "250-x\r\n", 7) = 7
7 <... fdatasync resumed>) = 0
9 write(5, "250 2.0.0 Ok: queued as 1\r\n", 29) = 29
9 write(5, "250 2.0.0 Ok: queued as 2\r\n", 29) = 29
7 fdatasync(8) = -1 EIO (Input/output error)
9 write(5, "250 2.0.0 Ok: queued as 3\r\n", 29) = 29
7 fsync(3) = 0
`
	s, err := readTrace(strings.NewReader(trace))
	if err != nil || s.Datasyncs != 1 || s.Fsyncs != 1 || s.Unsynced != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestParseBenchmark(t *testing.T) {
	const text = `goos: linux
BenchmarkAuth4K-2       100   98765 ns/op  41.5 MB/s  88000 cpu-ns/op  10 B/op  1 allocs/op
BenchmarkCommit/4KB/16   100   5000 ns/op  7.250 cpu-µs/op
BenchmarkContent4K-2     100  70500 ns/op
PASS
`
	for name, want := range map[string]float64{"BenchmarkAuth4K": 88, "BenchmarkCommit/4KB/16": 7.25, "BenchmarkContent4K": 70.5} {
		if got, err := parseBenchmark([]byte(text), name); err != nil || got != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := parseBenchmark([]byte(text), "BenchmarkAuth"); err == nil {
		t.Error("a benchmark that did not run was found")
	}
	if got := exactly("BenchmarkCommit/4KB/16"); got != "^BenchmarkCommit$/^4KB$/^16$" {
		t.Error(got)
	}
}

func TestParseChecks(t *testing.T) {
	list, err := parseChecks([]byte(`{"kind":"attempt","data":{}}
{"kind":"verdict","data":{"facts":{"checks":[{"name":"spf","state":"ok","duration_us":7}]}}}`))
	if err != nil || len(list) != 1 || list[0] != (check{Name: "spf", State: "ok", Duration: 7}) {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := parseChecks(nil); err == nil {
		t.Error("no verdict was found in nothing")
	}
}

func TestSpread(t *testing.T) {
	if s := spreadOf([]float64{3, 1, 2}); s != (spread{2, 1, 3}) {
		t.Error(s)
	}
	if s := spreadOf([]float64{4, 1, 2, 3}); s.Median != 2.5 || s.format(1) != "2.5 (1.0-4.0)" {
		t.Error(s)
	}
	if s := spreadOf(nil); s != (spread{}) {
		t.Error(s)
	}
	if q := (latencies{}).quantiles(); q != (quantiles{}) {
		t.Error(q)
	}
}

// The numbers in a recipient must survive the gateway's own parser.
func TestNumberedRecipient(t *testing.T) {
	if _, err := mail.ParsePath("user+17@mx.test", false); err != nil {
		t.Error(err)
	}
	for line, want := range map[string]int{
		"RCPT TO:<user+17@mx.test>": 17, "RCPT TO:<user+17@mx.test> NOTIFY=NEVER": 17,
		"RCPT TO:<user@mx.test>": -1, "RCPT TO:<a+b+3@mx.test>": -1, "RCPT TO:<user+3>": -1,
	} {
		if got := numberIn([]byte(line)); got != want {
			t.Errorf("%s: %d", line, got)
		}
	}
}

func TestParseDurable(t *testing.T) {
	list := parseDurable([]byte(`goos: linux
BenchmarkCommit/4KB/16-2         	   20166	    113482 ns/op	  36.09 MB/s	        27.37 cpu-µs/op	      8812 msg/s	 300 p50-µs	 900 p99-µs	 1.50 written/byte
BenchmarkFilePerMessage/4KB/16-2 	    3000	    500000 ns/op	   8.00 MB/s	       200.0 cpu-µs/op	      1000 msg/s	 700 p50-µs	 2000 p99-µs
BenchmarkOther/4KB/16-2 	    3000	    500000 ns/op
PASS
`))
	want := []durable{
		{How: "plain", Size: "4KB", Writers: 16, Rate: 8812, CPU: 27.37, P50: 300, P99: 900, Written: 1.5},
		{How: "file", Size: "4KB", Writers: 16, Rate: 1000, CPU: 200, P50: 700, P99: 2000},
	}
	if !slices.Equal(list, want) {
		t.Fatalf("%+v", list)
	}
	if x := list[0].Rate / fileRate(list, list[0]); x != 8.812 {
		t.Errorf("times %v", x)
	}
	best := bestOf(list[:1:1], []durable{{How: "plain", Size: "4KB", Writers: 16, Rate: 9000, CPU: 40, P50: 1}, list[1]})
	if len(best) != 2 || best[0].Rate != 9000 || best[0].CPU != 27.37 || best[0].P50 != 1 {
		t.Errorf("best of both: %+v", best)
	}
}

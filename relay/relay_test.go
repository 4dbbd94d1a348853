package relay

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mailweir/internal/mailtest"
	"mailweir/mail"
)

func TestMain(m *testing.M) {
	if extensions := os.Getenv(sinkVariable); extensions != "" {
		runBenchSink(extensions)
		return
	}
	goleak.VerifyTestMain(m)
}

// message is a message with one header section for the recipients.
func message(body string, rcpts ...string) *mail.Message {
	m := &mail.Message{
		Envelope: mail.Envelope{ID: mail.NewID(time.Now()), ReversePath: "sender@example.com"},
		Heads:    [][]byte{[]byte("Subject: test\r\n\r\n")},
		Body:     mail.Bytes(body),
	}
	for _, r := range rcpts {
		m.Envelope.Recipients = append(m.Envelope.Recipients, mail.Recipient{Path: mail.Path(r)})
	}
	return m
}

// stored is content that is not in memory.
type stored struct {
	mail.Bytes
	fail int // octets after which reading fails; 0: never
}

func (s stored) Open() (io.ReadCloser, error) {
	r := io.Reader(strings.NewReader(string(s.Bytes)))
	if s.fail > 0 {
		r = io.MultiReader(io.LimitReader(r, int64(s.fail)), failingReader{})
	}
	return io.NopCloser(r), nil
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, fmt.Errorf("input/output error") }

// newRelay sends everything to hops.
func newRelay(t testing.TB, o Options, hops ...string) *Relay {
	t.Helper()
	if o.Outbound == nil {
		o.Outbound = &Route{NextHops: hops}
	}
	o.Hostname = "mx.example.org"
	if testing.Verbose() {
		o.Logger = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	}
	r := New(o)
	t.Cleanup(func() { r.Close() })
	return r
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) { w.t.Logf("%s", p); return len(p), nil }

// deliver delivers to all recipients and checks that there is one outcome for
// each; they are returned in the recipients' order.
func deliver(t testing.TB, r *Relay, m *mail.Message) []mail.Outcome {
	t.Helper()
	return deliverContext(t, context.Background(), r, m)
}

func deliverContext(t testing.TB, ctx context.Context, r *Relay, m *mail.Message) []mail.Outcome {
	t.Helper()
	n := len(m.Envelope.Recipients)
	rcpts, out, seen := make([]int, n), make([]mail.Outcome, n), make([]int, n)
	for i := range rcpts {
		rcpts[i] = i
	}
	r.Deliver(ctx, r.Route(m.Envelope.Recipients[0].Path), m, rcpts, func(o mail.Outcome) {
		seen[o.Recipient]++
		out[o.Recipient] = o
	})
	for i, n := range seen {
		if n != 1 {
			t.Fatalf("recipient %d has %d outcomes", i, n)
		}
		if out[i].Result < mail.Relayed || out[i].Result > mail.Failed {
			t.Fatalf("recipient %d: no result in %+v", i, out[i])
		}
	}
	return out
}

func wantResults(t testing.TB, got []mail.Outcome, want ...mail.Result) {
	t.Helper()
	for i := range want {
		if got[i].Result != want[i] {
			t.Errorf("recipient %d: %s (%s), want %s", i, got[i].Result, got[i].Reply, want[i])
		}
	}
}

// without is AllExtensions but for some.
func without(names ...string) []string {
	rest := []string{}
	for _, e := range mailtest.AllExtensions {
		if !strings.Contains(strings.Join(names, " "), e) {
			rest = append(rest, e)
		}
	}
	return rest
}

// extensionSets are next hops of different ages.
var extensionSets = map[string][]string{
	"all":           mailtest.AllExtensions,
	"no chunking":   without("CHUNKING"),
	"no pipelining": without("PIPELINING"),
	"chunking only": {"CHUNKING"},
	"none":          {},
}

var awkwardBodies = map[string]string{
	"empty":        "",
	"one line":     "hello\r\n",
	"dots":         ".\r\n..\r\n.a\r\n\r\n.\r\n",
	"no final end": "last line without an end",
	"final dot":    "a\r\n.",
	"only dot":     ".",
	"8-bit":        "caf\xc3\xa9\r\n",
	"large":        strings.Repeat("0123456789012345678901234567890123456789\r\n.dot\r\n", 8000),
	"long line":    strings.Repeat("x", 200_000) + "\r\n",
}

// Each message arrives octet for octet, by every way that there is to send it:
// first on a new connection, then twice on the kept one.
func TestContentArrives(t *testing.T) {
	for set, extensions := range extensionSets {
		for name, body := range awkwardBodies {
			for _, kind := range []string{"memory", "stored"} {
				t.Run(set+"/"+name+"/"+kind, func(t *testing.T) {
					testContent(t, extensions, body, kind == "stored")
				})
			}
		}
	}
}

func testContent(t *testing.T, extensions []string, body string, onDisk bool) {
	sink := mailtest.NewSink(t, mailtest.SinkOptions{Extensions: extensions})
	r := newRelay(t, Options{}, sink.Addr())
	m := message(body, "a@example.net", "b@example.net")
	if onDisk {
		m.Body = stored{Bytes: mail.Bytes(body)}
	}
	for range 3 {
		wantResults(t, deliver(t, r, m), mail.Relayed, mail.Relayed)
	}
	chunking := strings.Contains(strings.Join(extensions, " "), "CHUNKING")
	want := string(m.Heads[0]) + body
	if !chunking && !strings.HasSuffix(want, "\r\n") {
		want += "\r\n" // DATA cannot end otherwise
	}
	got := sink.Wait(t, 3, 5*time.Second)
	for i, g := range got {
		if string(g.Data) != want {
			t.Errorf("message %d: %d octets arrived, want %d", i, len(g.Data), len(want))
		}
		if (g.Chunks > 0) != chunking || len(g.Rcpts) != 2 || g.From != "sender@example.com" || g.Conn != 1 {
			t.Errorf("message %d: %d chunks, from %q to %v on connection %d", i, g.Chunks, g.From, g.Rcpts, g.Conn)
		}
	}
	if n := sink.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestReplyIsTheOutcome(t *testing.T) {
	sink := mailtest.NewSink(t, mailtest.SinkOptions{On: mailtest.Script(map[string]string{
		"MESSAGE": "250 2.6.0 <a@b.example>\n250 2.6.0 queued as 17"})})
	r := newRelay(t, Options{}, sink.Addr())
	got := deliver(t, r, message("x\r\n", "a@example.net"))[0]
	want := mail.Outcome{Result: mail.Relayed, NextHop: sink.Addr(),
		Reply: mail.Reply{Code: 250, Enhanced: mail.EnhancedCode{2, 6, 0}, Text: "<a@b.example>\nqueued as 17"}, Reports: true}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

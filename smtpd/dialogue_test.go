package smtpd

import (
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"
)

var quiet = slog.New(slog.DiscardHandler)

// A dialogue is a file of lines:
//
//	C: text       the client sends text and CRLF
//	R: "text"     the client sends a quoted Go string as it is
//	S: 250        the server's next reply begins so; "closed" is the end
//	M: {...}      the next message that the session got
//	N: 2          how many messages it got in all
//	ours: ...     S (or M, N) of our engine where go-smtp differs; the line
//	go-smtp: ...  before must be a comment that says why
//	only: ours    at the top: go-smtp does not have this at all
//	# comment
//
// Both engines drive the same session; what they answer and what the session
// gets must be the same but for the differences that the files list.
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/dialogues/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d dialogues, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		lines := strings.Split(string(b), "\n")
		t.Run(name+"/ours", func(t *testing.T) {
			d := &desk{}
			_, addr := serve(t, d, ListenerOptions{TrustedProxies: loopback}, nil)
			play(t, "ours", lines, connect(t, addr), d)
		})
		// go-smtp v0.25.1 has a data race between RSET and its BDAT goroutine.
		if strings.Contains(string(b), "\nonly: ours\n") || raceEnabled && strings.HasPrefix(name, "bdat") {
			continue
		}
		t.Run(name+"/go-smtp", func(t *testing.T) {
			d := &desk{}
			play(t, "go-smtp", lines, connect(t, serveGoSMTP(t, d)), d)
		})
	}
}

// serveGoSMTP runs d under the other engine.
func serveGoSMTP(t testing.TB, d *desk) net.Addr {
	l := testLimits()
	s := smtp.NewServer(d)
	s.Domain = "mx.example.org"
	s.MaxMessageBytes = l.MessageSize
	s.MaxRecipients = l.Recipients
	s.EnableDSN, s.EnableSMTPUTF8 = true, true
	s.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ln) }()
	t.Cleanup(func() { s.Close(); <-done })
	return ln.Addr()
}

func play(t *testing.T, engine string, lines []string, p *peer, d *desk) {
	next := 0 // the next message
	for i, line := range lines {
		at := strconv.Itoa(i+1) + ": " + line
		kind, text, _ := strings.Cut(line, ": ")
		if kind == "ours" || kind == "go-smtp" {
			explained(t, lines, i)
			if kind != engine {
				continue
			}
			kind = "S"
			if k, rest, ok := strings.Cut(text, " "); ok && (k == "M" || k == "N") {
				kind, text = k, rest
			}
		}
		switch kind {
		case "C":
			p.send(text + "\r\n")
		case "R":
			raw, err := strconv.Unquote(text)
			if err != nil {
				t.Fatalf("%s: %v", at, err)
			}
			p.send(raw)
		case "S":
			if got := p.reply(); !strings.HasPrefix(got, text) {
				t.Fatalf("%s: got %q", at, got)
			}
		case "M":
			var want letter
			if err := json.Unmarshal([]byte(text), &want); err != nil {
				t.Fatalf("%s: %v", at, err)
			}
			got := d.taken()
			if next >= len(got) {
				t.Fatalf("%s: no message", at)
			}
			if diff := cmp.Diff(want, got[next]); diff != "" {
				t.Fatalf("%s: %s", at, diff)
			}
			next++
		case "N":
			if got := strconv.Itoa(len(d.taken())); got != text {
				t.Fatalf("%s: %s messages", at, got)
			}
		case "only", "":
		default:
			if line[0] != '#' {
				t.Fatalf("%s: what is that?", at)
			}
		}
	}
}

// explained wants a comment above a run of lines that differ, before or behind
// the command that they answer.
func explained(t *testing.T, lines []string, i int) {
	for i--; i >= 0; i-- {
		switch kind, _, _ := strings.Cut(lines[i], ":"); {
		case strings.HasPrefix(kind, "#"):
			return
		case kind == "S", kind == "M", kind == "N":
			t.Fatalf("line %d: a difference without a reason", i+2)
		}
	}
}

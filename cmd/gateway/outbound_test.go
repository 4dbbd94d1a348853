package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"net/smtp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mailweir/internal/config"
	"mailweir/internal/dns/dnstest"
	"mailweir/internal/mailtest"
)

const outboundConfig = `
hostname = "mx.example.org"
data_dir = "$DIR/data"
[[listener]]
address = "$LISTEN"
[dns]
servers = ["$DNS"]
[[domain]]
name = "example.org"
next_hops = ["$SINK"]
[privacy]
own_networks = ["127.0.0.0/8"]
[relay]
outbound = "mx"
outbound_allow = ["127.0.0.0/8"]
`

const outboundZone = `
sender.example      MX 10 dead.sender.example.
sender.example      MX 20 mail.sender.example.
dead.sender.example A 127.0.0.3
mail.sender.example A 127.0.0.2
round.example       MX 10 here.round.example.
here.round.example  A 127.0.0.1
nullmx.example      MX 0 .
`

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) waitFor(t *testing.T, parts ...string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		text := l.b.String()
		l.mu.Unlock()
		for line := range strings.Lines(text) {
			all := true
			for _, part := range parts {
				all = all && strings.Contains(line, part)
			}
			if all {
				return
			}
		}
	}
	t.Fatalf("no line with %q in\n%s", parts, l.b.String())
}

// A DSN goes to the sender's own mail exchangers: past the dead one, over TLS.
// A sender whose exchangers are we ourselves, or who takes no mail, gets none,
// and nothing goes round.
func TestOutboundByMX(t *testing.T) {
	hop := mailtest.NewSink(t, mailtest.SinkOptions{On: mailtest.Script(map[string]string{"RCPT": "550 5.1.1 No such user here"})})
	certificate, _ := mailtest.Certificate(t, "mail.sender.example")
	exchanger := mailtest.NewSink(t, mailtest.SinkOptions{Address: "127.0.0.2:0", TLS: certificate})
	_, port, _ := net.SplitHostPort(exchanger.Addr())
	mxPort, _ := strconv.ParseUint(port, 10, 16)
	dir := t.TempDir()
	values := map[string]string{"DIR": dir, "LISTEN": "127.0.0.1:0", "DNS": dnstest.Start(t, outboundZone), "SINK": hop.Addr()}
	path := filepath.Join(dir, "gateway.toml")
	if err := os.WriteFile(path, []byte(os.Expand(outboundConfig, func(k string) string { return values[k] })), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path, config.Known{Checks: checkNames})
	if err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	g, err := start(context.Background(), cfg, slog.New(slog.NewJSONHandler(&log, nil)), startOptions{mxPort: uint16(mxPort)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	send := func(from string) {
		t.Helper()
		msg := "From: <" + from + ">\r\nTo: <gone@example.org>\r\nSubject: test\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <x@sender.example>\r\n\r\nhello\r\n"
		if err := submit(g.listeners[0].Addr().String(), from, "gone@example.org", msg); err != nil {
			t.Fatal(err)
		}
	}

	send("alice@sender.example")
	got := exchanger.Wait(t, 1, patience)[0]
	if got.From != "" || len(got.Rcpts) != 1 || got.Rcpts[0].Path != "alice@sender.example" || !got.TLS || got.Helo != "mx.example.org" {
		t.Errorf("envelope: %+v", got)
	}
	for _, part := range []string{"report-type=delivery-status", "gone@example.org", "No such user here"} {
		if !bytes.Contains(got.Data, []byte(part)) {
			t.Errorf("no %q in\n%s", part, got.Data)
		}
	}
	send("bob@round.example")
	log.waitFor(t, `"msg":"delivery"`, "5.4.6", "here.round.example is this host")
	send("carol@nullmx.example")
	log.waitFor(t, `"msg":"delivery"`, "5.1.10", "null MX")
	if n := len(exchanger.Messages()); n != 1 {
		t.Errorf("%d messages at the exchanger", n)
	}
}

// submit sends a message in the clear.
func submit(addr, from, to, msg string) error {
	c, err := smtp.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := errors.Join(c.Mail(from), c.Rcpt(to)); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	_, err = w.Write([]byte(msg))
	return errors.Join(err, w.Close(), c.Quit())
}

// Our own addresses are those that our listeners can be reached at.
func TestOwnAddresses(t *testing.T) {
	g := &gateway{log: slog.New(slog.DiscardHandler)}
	for address, want := range map[string]string{
		"192.0.2.25:25": "192.0.2.25", "[2001:db8::25]:25": "2001:db8::25", "[::ffff:192.0.2.25]:25": "192.0.2.25",
		":25": "127.0.0.1", "0.0.0.0:25": "127.0.0.1", "[::]:25": "127.0.0.1",
	} {
		own := g.ownAddresses(&config.Config{Listeners: []config.Listener{{Address: config.ListenAddr(address)}}})
		if !slices.Contains(own, netip.MustParseAddr(want)) {
			t.Errorf("%s: %v", address, own)
		}
	}
}

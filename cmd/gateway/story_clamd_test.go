package main

import (
	"bytes"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailweir/internal/mailtest"
)

// TestClamdDiesInMidScan: the scanner is killed while it has half a message.
func TestClamdDiesInMidScan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	w.clamd = mailtest.StartClamd(t)
	w.names["Clamd"] = w.clamd.Socket
	w.write("gateway.toml", plainConfig+"\n[clamav]\naddress = \"unix:{{.Clamd}}\"\n")
	w.start()
	c := w.hello(t)
	for _, command := range []string{"MAIL FROM:<alice@sender.example>", "RCPT TO:<bob@example.org>", "DATA"} {
		if reply, err := c.do("%s", command); err != nil || reply[0] == '5' {
			t.Fatal(reply, err)
		}
	}
	c.out.WriteString("From: alice@sender.example\r\n\r\n")
	half := bytes.Repeat([]byte(strings.Repeat("half of it ", 6)+"\r\n"), 30000)
	c.out.Write(half)
	if err := c.flush(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		families, err := w.gw.scrape()
		return err == nil && sumOf(families, "mailweir_clamav_active_scans", nil) == 2 // the message and its part
	})
	w.clamd.Kill()
	c.out.Write(half)
	c.out.WriteString(".\r\n")
	if err := c.expect("451 4.7.1 Scanner unavailable, try later; id {ID}"); err != nil {
		t.Error(err)
	}
	w.clamd.Start(t)
	waitFor(t, func() bool {
		reply, _, err := w.post(&letter{listen: "Listen", helo: "client.example", from: "alice@sender.example",
			to: []string{"bob@example.org"}, msg: []byte(smallMessage)})
		return err == nil && reply[0] == '2'
	})
	if _, err := w.sinks["Sink"].wait(1, patience); err != nil {
		t.Error(err)
	}
}

// TestClamdFaults: whatever a scanner says that is not a verdict, no message
// passes, and mail flows again within 5 s of its first right answer.
func TestClamdFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newWorld(t, dir)
	socket := filepath.Join(dir, "clamd.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var reply atomic.Value
	reply.Store("")
	go answerStreams(ln, &reply)
	w.names["Clamd"] = socket
	w.write("gateway.toml", plainConfig+"\n[clamav]\naddress = \"unix:{{.Clamd}}\"\n")
	w.start()
	post := func() string {
		lines, _, err := w.post(&letter{listen: "Listen", helo: "client.example", from: "alice@sender.example",
			to: []string{"bob@example.org"}, msg: []byte(smallMessage)})
		if err != nil {
			return err.Error()
		}
		return lines
	}
	for name, answer := range map[string]string{
		"nothing": "", "garbage": "\xff\xfe\x00", "truncated": "stream: O", "no end": "stream: OK", "other words": "stream: FINE\x00",
		"two replies": "stream: OK\x00stream: OK\x00", "an error": "stream: Can't allocate memory ERROR\x00",
		"no name": "stream:  FOUND\x00", "long": strings.Repeat("x", 1<<20) + "\x00",
	} {
		reply.Store(answer)
		if got := post(); !strings.HasPrefix(got, "451 4.7.1") {
			t.Errorf("%s: %s", name, got)
		}
	}
	reply.Store("stream: OK\x00")
	start := time.Now()
	waitFor(t, func() bool { return strings.HasPrefix(post(), "250 ") })
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("mail flows again after %v", took)
	}
	if _, err := w.sinks["Sink"].wait(1, patience); err != nil {
		t.Error(err)
	}
}

// answerStreams is a clamd that takes what it is sent up to the end of the
// stream, and says what reply holds.
func answerStreams(ln net.Listener, reply *atomic.Value) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			var got []byte
			buf := make([]byte, 64<<10)
			for !bytes.HasSuffix(got, []byte("\x00\x00\x00\x00")) {
				n, err := conn.Read(buf)
				if err != nil {
					return
				}
				got = append(got, buf[:n]...)
				if bytes.HasPrefix(got, []byte("zVERSION")) {
					io.WriteString(conn, "ClamAV 1.4/1/x\x00")
					return
				}
			}
			io.WriteString(conn, reply.Load().(string))
		}()
	}
}

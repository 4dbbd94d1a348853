package main

import (
	"bytes"
	"strings"
	"testing"

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
		return err == nil && sumOf(families, "mailweir_clamav_active_scans", nil) == 1
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

package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"mailweir/mail"
)

// TestConnectionLog: what the log says of connections, as they come and go.
func TestConnectionLog(t *testing.T) {
	t.Parallel()
	w, _ := submissionWorld(t)
	for _, c := range []struct {
		name, listener string
		commands       []string // "TLS" is the handshake; the last reply must come
		abort          bool     // without waiting for the end
		want           map[string]any
	}{
		{"quit", "Listen", []string{"EHLO canary.example", "QUIT"}, false,
			map[string]any{"result": "accepted", "end": "quit", "transactions": 0.0, "accepted": 0.0, "refused": 0.0}},
		{"nothing said", "Listen", nil, true, map[string]any{"end": "closed", "refused": 0.0}},
		{"a message", "Listen", []string{"EHLO canary.example", "MAIL FROM:<a@sender.example>", "RCPT TO:<b@example.org>", "DATA", "From: <a@sender.example>\r\n\r\nz\r\n.", "QUIT"}, false,
			map[string]any{"transactions": 1.0, "accepted": 1.0, "refused": 0.0}},
		{"refused before a transaction", "Listen2", []string{"EHLO canary.example", "MAIL FROM:<a@example.org>", "NONSENSE", "QUIT"}, false,
			map[string]any{"transactions": 0.0, "refused": 2.0, "refusal": "530 5.7.0"}},
		{"relaying", "Listen", []string{"EHLO canary.example", "MAIL FROM:<a@sender.example>", "RCPT TO:<b@other.example>", "QUIT"}, false,
			map[string]any{"transactions": 1.0, "accepted": 0.0, "refused": 1.0, "refusal": "554 5.7.1"}},
		{"TLS and a wrong password", "Listen2", []string{"EHLO canary.example", "STARTTLS", "TLS", "EHLO canary.example", "AUTH PLAIN " + plainCredentials("anna@example.org", "wrong"), "QUIT"}, false,
			map[string]any{"tls": "TLSv1.3", "auth_failures": 1.0, "refusal": "535 5.7.8", "end": "quit"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := w.gw.count("")
			cl, err := w.dial(c.listener)
			if err != nil {
				t.Fatal(err)
			}
			defer cl.close()
			cl.reply()
			var id any // what the engine's own refusal names
			for _, command := range c.commands {
				if command == "TLS" {
					cl.upgrade(&tls.Config{InsecureSkipVerify: true})
				} else if reply, err := cl.do("%s", command); err != nil {
					t.Fatal(err)
				} else if text := fmt.Sprint(reply); command == "NONSENSE" {
					_, after, _ := strings.Cut(text, "; id ")
					id = after[:min(len(after), mail.IDLength)]
				}
			}
			cl.close()
			got := connectionLines(t, w, from, 1)[0]
			if id != nil && (id == "" || got["id"] != id) {
				t.Errorf("the refusal names %q, the line %v", id, got["id"])
			}
			for key, want := range c.want {
				if got[key] != want {
					t.Errorf("%s is %v, want %v, in %v", key, got[key], want, got)
				}
			}
			if name, _ := got["client"].(string); !strings.HasPrefix(name, "ip-") || len(c.commands) > 0 && !strings.HasPrefix(got["helo"].(string), "name-") {
				t.Errorf("the client in %v", got)
			}
		})
	}
	w.sinks["Sink"].claimed = -1
}

// connectionLines waits for n of them, from that line of the log on.
func connectionLines(t *testing.T, w *world, from, n int) (found []map[string]any) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		found = nil
		for _, line := range w.gw.lines()[from:] {
			fields := map[string]any{}
			if json.Unmarshal([]byte(line), &fields) == nil && fields["msg"] == "connection" {
				found = append(found, maps.Clone(fields))
			}
		}
		if len(found) >= n {
			return found
		}
	}
	t.Fatalf("%d lines of connections, want %d", len(found), n)
	return nil
}

package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailweir/internal/mailtest"
)

// sink is a next hop that can be stopped and started again on its address, and
// be told what to reply.
type sink struct {
	t    testing.TB
	addr string

	mu      sync.Mutex
	now     *mailtest.Sink
	before  []mailtest.Message // of earlier lives
	replies map[string]string  // by verb, or by a verb and a part of its line
	claimed int                // messages that the story has accounted for; -1: not at all
}

func (s *sink) start() {
	s.t.Helper()
	now, err := mailtest.StartSink(mailtest.SinkOptions{Address: s.addr, On: s.on})
	if err != nil {
		s.t.Fatalf("sink: %v", err)
	}
	s.mu.Lock()
	s.now = now
	s.mu.Unlock()
}

// stop ends it as a crash of its host would.
func (s *sink) stop() {
	s.mu.Lock()
	now := s.now
	s.mu.Unlock()
	if now == nil {
		return
	}
	now.Close()
	for _, fault := range now.Faults() {
		s.t.Errorf("sink %s: the gateway broke the protocol: %s", s.addr, fault)
	}
	s.mu.Lock()
	s.before = append(s.before, now.Messages()...)
	s.now = nil
	s.mu.Unlock()
}

// end is the end of the test: everything that came must have been expected.
func (s *sink) end() {
	s.stop()
	if got := len(s.messages()); s.claimed >= 0 && !s.t.Failed() && got != s.claimed {
		s.t.Errorf("sink %s: %d messages by the end of the story, of which it knows %d", s.addr, got, s.claimed)
	}
}

func (s *sink) reply(when, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies[when] = what
}

// on gives the reply that the test has set, if any: "RCPT unknown@" is more
// special than "RCPT".
func (s *sink) on(e mailtest.Event) mailtest.Step {
	s.mu.Lock()
	defer s.mu.Unlock()
	best, reply := "", ""
	for when, what := range s.replies {
		verb, part, _ := strings.Cut(when, " ")
		if verb == e.Verb && strings.Contains(e.Line, part) && len(when) > len(best) {
			best, reply = when, what
		}
	}
	switch reply {
	case "hang":
		return mailtest.Step{Hang: true}
	case "drop":
		return mailtest.Step{Drop: true}
	}
	return mailtest.Step{Reply: reply}
}

func (s *sink) messages() []mailtest.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.before)
	if s.now != nil {
		all = append(all, s.now.Messages()...)
	}
	return all
}

// wait returns when there are n messages in all, and fails when there are more.
func (s *sink) wait(n int, timeout time.Duration) ([]mailtest.Message, error) {
	deadline := time.Now().Add(timeout)
	got := s.messages()
	for len(got) < n && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
		got = s.messages()
	}
	s.claimed = n
	if len(got) != n {
		return got, fmt.Errorf("the sink has %d messages, want %d", len(got), n)
	}
	return got, nil
}

// envelopeAndText is a message as stories look at it: the envelope's commands,
// then the message with unfolded fields and LF line ends.
func envelopeAndText(m mailtest.Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "MAIL FROM:<%s> %s\n", m.From, strings.Join(m.MailParams, " "))
	for _, r := range m.Rcpts {
		fmt.Fprintf(&b, "RCPT TO:<%s> %s\n", r.Path, strings.Join(r.Params, " "))
	}
	head, body := split(m.Data)
	text := strings.ReplaceAll(string(head), "\r\n", "\n")
	text = strings.NewReplacer("\n\t", " ", "\n ", " ").Replace(text)
	return b.String() + "\n" + text + "\n" + strings.ReplaceAll(string(body), "\r\n", "\n")
}

// split cuts a message into header section and body.
func split(data []byte) (head, body []byte) {
	i := bytes.Index(data, []byte("\r\n\r\n"))
	if i < 0 {
		return data, nil
	}
	return data[:i+2], data[i+4:]
}

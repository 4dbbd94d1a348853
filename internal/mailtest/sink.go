package mailtest

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// AllExtensions is what a Sink offers unless told otherwise; STARTTLS is added
// when it has a TLS config.
var AllExtensions = []string{"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES"}

// SinkOptions say how a Sink behaves. The zero value takes all mail.
type SinkOptions struct {
	// Address to listen on; "" is a free port of 127.0.0.1.
	Address string
	// Extensions in the reply to EHLO, as they stand there ("SIZE 1000").
	// nil: AllExtensions; empty but not nil: none.
	Extensions []string
	// TLS, when set, offers STARTTLS.
	TLS *tls.Config
	// On is asked before each reply, from the goroutine of the connection. A
	// zero Step leaves the sink to its own reply.
	On func(e Event) Step
}

// Event is one moment at which the sink is about to reply.
type Event struct {
	// Verb is the command in upper case; "CONNECT" before the banner,
	// "MESSAGE" after the end of DATA or the last BDAT chunk.
	Verb string
	// Line is the whole command line without its CRLF.
	Line string
	// Conn counts connections from 1, Transaction those MAIL commands of the
	// connection that were accepted, the one that Verb is MAIL for not yet.
	Conn, Transaction int
	// Recipients is how many the transaction has accepted.
	Recipients int
	TLS        bool
}

// Step is what the sink does instead of its own reply.
type Step struct {
	Delay time.Duration // first; ends early when the sink is closed
	Reply string        // "550 5.1.1 No", lines separated by "\n"; the code decides what follows
	Raw   string        // sent as it stands in place of Reply, and changes nothing else
	Drop  bool          // close the connection without a reply
	Hang  bool          // say nothing until the client or the test ends the connection
	Close bool          // close the connection after the reply
}

// Script replies by verb, always the same: {"MAIL": "421 4.3.2 Busy"}.
func Script(replies map[string]string) func(Event) Step {
	return func(e Event) Step { return Step{Reply: replies[e.Verb]} }
}

// Rcpt is one accepted RCPT command.
type Rcpt struct {
	Path   string // what stood between "<" and ">"
	Params []string
}

// Message is one message that a sink took, octet for octet.
type Message struct {
	Helo       string
	From       string // what stood between "<" and ">"
	MailParams []string
	Rcpts      []Rcpt
	Data       []byte // dots unstuffed, as the sender meant it
	Chunks     int    // BDAT commands; 0: it came by DATA
	TLS        bool
	Conn       int // counts from 1
}

// Sink is an SMTP server that keeps what it gets. It does exactly what the
// commands say, without leniency, so that a test sees the faults of a client.
type Sink struct {
	o    SinkOptions
	ln   net.Listener
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex
	changed  chan struct{} // closed and renewed at each message
	messages []Message
	commands []string
	faults   []string
	conns    int
	open     map[net.Conn]struct{}
}

// NewSink starts a sink that ends with the test, which fails when the sink saw
// a client break the protocol.
func NewSink(t testing.TB, o SinkOptions) *Sink {
	t.Helper()
	s, err := StartSink(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		for _, fault := range s.Faults() {
			t.Errorf("sink %s: %s", s.Addr(), fault)
		}
	})
	return s
}

// StartSink starts a sink without a test: for programs.
func StartSink(o SinkOptions) (*Sink, error) {
	address := o.Address
	if address == "" {
		address = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return ServeSink(ln, o), nil
}

// ServeSink starts a sink on a listener of the caller's, which it closes.
func ServeSink(ln net.Listener, o SinkOptions) *Sink {
	if o.Extensions == nil {
		o.Extensions = AllExtensions
	}
	s := &Sink{o: o, ln: ln, changed: make(chan struct{}), open: make(map[net.Conn]struct{})}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.wg.Go(s.accept)
	return s
}

// Addr is host:port.
func (s *Sink) Addr() string { return s.ln.Addr().String() }

// Close ends all connections and waits for them.
func (s *Sink) Close() {
	s.stop()
	s.ln.Close()
	s.DropConnections()
	s.wg.Wait()
}

// DropConnections closes every open connection, as a crash of the host would.
func (s *Sink) DropConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for nc := range s.open {
		nc.Close()
	}
}

// Messages is what came until now, in the order of their last octets.
func (s *Sink) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Wait returns when n messages have come, or fails the test after timeout.
func (s *Sink) Wait(t testing.TB, n int, timeout time.Duration) []Message {
	t.Helper()
	deadline := time.After(timeout)
	for {
		s.mu.Lock()
		got, changed := slices.Clone(s.messages), s.changed
		s.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("sink %s: %d messages after %s, want %d", s.Addr(), len(got), timeout, n)
		}
	}
}

// Commands is every command line until now, of all connections, as it came.
func (s *Sink) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

// Verbs is the first word of each of Commands, in upper case.
func (s *Sink) Verbs() []string {
	verbs := s.Commands()
	for i, line := range verbs {
		verbs[i] = verbOf(line)
	}
	return verbs
}

// Connections is how many were accepted until now.
func (s *Sink) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// Faults are what clients did against the protocol: a bare CR or LF, commands
// in the wrong order, a command pipelined that must not be.
func (s *Sink) Faults() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.faults)
}

func (s *Sink) accept() {
	for {
		nc, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns++
		c := &sinkConn{sink: s, nc: nc, number: s.conns}
		s.open[nc] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(c.serve)
	}
}

func (s *Sink) forget(nc net.Conn) {
	nc.Close()
	s.mu.Lock()
	delete(s.open, nc)
	s.mu.Unlock()
}

func (s *Sink) add(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, m)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Sink) command(line string) {
	s.mu.Lock()
	s.commands = append(s.commands, line)
	s.mu.Unlock()
}

func (s *Sink) fault(what string) {
	s.mu.Lock()
	s.faults = append(s.faults, what)
	s.mu.Unlock()
}

func verbOf(line string) string {
	verb, _, _ := strings.Cut(line, " ")
	return strings.ToUpper(verb)
}

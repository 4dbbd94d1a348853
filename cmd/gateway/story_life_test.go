package main

import (
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// hello opens a session that has said EHLO.
func (w *world) hello(t *testing.T) *client {
	t.Helper()
	c, err := w.dial("Listen")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	if _, err := c.greet(&letter{helo: "client.example"}); err != nil {
		t.Fatal(err)
	}
	return c
}

const smallMessage = "From: alice@sender.example\r\nSubject: small\r\n\r\nbody\r\n"

// TestShutdown: SIGTERM says 421 to who waits, takes nobody new, and finishes
// what is under way.
func TestShutdown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	w.write("gateway.toml", plainConfig)
	w.start()
	idle, envelope, busy := w.hello(t), w.hello(t), w.hello(t)
	if reply, err := envelope.do("MAIL FROM:<alice@sender.example>"); err != nil || reply[0] != '2' {
		t.Fatal(reply, err)
	}
	for _, command := range []string{"MAIL FROM:<alice@sender.example>", "RCPT TO:<bob@example.org>", "DATA"} {
		if reply, err := busy.do("%s", command); err != nil || reply[0] == '5' {
			t.Fatal(reply, err)
		}
	}
	busy.out.WriteString(smallMessage)
	if err := busy.flush(); err != nil {
		t.Fatal(err)
	}
	w.gw.signal(syscall.SIGTERM)
	for _, c := range []*client{idle, envelope} {
		if err := c.expect("421 4.3.2"); err != nil {
			t.Error(err)
		}
		if err := c.closed(); err != nil {
			t.Error(err)
		}
	}
	if c, err := net.DialTimeout("tcp", w.names["Listen"], time.Second); err == nil {
		c.SetDeadline(time.Now().Add(time.Second))
		if n, _ := c.Read(make([]byte, 3)); n > 0 {
			t.Error("a new client was greeted")
		}
		c.Close()
	}
	if !w.gw.running() {
		t.Fatal("it did not wait for the transaction under way")
	}
	busy.out.WriteString(".\r\n")
	if err := busy.expect("250 2.0.0 Ok: queued as {ID}"); err != nil {
		t.Error(err)
	}
	select {
	case <-w.gw.ended:
	case <-time.After(patience):
		t.Fatal("it did not stop")
	}
	if w.gw.err != nil {
		t.Errorf("exit status: %v", w.gw.err)
	}
	// What was accepted at the last moment is relayed, by this life or the next.
	if len(w.sinks["Sink"].messages()) == 0 {
		w.start()
	}
	if _, err := w.sinks["Sink"].wait(1, patience); err != nil {
		t.Error(err)
	}
}

// heldSocket is a socket that listens until the test ends, as systemd keeps it.
func heldSocket(t *testing.T, address string) *os.File {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// TestActivation: sockets come from systemd, who keeps them over a restart: no
// client is refused meanwhile.
func TestActivation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	w.write("gateway.toml", plainConfig)
	socket := heldSocket(t, w.names["Listen"])
	w.startWith([]*os.File{socket})
	first := w.gw

	var sent, refused atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 2 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				reply, _, err := w.post(&letter{listen: "Listen", helo: "client.example", from: "alice@sender.example",
					to: []string{"bob@example.org"}, msg: []byte(smallMessage)})
				switch {
				case err != nil && strings.Contains(err.Error(), "refused"):
					refused.Add(1)
				case err == nil && reply[0] == '2':
					sent.Add(1)
				}
			}
		})
	}
	waitFor(t, func() bool { return sent.Load() > 20 })
	if err := first.terminate(); err != nil {
		t.Error(err)
	}
	w.startWith([]*os.File{socket})
	before := sent.Load()
	waitFor(t, func() bool { return sent.Load() > before+20 })
	close(stop)
	clients.Wait()
	if refused.Load() > 0 {
		t.Errorf("%d connections were refused", refused.Load())
	}
	if _, err := w.sinks["Sink"].wait(int(sent.Load()), patience); err != nil {
		t.Error(err)
	}
}

// TestActivationOfNoListener: a socket that no listener has would let clients
// wait in its backlog for ever. The log says so, and the others are served.
func TestActivationOfNoListener(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	w.write("gateway.toml", plainConfig)
	w.startWith([]*os.File{heldSocket(t, w.names["Listen2"]), heldSocket(t, w.names["Listen"])})
	if err := w.gw.waitLog(`"level":"ERROR","msg":"a socket from systemd is not served.*"address":"`+w.names["Listen2"]+`"`, 0); err != nil {
		t.Error(err)
	}
	if n := w.gw.count("a socket from systemd"); n != 1 {
		t.Errorf("%d sockets are said not to be served", n)
	}
	w.hello(t)
}

// waitFor polls for what a test cannot be told of.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

// TestConnectionsPerNetwork: the limit is on the client behind the proxy, not on
// the proxy, and on his network, not on his address.
func TestConnectionsPerNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	w.write("gateway.toml", plainConfig+`
[limits]
connections_per_network = 3

[privacy]
own_networks = ["198.51.100.0/24"]
`)
	w.start()
	open := func(addr string) string {
		c := w.hello(t)
		reply, err := c.do("XCLIENT ADDR=%s", addr)
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	for n, tc := range []struct{ addr, want string }{
		{"192.0.2.1", "220"}, {"192.0.2.2", "220"}, {"192.0.2.3", "220"}, {"192.0.2.4", "421 4.7.0"},
		{"192.0.3.1", "220"},
		{"IPV6:2001:db8::1", "220"}, {"IPV6:2001:db8::2", "220"}, {"IPV6:2001:db8::1:3", "220"},
		{"IPV6:2001:db8::4", "421 4.7.0"}, {"IPV6:2001:db8:0:1::4", "220"},
		{"198.51.100.1", "220"}, {"198.51.100.1", "220"}, {"198.51.100.1", "220"}, {"198.51.100.1", "220"},
	} {
		if reply := open(tc.addr); !matches(tc.want, reply) {
			t.Errorf("%d: %s: %s, want %s", n, tc.addr, reply, tc.want)
		}
	}
}

// TestLoop: two gateways that think of each other as the next hop. The message
// stops, though every hop redacts the trace.
func TestLoop(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t, t.TempDir()), newWorld(t, t.TempDir())
	a.names["Next"], b.names["Next"] = b.names["Listen"], a.names["Listen"]
	config := strings.ReplaceAll(plainConfig, "{{.Sink}}", "{{.Next}}") + `
[privacy]
redact = "all"
`
	for _, w := range []*world{a, b} {
		w.write("gateway.toml", config)
		w.start()
	}
	reply, _, err := a.post(&letter{listen: "Listen", helo: "client.example", from: "alice@sender.example",
		to: []string{"bob@example.org"}, msg: []byte(smallMessage)})
	if err != nil || reply[0] != '2' {
		t.Fatal(reply, err)
	}
	stopped := func(w *world) bool {
		for _, line := range w.gw.lines() {
			if strings.Contains(line, `"msg":"transaction"`) && strings.Contains(line, "554 5.4.6 Too many hops") {
				return true
			}
		}
		return false
	}
	waitFor(t, func() bool { return stopped(a) || stopped(b) })
	hops := func() int { return a.gw.count(`"msg":"transaction"`) + b.gw.count(`"msg":"transaction"`) }
	waitFor(t, func() bool { return hops() >= 100 }) // RFC 5321 section 6.3
	if hops() > 110 {
		t.Errorf("it went on for %d hops", hops())
	}
}

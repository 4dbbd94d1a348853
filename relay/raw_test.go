package relay

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
)

// listen opens a listener that ends with the test.
func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// rawConn is a next hop whose every octet a test decides.
type rawConn struct {
	net.Conn
	r *bufio.Reader
}

// serveRaw runs f for each connection until the listener is closed, and closes
// the connection after it.
func serveRaw(ln net.Listener, f func(*rawConn)) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		f(&rawConn{nc, bufio.NewReader(nc)})
		nc.Close()
	}
}

func (c *rawConn) greet(extensions []string) {
	c.say("220 raw.example ESMTP")
	c.commands(1)
	c.say("250-raw.example")
	for _, e := range extensions {
		c.say("250-" + e)
	}
	c.say("250 OK")
}

func (c *rawConn) say(lines ...string) {
	io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n")
}

func (c *rawConn) commands(n int) (last string) {
	for range n {
		last, _ = c.r.ReadString('\n')
	}
	return last
}

func (c *rawConn) read(n int64) { io.CopyN(io.Discard, c.r, n) }

package smtpd

import (
	"net"
	"strings"
	"testing"
)

// TestReload: what SIGHUP changes holds for the next connection.
func TestReload(t *testing.T) {
	d := &desk{}
	s := memServer(d, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l, ListenerOptions{}) }()
	dial(t, l.Addr()).say("XCLIENT ADDR=192.0.2.1", "550")
	s.SetTrustedProxies(l, loopback)
	dial(t, l.Addr()).say("XCLIENT ADDR=192.0.2.1", "220")
	limits := testLimits()
	limits.MessageSize = 12345
	s.SetLimits(limits)
	if got := dial(t, l.Addr()).say("EHLO x.example", "250"); !strings.Contains(got, "SIZE 12345") {
		t.Errorf("%q", got)
	}
	s.Close()
	if err := <-ended; err != ErrServerClosed {
		t.Error(err)
	}
	l, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l, ListenerOptions{}); err != ErrServerClosed {
		t.Error(err)
	}
}

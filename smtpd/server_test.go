package smtpd

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
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

// TestRefusalsAreNamed: whatever is refused, what the client is shown leads to
// the log.
func TestRefusalsAreNamed(t *testing.T) {
	s := memServer(&desk{}, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l, ListenerOptions{})
	defer s.Close()
	p := dial(t, l.Addr())
	for _, c := range [][2]string{
		{"NOSUCH", "500"}, {"MAIL FROM:<a@sender.example>", "503"}, {"EHLO", "501"}, {"EHLO client.example", "250"}, {"BDAT 0", "503"},
		{"BDAT 0 LAST", "503"}, {"DATA", "503"}, {"RCPT TO:<bob@example.org>", "503"}, {"VRFY", "501"}, {"EXPN bob", "502"},
		{"XCLIENT ADDR=192.0.2.1", "550"}, {"STARTTLS now", "501"}, {"MAIL FROM:<@>", "501"}, {"BDAT what", "501"},
	} {
		if got := p.say(c[0], c[1]); (c[1] > "3") != strings.Contains(got, "; id ") {
			t.Errorf("%s: %s", c[0], got)
		}
	}
}

// TestEarlyTalker: who speaks before the banner is counted, and served.
func TestEarlyTalker(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	d := &desk{}
	spoken := make(chan struct{})
	s := NewServer(Options{Hostname: "mx.example.org", Logger: quiet, Metrics: m, Exempt: func(netip.Addr) bool {
		<-spoken // comes before the banner
		return true
	}}, d)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l, ListenerOptions{})
	defer s.Close()
	p := connect(t, l.Addr())
	p.send("EHLO client.example\r\n")
	close(spoken)
	p.want("220")
	p.want("250")
	dial(t, l.Addr()).say("QUIT", "221")
	if n := testutil.ToFloat64(m.early); n != 1 {
		t.Errorf("%v counted", n)
	}
	if !d.clients[0].Own {
		t.Error("an exempt client is our own")
	}
}

package dnstest

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func exchange(t *testing.T, network, addr, name string, typ uint16) (*dns.Msg, error) {
	t.Helper()
	c := dns.Client{Net: network, Timeout: 100 * time.Millisecond}
	r, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, typ), addr)
	return r, err
}

// The server must do to the letter what a test relies on, or the test proves
// nothing.
func TestAnswers(t *testing.T) {
	s := Run(t, `
		example.org 60 SOA ns.example.org. h.example.org. 1 2 3 4 77
		example.org  TXT "apex"
		a.b.example.org A 192.0.2.1
		alias.example.org CNAME a.b.example.org.
		gone.example.org CNAME nowhere.example.org.
		*.w.example.org A 192.0.2.2
		x.w.example.org TXT "here"
	`)
	for _, c := range []struct {
		name    string
		typ     uint16
		rcode   int
		answers int
		minttl  uint32
	}{
		{"example.org.", dns.TypeTXT, 0, 1, 0},
		{"EXAMPLE.org.", dns.TypeTXT, 0, 1, 0},
		{"example.org.", dns.TypeMX, 0, 0, 77},
		{"b.example.org.", dns.TypeA, 0, 0, 77}, // an empty non-terminal exists
		{"c.example.org.", dns.TypeA, dns.RcodeNameError, 0, 77},
		{"alias.example.org.", dns.TypeA, 0, 2, 0},
		{"alias.example.org.", dns.TypeCNAME, 0, 1, 0},
		{"gone.example.org.", dns.TypeA, dns.RcodeNameError, 1, 77},
		{"q.w.example.org.", dns.TypeA, 0, 1, 0},
		{"p.q.w.example.org.", dns.TypeA, 0, 1, 0},
		{"x.w.example.org.", dns.TypeA, 0, 0, 77}, // a name of its own hides the wildcard
		{"other.test.", dns.TypeA, dns.RcodeNameError, 0, 300},
	} {
		for _, network := range []string{"udp", "tcp"} {
			r, err := exchange(t, network, s.Addr(), c.name, c.typ)
			if err != nil {
				t.Fatal(err)
			}
			if r.Rcode != c.rcode || len(r.Answer) != c.answers {
				t.Errorf("%s %s: %v", network, c.name, r)
			}
			if c.minttl > 0 && (len(r.Ns) != 1 || r.Ns[0].(*dns.SOA).Minttl != c.minttl) {
				t.Errorf("%s %s: authority %v", network, c.name, r.Ns)
			}
		}
	}
	if n := s.Count("example.org"); n != 6 {
		t.Errorf("%d queries for the apex", n)
	}
	if n := s.Count("Example.org.", "TXT"); n != 4 {
		t.Errorf("%d TXT queries for the apex", n)
	}
}

func TestFaults(t *testing.T) {
	s := Run(t, `
		x.example TXT "here"
		!drop x.example TXT *1
		!servfail x.example A
		!huge huge.example
		!late late.example 10s
		!refused *.dead.example
		!servfail one.dead.example
	`)
	for name, code := range map[string]int{
		"a.b.dead.example.": dns.RcodeRefused, "one.dead.example.": dns.RcodeServerFailure, "dead.example.": dns.RcodeNameError,
	} {
		if r, err := exchange(t, "udp", s.Addr(), name, dns.TypeTXT); err != nil || r.Rcode != code {
			t.Errorf("%s: %v %v", name, r, err)
		}
	}
	if r, err := exchange(t, "udp", s.Addr(), "x.example.", dns.TypeTXT); err == nil {
		t.Errorf("the first query was answered: %v", r)
	}
	if r, err := exchange(t, "udp", s.Addr(), "x.example.", dns.TypeTXT); err != nil || len(r.Answer) != 1 {
		t.Errorf("the second query: %v %v", r, err)
	}
	if r, err := exchange(t, "udp", s.Addr(), "x.example.", dns.TypeA); err != nil || r.Rcode != dns.RcodeServerFailure {
		t.Errorf("servfail: %v %v", r, err)
	}
	if r, err := exchange(t, "udp", s.Addr(), "huge.example.", dns.TypeTXT); err != nil || !r.Truncated {
		t.Errorf("huge: %v %v", r, err)
	}
	if r, err := exchange(t, "tcp", s.Addr(), "huge.example.", dns.TypeTXT); err != nil || r.Len() < 60000 {
		t.Errorf("huge over TCP: %v", err)
	}
	start := time.Now()
	_, err := exchange(t, "udp", s.Addr(), "late.example.", dns.TypeTXT)
	if err == nil || time.Since(start) > 5*time.Second {
		t.Error("late: answered")
	}
	// Close, by t.Cleanup, must not wait for the late answer: goleak sees it.
}

func TestWrongZones(t *testing.T) {
	for _, zone := range []string{"x.example A 192.0.2.300", "!explode x.example", "!late x.example soon", "!drop", "!drop x *many", "one word"} {
		if s, err := New(zone); err == nil {
			s.Close()
			t.Errorf("%q was taken", zone)
		}
	}
	s := Run(t, "x.example A 192.0.2.1")
	if err := s.Replace("nonsense"); err == nil {
		t.Error("Replace took nonsense")
	}
	if r, err := exchange(t, "udp", s.Addr(), "x.example.", dns.TypeA); err != nil || len(r.Answer) != 1 {
		t.Errorf("after a wrong Replace: %v %v", r, err)
	}
}

func TestListen(t *testing.T) {
	s := Run(t, "")
	if host, _, err := net.SplitHostPort(s.Addr()); err != nil || host != "127.0.0.1" {
		t.Errorf("address %q", s.Addr())
	}
	if second, err := Listen(s.Addr(), ""); err == nil {
		second.Close()
		t.Error("the same port was taken twice")
	}
}

func FuzzZone(f *testing.F) {
	f.Add("x.example A 192.0.2.1\n!drop x.example TXT 5s *1")
	f.Add("*.example CNAME *.example.")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToLower(text), "$") {
			return // $INCLUDE is refused, $GENERATE only slow
		}
		z, err := parseZone(text)
		if err != nil {
			return
		}
		m := new(dns.Msg).SetQuestion("a.x.example.", dns.TypeA)
		z.answer(m)
	})
}

package dnstest

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Server is a running server. It is safe for concurrent use.
type Server struct {
	addr     string
	udp, tcp *dns.Server
	done     chan struct{} // closed by Close: late answers are not sent any more
	handlers sync.WaitGroup

	mu      sync.Mutex
	zone    *zone
	queries []Query
	counts  map[string]int
}

// Query is one query that came in.
type Query struct {
	Name string // lower case, without the trailing dot
	Type string
	Net  string // "udp", "tcp" or "tls"
	ID   uint16
	Port int // the client's
	EDNS int // UDP size that the client offers; 0 without EDNS
	Size int // of the message
}

// maxLog bounds the log of queries, so that a demo may run for days.
const maxLog = 10000

// New starts a server on a free port of 127.0.0.1, the same for UDP and TCP.
func New(zoneText string) (*Server, error) { return Listen("127.0.0.1:0", zoneText) }

// Listen is New on a given address. Port 0 means a free one.
func Listen(addr, zoneText string) (*Server, error) {
	z, err := parseZone(zoneText)
	if err != nil {
		return nil, err
	}
	pc, l, err := listenBoth(addr)
	if err != nil {
		return nil, err
	}
	s := &Server{addr: pc.LocalAddr().String(), zone: z, counts: map[string]int{}, done: make(chan struct{})}
	s.udp = s.serve(&dns.Server{PacketConn: pc})
	s.tcp = s.serve(&dns.Server{Listener: l})
	return s, nil
}

// listenBoth finds a port that is free for both protocols.
func listenBoth(addr string) (net.PacketConn, net.Listener, error) {
	var last error
	for range 20 {
		pc, err := net.ListenPacket("udp", addr)
		if err != nil {
			return nil, nil, err
		}
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			return pc, l, nil
		}
		last = err
		_ = pc.Close()
	}
	return nil, nil, fmt.Errorf("no port free for UDP and TCP: %w", last)
}

// serve starts one of the two servers, and returns when it listens.
func (s *Server) serve(srv *dns.Server) *dns.Server {
	started := make(chan struct{})
	srv.Handler = dns.HandlerFunc(s.handle)
	srv.NotifyStartedFunc = func() { close(started) }
	s.handlers.Go(func() { _ = srv.ActivateAndServe() }) // ends at Shutdown
	<-started
	return srv
}

// Addr is host:port, for Options.Servers and the gateway's [dns] servers.
func (s *Server) Addr() string { return s.addr }

// Close stops the server and waits for its goroutines.
func (s *Server) Close() {
	close(s.done)
	_ = s.udp.Shutdown()
	_ = s.tcp.Shutdown()
	s.handlers.Wait()
}

// Replace changes the zone; the counters stay.
func (s *Server) Replace(zoneText string) error {
	z, err := parseZone(zoneText)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone = z
	return nil
}

// Count is the number of queries for a name, of the given types or of any.
// TCP repetitions count too.
func (s *Server) Count(name string, types ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	name = canonical(name)
	if len(types) == 0 {
		return s.counts[name]
	}
	n := 0
	for _, t := range types {
		n += s.counts[name+" "+t]
	}
	return n
}

// Queries returns the first queries since the start, in order of arrival.
func (s *Server) Queries() []Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Query(nil), s.queries...)
}

func (s *Server) handle(w dns.ResponseWriter, r *dns.Msg) {
	if len(r.Question) != 1 {
		return
	}
	s.handlers.Add(1) // while serve's goroutine runs, so never from zero
	defer s.handlers.Done()
	q := r.Question[0]
	overUDP := w.RemoteAddr().Network() == "udp"
	z, fault := s.record(w, r)
	reply := new(dns.Msg).SetReply(r)
	reply.RecursionAvailable = true
	reply.Compress = true
	if opt := r.IsEdns0(); opt != nil && fault.Kind != "formerr" {
		reply.SetEdns0(1232, false)
	}
	if fault.Kind == "hangup" && !overUDP {
		_ = w.Close() // the client sees it
		return
	}
	if fault.Kind == "huge" {
		reply.Answer = hugeTXT(q.Name)
	} else {
		z.answer(reply)
	}
	if !s.spoil(fault, overUDP, r, reply) {
		return
	}
	if overUDP {
		reply.Truncate(max(udpSize(r), dns.MinMsgSize))
	}
	if fault.Kind == "garbage" {
		_, _ = w.Write(garbage(reply))
		return
	}
	_ = w.WriteMsg(reply) // the client may be gone
}

func udpSize(r *dns.Msg) int {
	if opt := r.IsEdns0(); opt != nil {
		return int(opt.UDPSize())
	}
	return 0
}

// record notes a query, and finds the zone and the fault that it meets.
func (s *Server) record(w dns.ResponseWriter, r *dns.Msg) (*zone, Fault) {
	q := r.Question[0]
	name := canonical(q.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[name]++
	s.counts[name+" "+dns.TypeToString[q.Qtype]]++
	if len(s.queries) < maxLog {
		host := Query{Name: strings.TrimSuffix(name, "."), Type: dns.TypeToString[q.Qtype], ID: r.Id, EDNS: udpSize(r), Size: r.Len()}
		switch a := w.RemoteAddr().(type) {
		case *net.UDPAddr:
			host.Net, host.Port = "udp", a.Port
		case *net.TCPAddr:
			host.Net, host.Port = "tcp", a.Port
		}
		if _, ok := w.(*tlsWriter); ok {
			host.Net = "tls"
		}
		s.queries = append(s.queries, host)
	}
	return s.zone, s.zone.fault(name, q.Qtype)
}

// spoil applies a fault to a reply; false means that none is sent.
func (s *Server) spoil(f Fault, overUDP bool, r, reply *dns.Msg) bool {
	empty := func(code int) {
		reply.Rcode, reply.Answer, reply.Ns = code, nil, nil
	}
	switch f.Kind {
	case "drop", "hangup":
		return false
	case "ad":
		opt := r.IsEdns0()
		reply.AuthenticatedData = r.AuthenticatedData || opt != nil && opt.Do()
	case "late":
		select {
		case <-time.After(f.Delay):
		case <-s.done:
			return false
		}
	case "servfail":
		empty(dns.RcodeServerFailure)
	case "refused":
		empty(dns.RcodeRefused)
	case "formerr":
		if r.IsEdns0() != nil { // as a server that does not know EDNS
			empty(dns.RcodeFormatError)
		}
	case "truncate", "cut":
		if overUDP {
			reply.Answer, reply.Ns, reply.Truncated = nil, nil, true
		}
		return overUDP || f.Kind == "truncate"
	case "wrongid":
		reply.Id++
	case "wrongname":
		reply.Question[0].Name = "another." + reply.Question[0].Name
	}
	return true
}

// hugeTXT makes one answer of nearly 64 KiB.
func hugeTXT(name string) []dns.RR {
	var rrs []dns.RR
	for range 15 {
		txt := &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 300}}
		for range 16 {
			txt.Txt = append(txt.Txt, strings.Repeat("x", 255))
		}
		rrs = append(rrs, txt)
	}
	return rrs
}

// garbage keeps the header and the question of a reply, and claims a record
// that is noise.
func garbage(reply *dns.Msg) []byte {
	reply.Answer, reply.Ns, reply.Extra = nil, nil, nil
	msg, err := reply.Pack()
	if err != nil {
		return nil
	}
	msg[7] = 1 // ANCOUNT
	return append(msg, 0xc0, 0xff, 0xff, 0x00, 0x01)
}

// TB is the part of testing.TB that Start needs: the gateway's demo has this
// server built in, and a program must not import testing.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// Start starts a server for one test and returns its address.
func Start(t TB, zoneText string) string {
	t.Helper()
	return Run(t, zoneText).Addr()
}

// Run is Start for those who want the Server.
func Run(t TB, zoneText string) *Server {
	t.Helper()
	s, err := New(zoneText)
	if err != nil {
		t.Fatalf("dnstest: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

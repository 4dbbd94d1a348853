package smtpd

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// halting is a client that pauses in the middle of what is large.
type halting struct {
	net.Conn
	pause time.Duration
}

func (h *halting) Write(b []byte) (int, error) {
	if len(b) < 1000 {
		return h.Conn.Write(b)
	}
	n, err := h.Conn.Write(b[:len(b)/2])
	if err != nil {
		return n, err
	}
	time.Sleep(h.pause)
	m, err := h.Conn.Write(b[n:])
	return n + m, err
}

// TestRest: what crypto/tls read large records into is given back once the
// session is silent, not before, and what came by then is not lost: neither half
// a record nor half a message.
func TestRest(t *testing.T) {
	config := withTLS(t)
	synctest.Test(t, func(t *testing.T) {
		var s *Server
		var got []string
		var held [][2]int // by message: before it came, and after
		holds := func() (n int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for c := range s.conns {
				for _, b := range tlsBuffers(c.nc.(*tls.Conn)) {
					n += b.Cap()
				}
			}
			return n
		}
		s = memServer(&desk{data: func(r io.Reader) error { // on the session's goroutine
			before := holds()
			b, err := io.ReadAll(r)
			got, held = append(got, string(b)), append(held, [2]int{before, holds()})
			return err
		}}, config)
		client, server := net.Pipe()
		li := &listener{}
		li.proxies.Store(&[]netip.Prefix{})
		s.start(server, li)

		slow := &halting{Conn: client}
		p := newPeer(t, slow)
		patient := func() { p.c.SetDeadline(time.Now().Add(24 * time.Hour)) }
		patient()
		p.want("220")
		p.say("EHLO client.example", "250")
		p.say("STARTTLS", "220")
		p = p.secure()
		patient()
		body := "\r\n" + strings.Repeat(strings.Repeat("x", 98)+"\r\n", 640)
		for _, pause := range []time.Duration{0, 2 * restAfter} {
			p.envelope()
			p.say("DATA", "354")
			slow.pause = pause
			p.send(body)
			time.Sleep(pause)
			p.send(".\r\n")
			p.want("250")
			time.Sleep(2 * restAfter)
		}
		p.say("QUIT", "221")
		client.Close()
		s.Close()
		if len(got) != 2 || got[0] != body || got[1] != body {
			t.Errorf("got %s", short(fmt.Sprintf("%q", got)))
		}
		if len(held) != 2 || held[0][1] < 8<<10 || held[1][0] > 4<<10 {
			t.Errorf("octets held before and after each message: %v", held)
		}
	})
}

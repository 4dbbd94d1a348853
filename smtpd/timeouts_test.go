package smtpd

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// timed runs f against a server in virtual time.
func timed(t *testing.T, change func(*Options), f func(p *peer)) {
	timedServer(t, change, func(_ *Server, p *peer) { f(p) })
}

func timedServer(t *testing.T, change func(*Options), f func(s *Server, p *peer)) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{}
		s := memServer(d, change)
		client, server := net.Pipe()
		li := &listener{}
		li.proxies.Store(&[]netip.Prefix{})
		s.start(server, li)
		p := newPeer(t, client)
		client.SetDeadline(time.Now().Add(24 * time.Hour))
		p.want("220")
		f(s, p)
		client.Close()
		s.Close()
	})
}

func TestTimeouts(t *testing.T) {
	t.Run("command", func(t *testing.T) {
		timed(t, nil, func(p *peer) {
			start := time.Now()
			p.want("421 4.4.2")
			p.wantClosed()
			if d := time.Since(start); d != 5*time.Minute {
				t.Errorf("after %v", d)
			}
		})
	})
	t.Run("anew after each command", func(t *testing.T) {
		// The deadline of an earlier wait fires within a later one.
		timed(t, withTLS(t), func(p *peer) {
			wait := func(p *peer) {
				for range 3 {
					time.Sleep(4 * time.Minute)
					p.say("NOOP", "250")
				}
			}
			wait(p)
			p.say("EHLO client.example", "250")
			p.say("STARTTLS", "220")
			p = p.secure()
			p.c.SetDeadline(time.Now().Add(24 * time.Hour))
			wait(p)
			p.say("EHLO client.example", "250")
			p.envelope()
			p.say("DATA", "354") // a shorter wait than the one that is armed
			time.Sleep(2 * time.Minute)
			p.send("Subject: x\r\n\r\n.\r\n")
			p.want("250")
			start := time.Now()
			p.want("421 4.4.2")
			if d := time.Since(start); d != 5*time.Minute {
				t.Errorf("after %v", d)
			}
		})
	})
	t.Run("octet by octet", func(t *testing.T) {
		timed(t, nil, func(p *peer) {
			p.send("NO")
			time.Sleep(4 * time.Minute)
			p.send("OP")
			time.Sleep(59 * time.Second)
			p.send(" ")
			p.want("421 4.4.2")
		})
	})
	t.Run("data", func(t *testing.T) {
		timed(t, nil, func(p *peer) {
			p.envelope()
			p.say("DATA", "354")
			p.send("Subject: x\r\n")
			start := time.Now()
			p.want("421 4.4.2")
			if d := time.Since(start); d != 3*time.Minute {
				t.Errorf("after %v", d)
			}
		})
	})
	t.Run("slow data", func(t *testing.T) {
		// One octet a second is less than any rate: it gets the grace only.
		timed(t, nil, func(p *peer) {
			p.envelope()
			p.say("DATA", "354")
			start := time.Now()
			go io.Copy(io.Discard, p.c)
			for time.Since(start) < 10*time.Minute {
				if _, err := io.WriteString(p.c, "x"); err != nil {
					break
				}
				time.Sleep(time.Second)
			}
			if d := time.Since(start); d < 3*time.Minute || d > 3*time.Minute+2*time.Second {
				t.Errorf("given up after %v", d)
			}
		})
	})
	t.Run("session", func(t *testing.T) {
		timed(t, func(o *Options) { o.Limits.Commands = 1 << 20 }, func(p *peer) {
			start := time.Now()
			go io.Copy(io.Discard, p.c)
			for time.Since(start) < 2*time.Hour {
				if _, err := io.WriteString(p.c, "NOOP\r\n"); err != nil {
					break
				}
				time.Sleep(time.Minute)
			}
			if d := time.Since(start); d < time.Hour || d > time.Hour+time.Minute {
				t.Errorf("ended after %v", d)
			}
		})
	})
}

func TestShutdown(t *testing.T) {
	d := &desk{}
	s, addr := serve(t, d, ListenerOptions{}, nil)
	idle, busy, sending := dial(t, addr), dial(t, addr), dial(t, addr)
	busy.envelope()
	sending.envelope()
	sending.say("DATA", "354")
	sending.send("Subject: x\r\n")
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	idle.want("421 4.3.2")
	idle.wantClosed()
	if c, err := net.Dial("tcp", addr.String()); err == nil {
		c.Close()
		t.Error("still listening")
	}
	busy.say("DATA", "354")
	busy.send("x\r\n.\r\nMAIL FROM:<>\r\n")
	busy.want("250")
	busy.want("421 4.3.2")
	sending.send("\r\nx\r\n.\r\n")
	sending.want("250")
	sending.want("421 4.3.2")
	busy.c.Close()
	sending.c.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	d.wantLetters(t, 2)
}

// TestShutdownInHandshake: a client that owes us a handshake is idle too.
func TestShutdownInHandshake(t *testing.T) {
	s, addr := serve(t, &desk{}, ListenerOptions{}, withTLS(t))
	p := dial(t, addr)
	p.say("EHLO client.example", "250")
	p.say("STARTTLS", "220")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// TestShutdownImpatient: a client that does not finish cannot hold it up.
func TestShutdownImpatient(t *testing.T) {
	d := &desk{}
	s, addr := serve(t, d, ListenerOptions{}, nil)
	p := dial(t, addr)
	p.envelope()
	p.say("DATA", "354")
	p.send("Subject: x\r\n")
	chunked := dial(t, addr)
	chunked.envelope()
	chunked.send("BDAT 3\r\nx\r\n")
	chunked.want("250")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error("it was in order, but for the messages:", err)
	}
	for _, p := range []*peer{p, chunked} {
		p.want("421 4.3.2")
		p.wantClosed()
	}
	d.wantLetters(t, 0)
}

// TestShutdownDeaf: a client whose connection had to be broken is no order.
func TestShutdownDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memServer(&desk{}, nil)
		client, server := net.Pipe() // a write waits for its reader
		li := &listener{}
		li.proxies.Store(&[]netip.Prefix{})
		s.start(server, li)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Error(err)
		}
		if d := time.Since(start); d != time.Second+lastWords {
			t.Errorf("after %v", d)
		}
		client.Close()
	})
}

// TestShutdownEnvelope: who has not begun with the data loses nothing by 421.
func TestShutdownEnvelope(t *testing.T) {
	for _, commands := range [][]string{
		{"MAIL FROM:<a@client.example>"},
		{"MAIL FROM:<a@client.example>", "RCPT TO:<b@example.org>"},
	} {
		timedServer(t, nil, func(s *Server, p *peer) {
			p.say("EHLO client.example", "250")
			for _, c := range commands {
				p.say(c, "250")
			}
			start := time.Now()
			ended := make(chan error, 1)
			go func() { ended <- s.Shutdown(context.Background()) }()
			time.Sleep(time.Second)
			p.say("NOOP", "250") // it is still served
			p.want("421 4.3.2")
			if d := time.Since(start); d != envelopeGrace {
				t.Errorf("after %v", d)
			}
			p.wantClosed()
			p.c.Close()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

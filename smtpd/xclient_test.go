package smtpd

import (
	"net/netip"
	"strings"
	"testing"
)

func TestXclient(t *testing.T) {
	d := &desk{}
	_, addr := serve(t, d, ListenerOptions{TrustedProxies: loopback}, nil)
	p := dial(t, addr)
	if got := p.say("EHLO proxy.example", "250"); !strings.Contains(got, "XCLIENT NAME ADDR PORT PROTO HELO") {
		t.Errorf("not offered: %q", got)
	}
	p.say("XCLIENT addr=192.0.2.1 NAME=mail.client.example HELO=client.example Port=2525 PROTO=SMTP", "220")
	p.say("EHLO proxy.example", "250")
	p.say("XCLIENT ADDR=ipv6:2001:db8::25 NAME=[tempunavail]", "220")
	p.say("EHLO proxy.example", "250")
	p.say("XCLIENT ADDR=[UNAVAILABLE] HELO=[UNAVAILABLE] PROTO=[UNAVAILABLE]", "220")
	p.say("EHLO proxy.example", "250")
	p.say("XCLIENT NAME=plus+2Bminus.example", "501")
	p.say("XCLIENT ADDR=::ffff:192.0.2.77 NAME=a-+62.example", "220")
	for _, bad := range []string{"ADDR", "ADDR=", "ADDR=fe80::1%eth0", "ADDR=IPV6:192.0.2.1", "PORT=65536", "PORT=-1", "NAME=a..b",
		"HELO=a+20b", "HELO=a+0D+0AX", "PROTO=LMTP", "NAME=x+2", "NAME=" + strings.Repeat("x", 256)} {
		q := dial(t, addr)
		q.say("XCLIENT ADDR=192.0.2.99 "+bad, "501")
		q.c.Close()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.clients) < 5 {
		t.Fatalf("%d sessions", len(d.clients))
	}
	g := d.greets
	for i, want := range []struct {
		addr, name, helo string
		port             uint16
		esmtp            bool
	}{
		{"127.0.0.1", "", "proxy.example", 0, true},
		{"192.0.2.1", "mail.client.example", "client.example", 2525, false},
		{"2001:db8::25", "", "client.example", 2525, false},
		{"invalid IP", "", "proxy.example", 2525, true},
	} {
		got := g[i]
		if got.Addr.String() != want.addr || got.Name != want.name || got.Helo != want.helo ||
			want.port != 0 && got.Port != want.port || got.ESMTP != want.esmtp {
			t.Errorf("Greet %d: %+v, want %+v", i, got, want)
		}
	}
	if last := d.clients[4]; last.Addr.String() != "192.0.2.77" || last.Name != "a-b.example" {
		t.Errorf("last: %+v", last)
	}
}

// TestXclientTrust: it is judged on the TCP peer, and once: no XCLIENT can give
// it or take it away.
func TestXclientTrust(t *testing.T) {
	d := &desk{}
	s := memServer(d, nil)
	got := run(t, s, ListenerOptions{TrustedProxies: loopback}, pieces("EHLO x.example\r\nXCLIENT ADDR=127.0.0.1\r\nQUIT\r\n"))
	if codes(got) != "220 250 550 221" || !strings.HasPrefix(got[2], "550 5.7.0") || strings.Contains(got[1], "XCLIENT") {
		t.Errorf("%q", got)
	}
	all := []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")}
	got = run(t, s, ListenerOptions{TrustedProxies: all}, pieces("XCLIENT ADDR=192.0.2.1\r\nXCLIENT ADDR=192.0.2.2\r\nQUIT\r\n"))
	if codes(got) != "220 220 220 221" {
		t.Errorf("%q", got)
	}
}

package smtpd

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// FuzzSession sends anything to a whole engine. It must not panic, must say
// only well-formed replies, and must take no message that holds what it
// promises to refuse.
func FuzzSession(f *testing.F) {
	f.Add([]byte(preamble+"DATA\r\n"), []byte("x\r\n.\r\nQUIT\r\n"), []byte(nil))
	f.Add([]byte(preamble+"BDAT 2\r\n\r\nBDAT 3 LAST\r\nx\r\n"), []byte("RSET\r\n"), []byte("QUIT\r\n"))
	f.Add([]byte("XCLIENT ADDR=IPV6:2001:db8::1 NAME=x+41\r\n"), []byte("EHLO a\r\nSTARTTLS\r\n"), []byte("\x16\x03"))
	f.Add([]byte("MAIL FROM:<\"a\\\"b\"@c> SIZE=1 ENVID=+41 RET=FULL SMTPUTF8\r\n"), []byte("RCPT TO:<b@c> ORCPT=utf-8;\\x{41} NOTIFY=NEVER\r\n"), []byte("VRFY\r\n"))
	f.Add([]byte("\x00\n\r\r\n"), []byte(strings.Repeat("x", 5000)), []byte("\r\n"))
	m := NewMetrics(prometheus.NewRegistry())
	trusted := ListenerOptions{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		d := &desk{}
		before := testutil.ToFloat64(m.panics)
		s := memServer(d, func(o *Options) { o.Metrics = m })
		run(t, s, trusted, pieces(string(a), string(b), string(c)))
		for _, l := range d.taken() {
			rest := strings.ReplaceAll(l.Data, "\r\n", "")
			if strings.ContainsAny(rest, "\r\n\x00") || l.Data != "" && !strings.HasSuffix(l.Data, "\r\n") || len(l.To) == 0 {
				t.Fatalf("took %q", l)
			}
		}
		if opened, ended := d.balance(); opened != ended {
			t.Fatalf("%d sessions, %d ended", opened, ended)
		}
		if n := testutil.ToFloat64(m.panics) - before; n != 0 {
			// The desk panics when a path asks for it; that one is welcome.
			if all := strings.ToLower(string(a) + string(b) + string(c)); !strings.Contains(all, "panic") {
				t.Fatalf("%v panics", n)
			}
		}
	})
}

func FuzzProxy(f *testing.F) {
	for _, c := range proxyCases {
		f.Add([]byte(c.header))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := parseProxy(b)
		switch {
		case err == errProxyShort && len(b) >= maxProxyV2:
			t.Fatalf("%q: wants more", b)
		case err != nil:
			return
		case n <= 0 || n > len(b) || n > maxProxyV2:
			t.Fatalf("%q: length %d", b, n)
		case h.addr.Is4In6() || h.addr.Zone() != "":
			t.Fatalf("%q: address %v", b, h.addr)
		}
		// Octet by octet it must be the same, and never an error before.
		for i := range n {
			if _, _, err := parseProxy(b[:i]); err != errProxyShort {
				t.Fatalf("%q: %v after %d of %d octets", b, err, i, n)
			}
		}
	})
}

func FuzzXclient(f *testing.F) {
	f.Add("ADDR=IPV6:2001:db8::1 NAME=a.example HELO=[UNAVAILABLE] PORT=25 PROTO=ESMTP")
	f.Add("ADDR=+31")
	f.Fuzz(func(t *testing.T, s string) {
		c := &conn{trusted: true}
		if c.checkXclient([]byte(s)) != nil {
			return
		}
		got := c.cmd.client
		if strings.ContainsAny(got.Helo+got.Name, " \r\n\x00()<>") || got.Addr.Is4In6() || got.Addr.Zone() != "" {
			t.Fatalf("%q: %+v", s, got)
		}
	})
}

func FuzzDSN(f *testing.F) {
	f.Add("rfc822;a+2Bb@c.example")
	f.Add(`utf-8;\x{FC}@c.example`)
	f.Fuzz(func(t *testing.T, s string) {
		if id, ok := parseEnvID(s); ok && (id == "" || !isPrintable(id)) {
			t.Fatalf("ENVID %q", id)
		}
		if _, addr, ok := parseORcpt(s); ok && strings.ContainsAny(addr, "\r\n\x00") {
			t.Fatalf("ORCPT %q", addr)
		}
	})
}

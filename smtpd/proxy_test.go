package smtpd

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func v2(command, family byte, body ...byte) string {
	h := append([]byte(nil), proxyV2Prefix...)
	h = append(h, command, family)
	h = binary.BigEndian.AppendUint16(h, uint16(len(body)))
	return string(append(h, body...))
}

var (
	v2v4 = []byte{192, 0, 2, 5, 198, 51, 100, 1, 0x10, 0x00, 0, 25}
	v2v6 = append(append(netip.MustParseAddr("2001:db8::5").AsSlice(), netip.MustParseAddr("2001:db8::1").AsSlice()...), 0x10, 0, 0, 25)
)

var proxyCases = []struct {
	header, addr string // addr: "-" refused, "" the peer's own
	port         uint16
}{
	{"PROXY TCP4 192.0.2.5 198.51.100.1 4096 25\r\n", "192.0.2.5", 4096},
	{"PROXY TCP6 2001:db8::5 2001:db8::1 4096 25\r\n", "2001:db8::5", 4096},
	{"PROXY TCP6 ::ffff:192.0.2.5 ::1 4096 25\r\n", "192.0.2.5", 4096},
	{"PROXY UNKNOWN\r\n", "", 0},
	{"PROXY UNKNOWN 192.0.2.5 what ever\r\n", "", 0},
	{"PROXY TCP4 192.0.2.5 198.51.100.1 4096\r\n", "-", 0},
	{"PROXY TCP4 2001:db8::5 198.51.100.1 4096 25\r\n", "-", 0},
	{"PROXY TCP4 192.0.2.5 198.51.100.1 04096 25\r\n", "-", 0},
	{"PROXY TCP4 192.0.2.5 198.51.100.1 65536 25\r\n", "-", 0},
	{"PROXY TCP4  192.0.2.5 198.51.100.1 1 25\r\n", "-", 0},
	{"PROXY TCP4 192.0.2.5 198.51.100.1 1 25\n", "-", 0},
	{"PROXY UDP4 192.0.2.5 198.51.100.1 1 25\r\n", "-", 0},
	{"PROXY TCP4 " + strings.Repeat("1", 100) + "\r\n", "-", 0},
	{"PROXY \r\n", "-", 0},
	{"EHLO client.example\r\n", "-", 0},
	{v2(0x21, 0x11, v2v4...), "192.0.2.5", 4096},
	{v2(0x21, 0x21, v2v6...), "2001:db8::5", 4096},
	{v2(0x21, 0x11, append(v2v4[:12:12], 4, 0, 1, 'x')...), "192.0.2.5", 4096},
	{v2(0x20, 0x00), "", 0},
	{v2(0x20, 0x11, v2v4...), "", 0},
	{v2(0x21, 0x00), "", 0},
	{v2(0x21, 0x31, make([]byte, 216)...), "", 0},
	{v2(0x21, 0x11, make([]byte, 520)...), "0.0.0.0", 0},
	{v2(0x21, 0x11, make([]byte, 521)...), "-", 0},
	{v2(0x21, 0x11, v2v4[:11]...), "-", 0},
	{v2(0x21, 0x21, v2v4...), "-", 0},
	{v2(0x22, 0x11, v2v4...), "-", 0},
	{v2(0x11, 0x11, v2v4...), "-", 0},
}

func TestProxy(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")}
	for _, c := range proxyCases {
		for _, cut := range []int{0, 1, 6, 13, len(c.header) - 1} {
			d := &desk{}
			cut = min(cut, len(c.header)-1)
			got := run(t, memServer(d, nil), ListenerOptions{ProxyProtocol: true, TrustedProxies: trusted},
				pieces(c.header[:cut], c.header[cut:]+"QUIT\r\n"))
			if c.addr == "-" {
				if len(got) != 0 || len(d.clients) != 0 {
					t.Errorf("%q: %q", c.header, got)
				}
				continue
			}
			addr, port := c.addr, c.port
			if addr == "" {
				addr, port = "198.51.100.7", 4321
			}
			if codes(got) != "220 221" || d.clients[0].Addr.String() != addr || d.clients[0].Port != port {
				t.Errorf("%q cut at %d: %q, %+v", c.header, cut, got, d.clients)
			}
		}
	}
	// Unlisted: not even a banner. And without proxy_protocol it is no header.
	header := proxyCases[0].header
	if got := run(t, memServer(&desk{}, nil), ListenerOptions{ProxyProtocol: true, TrustedProxies: loopback}, pieces(header)); len(got) != 0 {
		t.Errorf("unlisted: %q", got)
	}
	if got := codes(run(t, memServer(&desk{}, nil), ListenerOptions{TrustedProxies: trusted}, pieces(header+"QUIT\r\n"))); got != "220 500 221" {
		t.Errorf("not a proxy listener: %s", got)
	}
}

// TestProxyTrust: XCLIENT's trust stays the TCP peer's, whoever PROXY names.
func TestProxyTrust(t *testing.T) {
	d := &desk{}
	_, addr := serve(t, d, ListenerOptions{ProxyProtocol: true, TrustedProxies: loopback}, nil)
	p := connect(t, addr)
	p.send("PROXY TCP4 192.0.2.5 198.51.100.1 4096 25\r\n")
	p.want("220")
	p.say("XCLIENT ADDR=192.0.2.6", "220")
}

func TestProxySilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memServer(&desk{}, nil)
		client, server := net.Pipe()
		li := &listener{ListenerOptions: ListenerOptions{ProxyProtocol: true}}
		li.proxies.Store(&[]netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")})
		start := time.Now()
		s.start(peerConn{server}, li)
		client.Write([]byte("PROXY TCP4"))
		if _, err := client.Read(make([]byte, 1)); err == nil || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		s.Close()
	})
}

// peerConn gives a pipe a TCP peer.
type peerConn struct{ net.Conn }

func (peerConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9} }

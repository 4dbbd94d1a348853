package smtpd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// proxyHeader is what a PROXY header said of the client. Without an address
// (LOCAL, UNKNOWN, other families) the connection is the proxy's own, such as
// a health check.
type proxyHeader struct {
	addr netip.Addr
	port uint16
}

var (
	errProxyShort = errors.New("smtpd: PROXY header is not complete")
	errProxy      = errors.New("smtpd: not a PROXY header")
)

// Sizes of the HAProxy specification: a v1 line of 107 octets with its CRLF,
// and a v2 header that fits into the smallest packet.
const (
	maxProxyV1  = 107
	maxProxyV2  = 536
	proxyV2Head = 16
)

var (
	proxyV1Prefix = []byte("PROXY ")
	proxyV2Prefix = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// parseProxy reads the PROXY header that b starts with; n is its length.
// errProxyShort asks for more octets; no header needs more than maxProxyV2.
func parseProxy(b []byte) (h proxyHeader, n int, err error) {
	switch {
	case bytes.HasPrefix(b, proxyV1Prefix):
		return parseProxyV1(b)
	case bytes.HasPrefix(b, proxyV2Prefix):
		return parseProxyV2(b)
	case bytes.HasPrefix(proxyV1Prefix, b), bytes.HasPrefix(proxyV2Prefix, b):
		return h, 0, errProxyShort
	}
	return h, 0, errProxy
}

// parseProxyV1 reads "PROXY TCP4 source destination sport dport" CRLF.
func parseProxyV1(b []byte) (h proxyHeader, n int, err error) {
	i := bytes.IndexByte(b[:min(len(b), maxProxyV1)], '\n')
	if i < 0 {
		if len(b) >= maxProxyV1 {
			return h, 0, errProxy
		}
		return h, 0, errProxyShort
	}
	line, ok := strings.CutSuffix(string(b[:i+1]), "\r\n")
	if !ok {
		return h, 0, errProxy
	}
	f := strings.Split(line, " ")
	if f[1] == "UNKNOWN" {
		return h, i + 1, nil // what follows it is to be ignored
	}
	if len(f) != 6 {
		return h, 0, errProxy
	}
	src, okS := proxyV1Addr(f[1], f[2])
	_, okD := proxyV1Addr(f[1], f[3])
	port, okP := proxyV1Port(f[4])
	_, okQ := proxyV1Port(f[5])
	if !okS || !okD || !okP || !okQ {
		return h, 0, errProxy
	}
	return proxyHeader{src, port}, i + 1, nil
}

func proxyV1Addr(family, s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return a, false
	}
	return a.Unmap(), family == "TCP4" && a.Is4() || family == "TCP6" && a.Is6()
}

func proxyV1Port(s string) (uint16, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && (s == "0" || s[0] != '0')
}

// parseProxyV2 reads the binary header. TLVs behind the addresses are skipped.
func parseProxyV2(b []byte) (h proxyHeader, n int, err error) {
	if len(b) < proxyV2Head {
		return h, 0, errProxyShort
	}
	command, family := b[12], b[13]
	n = proxyV2Head + int(binary.BigEndian.Uint16(b[14:16]))
	switch {
	case command != 0x20 && command != 0x21, n > maxProxyV2:
		return h, 0, errProxy
	case len(b) < n:
		return h, 0, errProxyShort
	case command == 0x20: // LOCAL
		return h, n, nil
	}
	body := b[proxyV2Head:n]
	switch family {
	case 0x11: // TCP over IPv4
		if len(body) < 12 {
			return h, 0, errProxy
		}
		h.addr = netip.AddrFrom4([4]byte(body[:4]))
		h.port = binary.BigEndian.Uint16(body[8:10])
	case 0x21: // TCP over IPv6
		if len(body) < 36 {
			return h, 0, errProxy
		}
		h.addr = netip.AddrFrom16([16]byte(body[:16])).Unmap()
		h.port = binary.BigEndian.Uint16(body[32:34])
	}
	return h, n, nil
}

// readProxy reads the PROXY header of a connection. Whoever is not listed, or
// sends none in time, hears nothing: there is nothing to negotiate.
func (c *conn) readProxy() bool {
	if !c.trusted {
		return false
	}
	deadline := time.Now().Add(c.limits.ProxyTimeout)
	c.yields.Store(closing)
	defer c.yields.Store(serving)
	for {
		h, n, err := parseProxy(c.in.unused())
		if err == errProxyShort {
			if c.fill(deadline) != nil {
				return false
			}
			continue
		}
		if err != nil {
			return false
		}
		c.in.r += n
		if h.addr.IsValid() {
			c.client.Addr, c.client.Port = h.addr, h.port
		}
		return true
	}
}

// unread is the connection with what came behind the PROXY header and was read
// too early: the start of a handshake.
func (c *conn) unread() net.Conn {
	if c.in.empty() {
		return c.tcp
	}
	p := &prefixConn{Conn: c.tcp, prefix: bytes.Clone(c.in.unused())}
	c.in.r = c.in.w
	return p
}

// prefixConn is a connection of which some octets were read too early.
type prefixConn struct {
	net.Conn
	prefix []byte
}

func (p *prefixConn) Read(b []byte) (int, error) {
	if len(p.prefix) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.prefix)
	p.prefix = p.prefix[n:]
	return n, nil
}

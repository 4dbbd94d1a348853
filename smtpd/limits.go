package smtpd

import (
	"net/netip"
	"sync"
	"time"
)

// Limits is everything that a client can send or hold, and where it ends. At
// a limit the reply is a clear 4yz or 5yz of replies.go. Zero means no limit
// only where that is said.
type Limits struct {
	// CommandLine is the longest command line with its CRLF. RFC 5321 section
	// 4.5.3.1.4 has 512 octets and lets extensions add to it; DSN's ORCPT
	// alone adds 500 (RFC 3461 section 4.2). At most 4096: it must fit into the
	// buffer of an idle session.
	CommandLine int
	// TextLine is the longest line of a message with its CRLF. RFC 5321
	// section 4.5.3.1.6 has 1000; real mail exceeds it, and refusing it here
	// would only refuse what next hops take.
	TextLine int
	// HeaderSection is the longest header section: what is behind it parses
	// headers, and no parser gets unbounded input.
	HeaderSection int
	// MessageSize is the largest message, advertised with SIZE (RFC 1870).
	MessageSize int64
	// Recipients of one transaction; RFC 5321 section 4.5.3.1.8 wants 100 at least.
	Recipients int

	// Errors is how many 5yz replies a client gets since the last accepted
	// message before 421 ends the session.
	Errors int
	// Commands is how many commands that bring no message forward (NOOP, RSET,
	// VRFY, EHLO, what a pipelining client sent behind a refused MAIL, ...) a
	// client may send since the last message.
	Commands int

	// CommandTimeout bounds the wait for one whole command line; RFC 5321
	// section 4.5.3.2.7 wants 5 minutes.
	CommandTimeout time.Duration
	// DataTimeout bounds the wait for the next octet of a message, and is the
	// grace before MinDataRate counts.
	DataTimeout time.Duration
	// SessionTimeout ends a session wherever it is: a client that never
	// finishes holds a slot no longer than this.
	SessionTimeout time.Duration
	// HandshakeTimeout bounds a TLS handshake, ProxyTimeout a PROXY header.
	HandshakeTimeout time.Duration
	ProxyTimeout     time.Duration
	// MinDataRate is the average of octets a second below which a message is
	// given up after DataTimeout; 0 is no such limit.
	MinDataRate int

	// Connections is how many are open at once, all listeners together.
	Connections int
	// ConnectionsPerNetwork is the same for one /24 (IPv4) or /64 (IPv6) of
	// effective client addresses. Trusted proxies and exempt addresses do not
	// count.
	ConnectionsPerNetwork int
}

// DefaultLimits are the limits without a [limits] section in the config.
func DefaultLimits() Limits {
	return Limits{
		CommandLine:           2048,
		TextLine:              128 << 10,
		HeaderSection:         256 << 10,
		MessageSize:           50 << 20,
		Recipients:            100,
		Errors:                20,
		Commands:              200,
		CommandTimeout:        5 * time.Minute,
		DataTimeout:           3 * time.Minute,
		SessionTimeout:        time.Hour,
		HandshakeTimeout:      30 * time.Second,
		ProxyTimeout:          5 * time.Second,
		MinDataRate:           500,
		Connections:           10000,
		ConnectionsPerNetwork: 50,
	}
}

// networks counts the connections of each client network.
type networks struct {
	mu    sync.Mutex
	count map[netip.Prefix]int
}

// enter counts one more connection of addr's network, unless there are max.
func (n *networks) enter(addr netip.Addr, max int) bool {
	p := networkOf(addr)
	if !p.IsValid() {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.count[p] >= max {
		return false
	}
	if n.count == nil {
		n.count = make(map[netip.Prefix]int)
	}
	n.count[p]++
	return true
}

// leave takes back one successful enter.
func (n *networks) leave(addr netip.Addr) {
	p := networkOf(addr)
	if !p.IsValid() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.count[p]--; n.count[p] <= 0 {
		delete(n.count, p)
	}
}

// networkOf is the network that one client is thought to own: a /24, or a /64
// since that is what one IPv6 host can pick its addresses from.
func networkOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 24
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // the zero Addr: unknown
	}
	return p
}

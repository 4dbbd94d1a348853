package relay

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"mailweir/internal/dns"
	"mailweir/mail"
)

// TLSPolicy says what a route demands of the connection.
type TLSPolicy uint8

// The policies.
const (
	// TLSOpportunistic encrypts when the next hop offers STARTTLS; any
	// certificate will do, since clear text is the alternative (RFC 7435). A
	// failed handshake is followed by a new connection in the clear.
	TLSOpportunistic TLSPolicy = iota
	// TLSRequired sends nothing but to a next hop whose certificate is valid
	// for its configured name or address; otherwise the message is deferred.
	TLSRequired
)

// Route is where the mail of a domain goes.
type Route struct {
	NextHops []string // host:port, in order of preference; host is a name or an address
	TLS      TLSPolicy
}

// Resolver is what MX delivery asks. dns.IsNotFound tells an absence from a
// failure to find out.
type Resolver interface {
	LookupMX(ctx context.Context, name string) ([]dns.MX, error)
	LookupA(ctx context.Context, name string) ([]netip.Addr, error)
	LookupAAAA(ctx context.Context, name string) ([]netip.Addr, error)
}

// MX delivers mail to the mail exchangers of each recipient's domain (RFC 5321
// section 5.1). The name in a certificate is that of the exchanger.
type MX struct {
	Resolver Resolver
	TLS      TLSPolicy
	// MaxConnections is at once to one exchanger, all of its addresses and all
	// domains that it serves together: 10.
	MaxConnections int
	// MaxAttempts is at once in all: 128. Strangers' hosts can be as slow as
	// they like; this many of the queue's workers can wait for them, the others
	// remain for our own next hops.
	MaxAttempts int
	// Family restricts the addresses of exchangers. A literal is taken as it is.
	Family Family
	// Own are addresses of this host. Mail for an exchanger there would come
	// back to us, as for one that is called Hostname.
	Own []netip.Addr
	// Allow are networks that mail may go to although nothing out there should
	// have an address in them: loopback, link-local, multicast and the like.
	Allow []netip.Prefix
	Port  uint16 // 25; another one is for tests
}

// Family is a family of IP addresses.
type Family uint8

// The families. A host whose own IPv6 address has no name, or a bad
// neighbourhood, is better off with IPv4: many exchangers refuse such clients.
const (
	AnyFamily Family = iota // both, IPv6 first
	IPv4
	IPv6
)

// Timeouts bound each wait. One time-out covers a whole reply: a next hop
// cannot stretch it by sending octet after octet.
//
// Zero fields get a default. For the next hops of a route, that is less than
// RFC 5321 section 4.5.3.2 has for Banner and Command: its five minutes are for
// busy strangers across the Internet, while a next hop of our own that accepts
// a connection and is silent is broken, and mail that could go to the one
// behind it waits. For mail exchangers the minima of the RFC hold.
type Timeouts struct {
	Connect time.Duration // TCP connection, all addresses of a name together: 30 s
	Banner  time.Duration // the initial 220: 30 s; of an exchanger 5 min
	Command time.Duration // EHLO, STARTTLS and its handshake, MAIL, RCPT, RSET: 60 s; of an exchanger 5 min
	Data    time.Duration // 354: 2 min
	Block   time.Duration // each write: 3 min (RFC 5321 section 4.5.3.2.5)
	Final   time.Duration // the reply to the complete message: 10 min
}

// Options make a Relay. Reload takes the same.
type Options struct {
	Hostname string            // the argument of EHLO
	Routes   map[string]*Route // by canonical domain (mail.CanonicalDomain)
	Outbound *Route            // mail for all other domains
	MX       *MX               // ... the same, where Outbound is nil; with neither it has no route

	MaxConnections int           // at once to one next hop: 20
	MaxMessages    int           // over one connection, before QUIT: 1000
	MaxRecipients  int           // in one transaction: 100 (RFC 5321 section 4.5.3.1.8)
	IdleTimeout    time.Duration // a kept connection is closed after it: 30 s
	// HopRetry is how long a next hop that gave no service comes last in its
	// route, so that a dead first choice does not cost each message a connect
	// time-out: 30 s. It changes nothing for a route with one next hop.
	HopRetry time.Duration
	Timeouts Timeouts
	far      Timeouts // the same, for mail exchangers

	RootCAs *x509.CertPool // for TLSRequired; nil: the system's
	// Dial replaces net.Dialer, for a private resolver or a test network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	Logger  *slog.Logger // nil: silent
	Metrics *Metrics     // nil: not exported
}

func (o Options) withDefaults() Options {
	o.MaxConnections = orDefault(o.MaxConnections, 20)
	o.MaxMessages = orDefault(o.MaxMessages, 1000)
	o.MaxRecipients = orDefault(o.MaxRecipients, 100)
	o.IdleTimeout = orDefault(o.IdleTimeout, 30*time.Second)
	o.HopRetry = orDefault(o.HopRetry, 30*time.Second)
	t := &o.Timeouts
	t.Connect = orDefault(t.Connect, 30*time.Second)
	t.Data = orDefault(t.Data, 2*time.Minute)
	t.Block = orDefault(t.Block, 3*time.Minute)
	t.Final = orDefault(t.Final, 10*time.Minute)
	o.far = *t
	o.far.Banner = orDefault(t.Banner, 5*time.Minute)
	o.far.Command = orDefault(t.Command, 5*time.Minute)
	t.Banner = orDefault(t.Banner, 30*time.Second)
	t.Command = orDefault(t.Command, time.Minute)
	if o.MX != nil {
		mx := *o.MX
		mx.MaxConnections = orDefault(mx.MaxConnections, 10)
		mx.MaxAttempts = orDefault(mx.MaxAttempts, 128)
		mx.Port = orDefault(mx.Port, 25)
		o.MX = &mx
	}
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func orDefault[T int | uint16 | time.Duration](v, byDefault T) T {
	if v <= 0 {
		return byDefault
	}
	return v
}

// ofRoute reports a destination that is a list of next hops, with ports, and
// not a domain or an address literal.
func ofRoute(d mail.Destination) bool {
	return strings.LastIndexByte(string(d), ':') > strings.LastIndexByte(string(d), ']')
}

// destination names a route by what it is, not by its domain: domains with the
// same next hops share connections, scheduling and back-off, and the name stays
// the same over restarts. "tls:" in front tells a route that requires TLS from
// the same next hops without.
func (r *Route) destination() mail.Destination {
	d := strings.Join(r.NextHops, ",")
	if r.TLS == TLSRequired {
		d = "tls:" + d
	}
	return mail.Destination(d)
}

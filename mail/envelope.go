package mail

import (
	"net/netip"
	"time"
)

// Client is what is known of the SMTP client of a session. PROXY and XCLIENT
// may have replaced the TCP peer by the original client.
type Client struct {
	Addr netip.Addr // unmapped; the zero Addr when unknown (XCLIENT [UNAVAILABLE], or check without --client-ip)
	Port uint16     // 0 when unknown
	Name string     // forward-confirmed host name from XCLIENT or DNS; "" when there is none
	Helo string     // the argument of HELO or EHLO, checked for syntax, else ""

	// Outbound tells that the listener is for mail that our own users send.
	Outbound bool
	User     string // logged in as (RFC 4954), else ""

	ESMTP bool    // greeted with EHLO
	TLS   TLSInfo // the zero TLSInfo without TLS

	// Own tells that the address is in own_networks: the organization's own
	// hosts, whose identity privacy protects and to whom a DSN may always go.
	Own bool
}

// TLSInfo describes an encrypted session for the Received field and metrics.
type TLSInfo struct {
	Version string // "TLSv1.3"; "" without TLS
	Cipher  string // IANA name of the cipher suite
	// Certificate is whom the client's certificate names, where the listener
	// knows its issuer.
	Certificate string
}

// Protocol is the value of the with-clause (RFC 3848, RFC 6531 section 4.3).
func (c *Client) Protocol(utf8 bool) string {
	switch {
	case c.User != "" && utf8:
		return "UTF8SMTPSA"
	case c.User != "":
		return "ESMTPSA" // nobody logs in without TLS
	case utf8 && c.TLS.Version != "":
		return "UTF8SMTPS"
	case utf8:
		return "UTF8SMTP"
	case !c.ESMTP:
		return "SMTP"
	case c.TLS.Version != "":
		return "ESMTPS"
	}
	return "ESMTP"
}

// Envelope is what MAIL and RCPT said, and who said it.
type Envelope struct {
	ID          ID
	Arrived     time.Time // when MAIL was accepted
	Client      Client
	ReversePath Path // NullPath for DSNs
	Recipients  []Recipient

	EightBit bool   // BODY=8BITMIME
	UTF8     bool   // SMTPUTF8 (RFC 6531)
	Return   string // RET=: "FULL", "HDRS" or ""  (RFC 3461 section 4.3)
	EnvID    string // ENVID=, still in xtext       (RFC 3461 section 4.4)

	// MayReturn permits a DSN to ReversePath: SPF or aligned DKIM passed, or
	// the client is our own. Without it a failed message is held instead, so
	// that a forged sender never gets backscatter.
	MayReturn bool

	// Low tells that the message is one of our own that is in no hurry, such as
	// an aggregate report: few a minute, after the mail of people.
	Low bool
	// Sign tells that our signature is put on top of the header section each
	// time that the message is relayed: a DSN of ours.
	Sign bool
}

// Recipient is one forward-path and what belongs to it alone.
type Recipient struct {
	Path   Path
	Notify Notify // NOTIFY= (RFC 3461 section 4.1)
	ORcpt  string // ORCPT=, "type;address" with the address still in xtext, or ""

	// Head is the index into Message.Heads of the header section that this
	// recipient gets.
	Head int
	// Hold keeps the recipient in the queue, unrelayed, until an admin
	// releases it: "quarantine:SYMBOL", "strip:SYMBOL", "mixed", "undeliverable". "" relays.
	Hold string
	// NextHop is where this recipient's mail goes, whatever the routes of the
	// config say: "host:port"; "" for those.
	NextHop Destination
	// Generated marks a recipient that no client named: a rule's. The accounts
	// have it as generated, not as accepted. It is not stored.
	Generated bool
}

// Notify is the set of events that the client wants a DSN for.
type Notify uint8

// The NOTIFY= values. The zero Notify means that the client said nothing:
// DSNs go out for failure (RFC 3461 section 4.1).
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Message is a message that has been judged: ready to be stored and relayed.
type Message struct {
	Envelope Envelope
	// Heads are complete header sections, each with the empty line at its
	// end; recipients of one message may need different ones (redaction,
	// tags). The body is common to all.
	Heads [][]byte
	// Body is what follows the header section, byte for byte as received.
	Body Content
}

// Size is the number of octets that recipient r gets.
func (m *Message) Size(r int) int64 {
	return int64(len(m.Heads[m.Envelope.Recipients[r].Head])) + m.Body.Size()
}

// Package relay hands due messages to the next hop and reports what it said.
//
// A Route is an ordered list of next hops. Deliver tries them in order and
// moves on only when a next hop gave no service at all: no connection, a bad
// banner, a refused greeting, 421, a time-out or a connection that broke
// before the message was complete. A 4yz or 5yz reply to the transaction is an
// answer and ends the attempt for its recipients.
//
// With MX delivery (Options.MX) the destination is a recipient's domain, and its
// mail exchangers are looked up in each attempt, in the order of RFC 5321
// section 5.1; they take the place of a route's list, with the same rules. What
// DNS says for certain ends the attempt for good (no such domain, null MX, a
// loop to ourselves); what could not be found out defers. DNS is written by
// strangers: addresses that lead back into this host are not connected to.
//
// Connections are kept open and shared by all routes with the same next hop
// and TLS policy. On a kept connection a message costs one round trip with
// CHUNKING (MAIL, RCPT, BDAT and the content in one write), two with DATA.
//
// Twice is worse than late, but lost is worse than both (RFC 1047): when the
// whole message was sent and no reply came the recipients are Deferred, and no
// other next hop gets the message in the same attempt. For the same reason the
// one-write form is used only on a connection that has just served another
// message: a next hop that hangs at MAIL must be found out before it has a
// complete message in its buffers.
//
// What is sent is what was received: the chosen header section, then the body.
// The package changes nothing but the dots that DATA needs doubled
// (RFC 5321 section 4.5.2).
package relay

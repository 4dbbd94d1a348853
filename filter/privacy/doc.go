// Package privacy takes the originating client out of a header section.
//
// It parses trace fields and edits them in place; it never runs a pattern over
// the header section, so Subject, References, Message-ID, or a From with an
// address literal cannot be hit. Two kinds of fields are touched:
//
//   - Received (received.go, hop.go): the from-clause becomes "from
//     redacted.invalid"; the field itself stays, so loop detection still counts
//     every hop, and by, via, with, id, for and the date stay byte for byte.
//     Where a client's address or host name stands again in a comment behind
//     those, that too is replaced, in whatever spelling. A Received without a
//     from-clause names no client: it stays, but for protected addresses in its
//     comments.
//   - the client fields of table.go: removed where the client is all that they
//     tell, masked in place (mask.go) where they tell more: the
//     Authentication-Results of others, Received-SPF, ...
//   - every other field that is no content (names.go): where its name promises
//     a client all addresses in it are masked, else those that a from-clause or
//     the connection itself has told, in whatever spelling.
//
// Left alone on purpose: the by-domain and the address of the server in the
// comment behind it, unless they are made of a client's address, or the message
// began on that host. Nor are mail addresses touched: those in envelope-from,
// for, or an authenticated sender outside of a from-clause.
//
// Which fields a class reaches:
//
//	none  nothing
//	own   only when the connecting client is in own_networks, for our own
//	      Received is the first of the run: the unbroken run of Received from
//	      the top whose client is in own_networks, and the client fields.
//	all   every Received and every client field
//
// The run of class own ends at the first Received whose from-clause gives an
// address outside of own_networks. A Received without a from-clause ("qmail
// invoked by uid") does not end it, and neither does a from-clause without any
// address but loopback ("from localhost by ... with LMTP"), which is redacted: both are
// hand-overs inside of a host that the field above has shown to be our own.
// Servers note the address of every client that came over a network.
//
// A field that a DKIM signature covers is left alone and reported as
// KeptSigned, unless the options say otherwise (signed.go). ARC is no such
// signature: a masked ARC-Authentication-Results no longer matches its seal.
//
// All of it is linear in the length of the header section.
package privacy

// Package smtpd turns a TCP connection into mail transactions.
//
// It has two halves. The engine is a strict SMTP server that scans in bulk; it
// knows the protocol and its limits and nothing of mail policy. In the order in
// which a connection meets it: server.go accepts; conn.go admits, with proxy.go
// and starttls.go; command.go is the table of verbs; mailrcpt.go and dsn.go
// take the envelope; data.go, bdat.go and scan.go the message; reply.go and
// wire.go answer. The session (session.go) is what the engine
// drives: a go-smtp Session, so that the very same session also runs under
// go-smtp's server, which is the oracle in the tests (docs/adr/0001). Where
// go-smtp has no hook, the session implements a small optional interface of
// contract.go.
//
// The session hands an accepted message over through Acceptor, which this
// package owns; responsibility (RFC 5321 section 6.1) is taken when
// Intake.Commit returns nil, and only then comes the 250.
package smtpd

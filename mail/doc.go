// Package mail holds the values that every other package of the gateway
// speaks in: message identity, paths, envelope, header section, content and
// delivery outcomes. It does no I/O and makes no policy.
//
// Words are those of RFC 5321 and RFC 5598: an envelope has a reverse-path
// and recipients; a message is a header section, made of fields, and a body.
package mail

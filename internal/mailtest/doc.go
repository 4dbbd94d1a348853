// Package mailtest holds what tests of several packages need: a next hop that
// does what a test tells it (Sink), a certificate, a private clamd and a
// private Postfix.
package mailtest

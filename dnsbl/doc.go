// Package dnsbl asks DNS lists (RFC 5782) about a client's address, and about the
// domain names that a message leads to: lists that block and lists that welcome.
//
// It is careful where such lists have done harm: only return codes that are
// declared count (a parked domain answers everything), 127.255.255.0/24 is the
// list's way to report an error and never a listing, a time-out is never a
// listing, and canary look-ups of the test points of RFC 5782 section 5 switch
// a list off that lists everything or nothing any more.
package dnsbl

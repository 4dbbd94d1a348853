// Package dns answers the gateway's DNS questions: a caching resolver that
// tells "no such thing" and "could not find out" apart, always.
//
// Names are given and returned without the trailing dot, in A-labels. Any
// octet may stand in a label (SPF macros make such names), so names are never
// filtered by host name grammar.
package dns

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Kind is why a look-up has no answer.
type Kind uint8

// The kinds of failure.
const (
	NotFound  Kind = iota + 1 // NXDOMAIN or no such record: an answer, and cached as one
	Temporary                 // time-out, SERVFAIL, refused, broken answer: nobody knows
	Invalid                   // the name cannot be asked (empty label, over 253 octets)
)

// Error is the only error type of a look-up.
type Error struct {
	Name  string
	Type  string // "TXT"
	Kind  Kind
	Cause error
	// NoName tells of a NotFound that the whole name is missing, and all below
	// it (NXDOMAIN, RFC 8020), not only records of this type.
	NoName bool
}

func (e *Error) Error() string {
	what := "not found"
	switch e.Kind {
	case Temporary:
		what = "temporary failure"
	case Invalid:
		what = "invalid name"
	}
	if e.Cause != nil {
		return fmt.Sprintf("dns: %s %q: %s: %v", e.Type, e.Name, what, e.Cause)
	}
	return fmt.Sprintf("dns: %s %q: %s", e.Type, e.Name, what)
}

func (e *Error) Unwrap() error { return e.Cause }

// IsNotFound reports that the name or record certainly does not exist.
func IsNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Kind == NotFound || e.Kind == Invalid)
}

// IsNoName reports that nothing exists at the name or below it. A name with
// records of other types, or with names below it, exists; and so does one that
// is an alias of a name that does not (RFC 6604 section 3).
func IsNoName(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.NoName || e.Kind == Invalid)
}

// IsTemporary reports that the answer is not known. Any error that is not a
// certain "not found" counts: a time-out must never look like an absence.
func IsTemporary(err error) bool { return err != nil && !IsNotFound(err) }

// MX is one mail exchanger.
type MX struct {
	Host       string // "" (the root) is a null MX (RFC 7505)
	Preference uint16
}

// IsTimeout reports a temporary failure because no answer came in time.
func IsTimeout(err error) bool {
	return IsTemporary(err) && (errors.Is(err, errLate) || errors.Is(err, errSpent) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded))
}

package filter

import (
	"context"
	"errors"

	"mailweir/internal/dns"
)

var errUnknown = errors.New("DNS failed")

// DNSFailure is the state, and its cause, of a check whose result is temperror:
// its symbols say what that means to mail authentication, the state says that
// the check could not do its work. ctx is that of the check.
func DNSFailure(ctx context.Context, err error) (State, error) {
	switch {
	case ctx.Err() != nil:
		return Timeout, ctx.Err()
	case dns.IsTimeout(err):
		return Timeout, err
	case err == nil:
		err = errUnknown
	}
	return Error, err
}

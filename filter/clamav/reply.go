package clamav

import (
	"bytes"
	"errors"
	"fmt"
)

// Verdict is what clamd said of a stream. The zero Verdict says nothing; in
// particular it is not clean.
type Verdict struct {
	Clean     bool
	Signature string // name of what was found; as clamd sent it
}

// Why a stream has no verdict. All but ErrOversize and ErrAborted are the
// scanner's failures.
var (
	// ErrOversize: a limit of clamd itself kept it from looking at all of the
	// stream. Trying again gives the same result.
	ErrOversize = errors.New("clamav: a limit of clamd is exceeded")
	// ErrUnscanned: the message has more to scan than we do scan. It is an
	// ErrOversize.
	ErrUnscanned = fmt.Errorf("%w, or one of ours", ErrOversize)
	// ErrUnavailable: no connection, or it broke.
	ErrUnavailable = errors.New("clamav: clamd is unavailable")
	// ErrTimeout: the answer did not come in time.
	ErrTimeout = errors.New("clamav: clamd did not answer in time")
	// ErrBusy: all slots were taken for the whole time. It is an ErrTimeout.
	ErrBusy = fmt.Errorf("%w: too many scans at once", ErrTimeout)
	// ErrSuspended: the breaker is open, clamd was not asked. It is an
	// ErrUnavailable.
	ErrSuspended = fmt.Errorf("%w: suspended after repeated failures", ErrUnavailable)
	// ErrTruncated: the connection ended before a whole reply.
	ErrTruncated = errors.New("clamav: reply of clamd is cut short")
	// ErrReply: a reply that is not a verdict.
	ErrReply = errors.New("clamav: unexpected reply of clamd")
	// ErrAborted: the caller's context or its reader ended the scan.
	ErrAborted = errors.New("clamav: scan was abandoned")
)

// maxReply bounds a reply. Names of signatures have at most some hundred
// octets; a longer reply is not one of ours.
const maxReply = 4096

var (
	replyPrefix = []byte("stream: ")
	replyClean  = []byte("stream: OK")
	replyFound  = []byte(" FOUND")
	replyLimit  = []byte("INSTREAM size limit exceeded. ERROR")
	// limitNames begin the "signatures" that clamd reports, with
	// AlertExceedsMax, for what it did not look into: a statement about its
	// limits and not about the mail.
	limitNames = []byte("Heuristics.Limits.Exceeded")
)

// parseReply reads one reply without its NUL.
func parseReply(b []byte) (Verdict, error) {
	if bytes.Equal(b, replyClean) {
		return Verdict{Clean: true}, nil
	}
	if bytes.Equal(b, replyLimit) {
		return Verdict{}, ErrOversize
	}
	name, ok := bytes.CutPrefix(b, replyPrefix)
	if !ok {
		return Verdict{}, unexpected(b)
	}
	name, ok = bytes.CutSuffix(name, replyFound)
	if !ok || len(bytes.TrimSpace(name)) == 0 {
		return Verdict{}, unexpected(b)
	}
	if bytes.HasPrefix(name, limitNames) {
		return Verdict{}, fmt.Errorf("%w: %s", ErrOversize, printable(string(name)))
	}
	return Verdict{Signature: string(name)}, nil
}

func unexpected(b []byte) error {
	return fmt.Errorf("%w: %q", ErrReply, printable(string(b)))
}

// maxName bounds what is shown of clamd's words in symbols and logs.
const maxName = 120

// printable makes s fit for logs and symbols: printable ASCII, cut.
func printable(s string) string {
	s = s[:min(len(s), maxName)]
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return replaceOdd(s)
		}
	}
	return s
}

func replaceOdd(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}

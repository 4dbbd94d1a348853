package filter

import (
	"context"

	"mailweir/internal/dkimcore"
	"mailweir/mail"
)

// Check is one examination of a transaction. Run may be called concurrently
// for different transactions, and at most once for each. It reads tx, which it
// must not keep after it returned, and returns soon after ctx ended. It must
// neither write tx nor decide anything: what it found is its Report.
type Check interface {
	// Name is the word for config (`[checks] disabled`), metrics and logs.
	Name() string
	Run(ctx context.Context, tx *Transaction) Report
}

// Streamer is a Check of the data phase that works on the body as it arrives,
// in line with the session, and therefore must be CPU-bound: it never waits.
// Where a Check is a Streamer, its Start is called instead of its Run.
type Streamer interface {
	Check
	// Start is called when the header section is complete: tx.Header is set.
	// It may start look-ups in the background, bound to ctx.
	Start(ctx context.Context, tx *Transaction) Stream
}

// Stream receives one body. After End or Abort it is not used again.
type Stream interface {
	// Write takes the next bytes of the body, CRLF line ends, dots unstuffed.
	// p is only valid during the call. There is no error: what the check
	// cannot digest is part of its report.
	Write(p []byte)
	// End is called after the last byte; it may wait, within ctx, for
	// look-ups that Start began.
	End(ctx context.Context) Report
	// Abort is called instead of End when the message will not be judged.
	Abort()
}

// Prefetcher is a Check of the last phase that can begin its look-ups when the
// header section is complete, long before its turn comes.
type Prefetcher interface {
	Check
	// Prefetch begins look-ups whose answers Run will find in the resolver's
	// cache, and does not wait for them.
	Prefetch(tx *Transaction)
}

// Ready is a Stream whose End waits for nothing.
type Ready interface {
	Stream
	Ready()
}

// BodyPrefetcher is a Check of the last phase whose look-ups depend on what Ready
// streams say of the body. They need not wait until everything else is known.
type BodyPrefetcher interface {
	Check
	// PrefetchBody begins them, as Prefetch does. f has what those streams
	// reported, and nothing else.
	PrefetchBody(tx *Transaction, f *Facts)
}

// State is how a check ended. There is no fifth way.
type State string

// The states.
const (
	OK      State = "ok"      // it ran to its end, whatever it found
	Timeout State = "timeout" // its deadline came first
	Error   State = "error"   // something it depends on failed
	Skipped State = "skipped" // it had nothing to work on, or is switched off
)

// Symbol is one finding, in UPPER_SNAKE. Checks leave Score 0 unless it comes
// from their own config (DNSBL zones); the Scorer weighs all others.
type Symbol struct {
	Name   string  `json:"name"`
	Score  float64 `json:"score"`
	Detail string  `json:"detail,omitempty"` // evidence for people; never control characters
	// Would is what a rule in shadow would have scored: its Score is 0, so that
	// it is counted and shown, and decides nothing.
	Would float64 `json:"would_score,omitempty"`
	// Do is what the symbol's rule wants done, nil for nothing; WouldDo the same
	// of a rule in shadow.
	Do      *Act `json:"do,omitempty"`
	WouldDo *Act `json:"would_do,omitempty"`
	// Scope is whom a check's finding counts for.
	Scope *Scope `json:"scope,omitempty"`
}

// Shadow tells that the symbol is of a rule that is only tried out.
func (s *Symbol) Shadow() bool { return s.Would != 0 || s.WouldDo != nil }

// Report is all that a check has to say.
type Report struct {
	State   State
	Symbols []Symbol
	// Set writes the check's own part of the facts. The chain calls it, in
	// list order and never concurrently, before the next group starts.
	Set func(*Facts)
	// Auth are the results for the Authentication-Results field, in order.
	Auth []AuthResult
	// Cause is what went wrong when State is Timeout or Error, or why a check
	// was Skipped. It goes to the log, never to a client.
	Cause error
}

// AuthResult is one resinfo of RFC 8601 section 2.2, still unformatted.
type AuthResult struct {
	Method string // "spf", "dkim", "dmarc", "arc", "iprev"
	Result string // "pass", "fail", ... (RFC 8601 section 2.7)
	Reason string // for people; "" for none
	Props  []AuthProp
	// Client marks a result or property that tells the client's address, host
	// name or HELO: it is left out under a redacting privacy class.
	Client bool
}

// AuthProp is one propspec: "smtp.mailfrom=user@example.org".
type AuthProp struct {
	Type, Property, Value string
	Client                bool // see AuthResult.Client
}

// Transaction is what a check may look at. All of it is read-only.
type Transaction struct {
	// Client is complete but for Helo during the connect phase.
	Client *mail.Client
	// Envelope has its reverse-path from the mail phase on and all its
	// recipients from the data phase on.
	Envelope *mail.Envelope
	// Header is set from the data phase on; len(Header.Raw) is its length.
	Header *mail.Header
	// Content is the whole message, header section included; set after the
	// final dot (not yet in Streamer.Start, but in Stream.End).
	Content mail.Content
	// Bodies are the body hashes that signatures ask for: Streamers share them
	// (dkimcore.Bodies.Join), so that each is made once.
	Bodies *dkimcore.Bodies
	// Facts holds what earlier groups reported: dmarc reads SPF and DKIM here.
	Facts *Facts

	arrival *arrival // what Follow reads
}

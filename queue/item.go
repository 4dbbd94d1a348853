package queue

import (
	"time"

	"mailweir/mail"
)

// State is what a message is doing in the queue.
type State string

// The states of a message. A message with recipients in several states shows
// the most lively one.
const (
	Queued   State = "queued"   // due, waits for its turn
	Active   State = "active"   // being relayed
	Deferred State = "deferred" // waits for its next attempt
	Held     State = "held"     // every recipient left waits for an admin
)

// The states of a recipient.
const (
	Pending   = "pending"
	Relayed   = "relayed"
	Failed    = "failed"
	Expired   = "expired"
	Discarded = "discarded"
)

// Item is one message as `queue list --json` shows it.
type Item struct {
	ID          mail.ID         `json:"id"`
	State       State           `json:"state"`
	Reason      string          `json:"reason"`
	Size        int64           `json:"size"`
	Arrived     time.Time       `json:"arrived"`
	NextAttempt *time.Time      `json:"next_attempt"`
	Attempts    int             `json:"attempts"`
	ReversePath mail.Path       `json:"reverse_path"`
	Recipients  []ItemRecipient `json:"recipients"`
	// Class is ClassLow for messages of our own that are in no hurry, else "".
	Class string `json:"class,omitempty"`
}

// ClassLow is the class of messages that go out few a minute, after all others.
const ClassLow = "low"

// ItemRecipient is one recipient of an Item.
type ItemRecipient struct {
	Address mail.Path `json:"address"`
	State   string    `json:"state"`
	NextHop string    `json:"next_hop"`
	Reply   string    `json:"reply"`
	// Hold is why, for each recipient; in JSON, whose keys others rely on, it
	// is the reason of the message.
	Hold string `json:"-"`
}

// Filter selects messages; the zero Filter selects all. Of recipients only
// those count that the message is still here for.
type Filter struct {
	State     State            // "" for any
	Domain    string           // of a recipient, in any case
	Dest      mail.Destination // of a recipient
	Reverse   mail.Path        // exact but for case, NullReverse for DSNs, "" for any
	Recipient mail.Path        // exact but for case, "" for any
	OlderThan time.Duration    // since it arrived
}

// Stats are the numbers behind the gauges.
type Stats struct {
	Messages   map[State]int           `json:"messages"`
	Oldest     map[State]time.Duration `json:"oldest"`     // but for low ones, which wait by design
	Low        int                     `json:"low"`        // messages of ClassLow
	Recipients int                     `json:"recipients"` // in the queue, held ones included
	Bytes      int64                   `json:"bytes"`      // of the messages in the queue
	LogBytes   int64                   `json:"log_bytes"`  // of the segment files
	Segments   int                     `json:"segments"`
	Ledger     Ledger                  `json:"ledger"`
}

// Ledger counts recipients since the start. Imbalance is always 0.
type Ledger struct {
	Accepted  int64 `json:"accepted"`
	Generated int64 `json:"generated"` // DSNs
	Recovered int64 `json:"recovered"` // in the spool when it was opened
	Relayed   int64 `json:"relayed"`
	Failed    int64 `json:"failed"` // expired ones included
	Discarded int64 `json:"discarded"`
	Deleted   int64 `json:"deleted"`
	Erased    int64 `json:"erased"`
	Damaged   int64 `json:"damaged"`
	InQueue   int64 `json:"in_queue"`
}

// Imbalance is what came in less what went out less what is here.
func (l Ledger) Imbalance() int64 {
	return l.Accepted + l.Generated + l.Recovered -
		l.Relayed - l.Failed - l.Discarded - l.Deleted - l.Erased - l.Damaged - l.InQueue
}

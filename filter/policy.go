package filter

import "mailweir/mail"

// Action is what happens to a recipient's copy.
type Action string

// The actions, mildest first.
const (
	Accept Action = "accept"
	Tag    Action = "tag" // 250, relayed with X-Spam-Flag: YES
	// Strip: 250; relayed with other text in place of the attachment, and the
	// original held like a quarantined one.
	Strip      Action = "strip"
	Quarantine Action = "quarantine" // 250, held until an admin releases it
	Discard    Action = "discard"    // 250, dropped by a rule that says so
	Defer      Action = "defer"      // 451
	Reject     Action = "reject"     // 5yz
)

// Reason is why, from a closed set: it selects the reply and labels metrics.
type Reason string

// The reasons.
const (
	ReasonNone       Reason = ""
	ReasonSpam       Reason = "spam"
	ReasonVirus      Reason = "virus"
	ReasonOversize   Reason = "oversize" // the scanner's own limit
	ReasonScanner    Reason = "scanner"  // the scanner did not answer
	ReasonDMARC      Reason = "dmarc"
	ReasonAttachment Reason = "attachment" // the policy for a class of attachments
	// ReasonStructure: header section or parts mean different things to different
	// readers (RFC 5322 section 3.6, RFC 9989 section 11.5), or are too many.
	ReasonStructure Reason = "structure"
	ReasonDNS       Reason = "dns"      // a temporary DNS failure
	ReasonListed    Reason = "listed"   // DNSBL at RCPT
	ReasonGreylist  Reason = "greylist" // doubtful, and from somebody new
	ReasonAllowed   Reason = "allowed"
	ReasonBlocked   Reason = "blocked" // a [[block]] entry
	ReasonRule      Reason = "rule"
	// What RCPT refuses: `gateway check` gives these for a message.
	ReasonRelayDenied      Reason = "relay_denied"
	ReasonUnknownRecipient Reason = "unknown_recipient"
)

// DomainPolicy is what one of our domains wants, defaults already filled in.
// It is immutable; a reload makes new ones.
type DomainPolicy struct {
	Domain  string
	TagMode bool // mode = "tag": reject, quarantine and discard become tag

	Tag        float64 // score from which a message is tagged; `required=` shows it
	Quarantine float64 // 0: off
	Reject     float64

	DMARCReject    string // "corroborated", "always", "never"
	DNSOnError     Action // Accept or Defer
	ScannerOnError Action // Defer, Accept (which tags) or Quarantine
	OnOversize     Action // Tag, Reject or Quarantine
	Attachments    AttachmentPolicy
	// What a structure leads to that clients could disagree about, and one that
	// exceeds our limits: Reject, Quarantine or Tag; "" is Reject.
	OnAmbiguous, OnLimit Action

	Greylist GreylistPolicy
	// OnState is what becomes of mail of which another filter did not say what it
	// thinks, by the symbol of its state (RSPAMD_TIMEOUT): Defer or Quarantine.
	OnState map[string]Action

	// Postmaster marks the policy for the one local-part that is exempt from
	// content rejection (RFC 5321 section 4.5.1).
	Postmaster bool
}

// GreylistPolicy is for which mail of unknown senders is to come again: that
// with a score of From or more, and less than To. The zero policy is for none.
type GreylistPolicy struct{ From, To float64 }

// doubtful reports a score that one of them has to come again with.
func (g GreylistPolicy) doubtful(score float64) bool { return g.From <= score && score < g.To }

// Verdict is the whole decision for one recipient class.
type Verdict struct {
	Action Action `json:"action"`
	Reason Reason `json:"reason,omitempty"`
	// Symbol is the finding that decided, "" when the sum did.
	Symbol   string  `json:"symbol,omitempty"`
	Detail   string  `json:"detail,omitempty"` // what the reply names: the zone of a DNSBL, when to try again
	Score    float64 `json:"score"`
	Required float64 `json:"required"` // the tag threshold

	Reply *mail.Reply `json:"reply,omitempty"` // a rule's own, in place of the usual one
	// Acts are what rules want done with a message that is accepted.
	Acts []RuleAct `json:"-"`
}

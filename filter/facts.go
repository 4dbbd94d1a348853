package filter

import (
	"time"

	"mailweir/mail"
)

// FactsVersion is raised when a field changes its meaning or goes away; adding
// a field does not raise it.
const FactsVersion = 1

// Facts are all that the rules and the policy may look at. They are kept with
// the verdict, without the body, so that a verdict can be explained later and
// replayed on changed rules. Every field has a JSON name; absent means that
// the check did not run.
type Facts struct {
	Version  int       `json:"version"`
	ID       mail.ID   `json:"id"`
	Received time.Time `json:"received"`
	Size     int64     `json:"size"` // octets of the whole message as received

	Client   ClientFacts   `json:"client"`
	Envelope EnvelopeFacts `json:"envelope"`

	IPRev    string      `json:"iprev,omitempty"` // RFC 8601 section 2.7.3: pass, fail, temperror, permerror
	Listings []Listing   `json:"listings,omitempty"`
	Domains  []Listing   `json:"domain_listings,omitempty"` // of domains that the message links to
	SPF      SPFFacts    `json:"spf,omitzero"`
	DKIM     []DKIMFacts `json:"dkim,omitempty"`
	DMARC    DMARCFacts  `json:"dmarc,omitzero"`
	ARC      ARCFacts    `json:"arc,omitzero"`
	Virus    VirusFacts  `json:"virus,omitzero"`
	Header   HeaderFacts `json:"header,omitzero"`
	Body     BodyFacts   `json:"body,omitzero"`
	// Attachments are the files that were examined, parts and what lies in them,
	// each followed by its own; AttachmentsMore is how many more there were.
	Attachments     []AttachmentFacts `json:"attachments,omitempty"`
	AttachmentsMore int               `json:"attachments_more,omitempty"`

	Checks []CheckResult `json:"checks"`

	// Symbols are what the checks reported, in list order, not yet weighed.
	Symbols []Symbol `json:"symbols"`
	// Auth is what goes into Authentication-Results.
	Auth []AuthResult `json:"auth,omitempty"`
}

// CheckResult is how one check ended.
type CheckResult struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	Cause string `json:"cause,omitempty"`
	// Start is relative to the transaction's MAIL, 0 for what began with the
	// connection; both in microseconds.
	Start    int64 `json:"start_us,omitempty"`
	Duration int64 `json:"duration_us,omitempty"`
}

// ClientFacts is what is known of the client.
type ClientFacts struct {
	Address string `json:"address,omitempty"`
	Name    string `json:"name,omitempty"` // forward-confirmed
	Helo    string `json:"helo,omitempty"`
	ESMTP   bool   `json:"esmtp"`
	TLS     string `json:"tls,omitempty"` // version
	Own     bool   `json:"own"`
}

// EnvelopeFacts is the envelope. From is "" for the null reverse-path.
type EnvelopeFacts struct {
	From       string   `json:"from"`
	FromDomain string   `json:"from_domain"` // canonical
	Recipients []string `json:"recipients"`
	UTF8       bool     `json:"utf8"`
}

// Listing is one hit in a DNSBL or DNSWL, or of a domain in a URIBL.
type Listing struct {
	Zone   string  `json:"zone"`
	Code   string  `json:"code"` // 127.0.0.2
	Score  float64 `json:"score"`
	Domain string  `json:"domain,omitempty"` // in a URIBL
}

// SPFFacts is the result of RFC 7208 for the identity that was checked.
type SPFFacts struct {
	Result   string `json:"result,omitempty"`   // none neutral pass fail softfail temperror permerror
	Identity string `json:"identity,omitempty"` // "mailfrom" or "helo"
	Domain   string `json:"domain,omitempty"`   // canonical
	Explain  string `json:"explain,omitempty"`  // what decided, for people
	Helo     string `json:"helo,omitempty"`     // the result for HELO, where Identity is mailfrom
	DNSSEC   bool   `json:"dnssec,omitempty"`   // every answer behind it was validated
}

// DKIMFacts is the result of one signature (RFC 6376), in the header's order.
type DKIMFacts struct {
	Result   string `json:"result"` // pass fail neutral policy temperror permerror
	Domain   string `json:"domain,omitempty"`
	Selector string `json:"selector,omitempty"`
	Identity string `json:"identity,omitempty"` // i=
	Algo     string `json:"algorithm,omitempty"`
	KeyBits  int    `json:"key_bits,omitempty"`
	Testing  bool   `json:"testing,omitempty"`
	Reason   string `json:"reason,omitempty"`
	DNSSEC   bool   `json:"dnssec,omitempty"` // the answer with the key was validated
	// Fields are the lower-case names in h=, and SignatureIndex the index of
	// the DKIM-Signature field in the header: what privacy must not touch.
	Fields         []string `json:"fields,omitempty"`
	SignatureIndex int      `json:"signature_index"`
}

// DMARCFacts is the result of RFC 9989.
type DMARCFacts struct {
	Result string `json:"result,omitempty"` // none pass fail temperror permerror
	Policy string `json:"policy,omitempty"` // the applicable p, sp or np before overrides: none quarantine reject
	Domain string `json:"domain,omitempty"` // where the record was found
	From   string `json:"from,omitempty"`   // Author Domain
	// AlignedSPF and AlignedDKIM name the domain that passed and is aligned.
	AlignedSPF  string `json:"aligned_spf,omitempty"`
	AlignedDKIM string `json:"aligned_dkim,omitempty"`
	Testing     bool   `json:"testing,omitempty"` // t=y
	DNSSEC      bool   `json:"dnssec,omitempty"`  // every answer of DMARC's own look-ups was validated
	// Override is why a failure has no consequences here: "forwarded",
	// "mailing_list", "trusted_forwarder", "local_policy", or "" for none.
	Override string `json:"override,omitempty"`
	Record   string `json:"record,omitempty"` // what the domain published, where an aggregate report will be made
}

// ARCFacts is the chain validation result of RFC 8617.
type ARCFacts struct {
	Result string `json:"result,omitempty"` // none pass fail
	// Sealers are the domains that sealed the message, the first one first.
	// Without a pass anybody may have written them.
	Sealers []string `json:"sealers,omitempty"`
	// Vouched are the Author Domains for which DMARC passed at each of the
	// sealers, "" for none, by their own word; only with a pass.
	Vouched []string `json:"vouched,omitempty"`
	// OldestPass is the instance of the oldest message signature that still
	// verifies; 0 when all do, or without a pass.
	OldestPass int `json:"oldest_pass,omitempty"`
	// FromSigned tells that the last sealer's message signature covers From:
	// without it the chain says nothing about the author.
	FromSigned bool   `json:"from_signed,omitempty"`
	Temporary  bool   `json:"temporary,omitempty"` // a fail only because DNS failed
	Reason     string `json:"reason,omitempty"`
}

// VirusFacts is what the scanner said.
type VirusFacts struct {
	Scanned   bool   `json:"scanned"`             // it looked at all of it and answered
	Signature string `json:"signature,omitempty"` // "" when clean
	Version   string `json:"version,omitempty"`   // of the signature database, when known
	Where     string `json:"where,omitempty"`     // the content it was found in; "" for the message as it came
	Contents  int    `json:"contents,omitempty"`  // decoded contents that were scanned besides the message as it came
}

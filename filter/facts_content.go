package filter

// HeaderFacts is what the header section says, decoded. Strings are cut to
// MaxFact octets; nothing here is trusted.
type HeaderFacts struct {
	From       []Address `json:"from,omitempty"`
	ReplyTo    []Address `json:"reply_to,omitempty"`
	To         []Address `json:"to,omitempty"`
	Subject    string    `json:"subject,omitempty"` // decoded (RFC 2047)
	MessageID  string    `json:"message_id,omitempty"`
	Mailer     string    `json:"mailer,omitempty"`      // User-Agent or X-Mailer
	Names      []string  `json:"names,omitempty"`       // lower-case field names in order
	Hops       int       `json:"hops"`                  // Received fields
	DateOffset int64     `json:"date_offset,omitempty"` // Date minus reception, seconds; meaningless without HasDate
	HasDate    bool      `json:"has_date"`
	ListID     string    `json:"list_id,omitempty"`
}

// Address is one mailbox of an address field.
type Address struct {
	Name   string `json:"name,omitempty"` // decoded display name
	Addr   string `json:"addr"`
	Domain string `json:"domain"` // canonical
}

// BodyFacts is what the body holds.
type BodyFacts struct {
	Parts []Part `json:"parts,omitempty"`
	URLs  []URL  `json:"urls,omitempty"`
	// Ambiguities name what mail clients could read in different ways.
	Ambiguities []string `json:"ambiguities,omitempty"`
	// Patterns are the names of the text patterns (rules, [[pattern]]) that
	// matched: the body itself is not kept.
	Patterns []string `json:"patterns,omitempty"`
	// Measures of the text as a reader sees it.
	TextLength int      `json:"text_length"` // characters of the displayed text
	HTMLLength int      `json:"html_length"` // octets of HTML
	Hidden     int      `json:"hidden"`      // characters of text hidden by style
	Images     int      `json:"images"`
	Forms      int      `json:"forms"`
	Scripts    int      `json:"scripts"`
	Charsets   []string `json:"charsets,omitempty"`
}

// Part is one leaf or container of the MIME tree, in document order.
type Part struct {
	Depth       int    `json:"depth"`
	Type        string `json:"type"` // lower-case type/subtype
	Encoding    string `json:"encoding,omitempty"`
	Charset     string `json:"charset,omitempty"`
	Disposition string `json:"disposition,omitempty"`
	Name        string `json:"name,omitempty"` // decoded file name
	Size        int64  `json:"size"`           // octets as transmitted
}

// URL is one link.
type URL struct {
	Scheme string `json:"scheme"`
	Host   string `json:"host"`             // canonical
	Domain string `json:"domain,omitempty"` // registered domain, "" for IP hosts
	Path   string `json:"path,omitempty"`   // cut to MaxFact
	// Text is the host that the link's visible text shows, when it shows one:
	// another host than Host is a disguise.
	Text string `json:"text,omitempty"`
	// Userinfo and IP mark "http://bank.example@evil.example" and address hosts.
	Userinfo bool `json:"userinfo,omitempty"`
	IP       bool `json:"ip,omitempty"`
}

// Limits of what is kept. What exceeds them is cut, and says so by a symbol.
const (
	MaxFact    = 512  // octets of one string
	MaxParts   = 1000 // MIME parts
	MaxURLs    = 500
	MaxNames   = 1000 // header field names
	MaxAddress = 100  // mailboxes of one field
)

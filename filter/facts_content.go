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

	Cc     []Address `json:"cc,omitempty"`
	Sender []Address `json:"sender,omitempty"`
	// TraceOffset is Date minus the date of the topmost Received field, in
	// seconds: it means the same when a message is judged again years later.
	TraceOffset int64 `json:"trace_offset,omitempty"`
	HasTrace    bool  `json:"has_trace"`
	// Mixed counts the words of Subject and From that mix scripts or are made
	// of letters in disguise.
	Mixed int `json:"mixed,omitempty"`
	// Values are the decoded first values of the KeptFields that are there,
	// by lower-case name.
	Values map[string]string `json:"values,omitempty"`
}

// KeptFields are the header fields whose values the facts keep for rules, next
// to those that have a fact of their own. What other fields say reaches the
// rules only through patterns ([[pattern]] in = "header:NAME").
var KeptFields = []string{
	"auto-submitted", "content-type", "importance", "in-reply-to",
	"list-unsubscribe", "mime-version", "organization", "precedence",
	"references", "return-path", "user-agent", "x-mailer", "x-msmail-priority",
	"x-priority",
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

	// Cut tells that the message has more text than the check looks at.
	Cut bool `json:"cut,omitempty"`
	// Upper is the share of capitals among the ASCII letters, in percent.
	Upper int `json:"upper"`
	// Quoted is how many lines of plain text quote another message (">").
	Quoted int `json:"quoted"`
	// Invisible counts zero-width characters, Mixed the words that mix Latin
	// with Cyrillic or Greek letters or are written in mathematical ones.
	Invisible int `json:"invisible"`
	Mixed     int `json:"mixed"`
	// Split counts tags and comments in the middle of a word of HTML.
	Split     int `json:"split"`
	Links     int `json:"links"`   // <a href>
	Mailtos   int `json:"mailtos"` // mailto: links
	Passwords int `json:"passwords"`
	Frames    int `json:"frames"`
	Refreshes int `json:"refreshes"` // <meta http-equiv=refresh>
	Remote    int `json:"remote"`    // images that are fetched from elsewhere
	// LeafText is octets of text/plain leaves, decoded; HTMLLength is its
	// counterpart.
	LeafText int `json:"leaf_text"`

	// Words are hashes of the words of the displayed text, in order, for the
	// learned filter; nil where it will not look at them. They are not kept:
	// hashes or not, they are the text.
	Words []uint64 `json:"-"`
	// Vocabulary are the words and tokens behind the hashes in Words and Source,
	// where somebody asked for them (content.Reader.KeepWords).
	Vocabulary map[uint64]string `json:"-"`
	// Source are hashes of what the text begins with as it was sent, markup,
	// capitals and layout included; for the learned filter, and not kept.
	Source []uint64 `json:"-"`
	// Files are fingerprints of attached files, for the learned filter. They are
	// not kept either.
	Files []FilePrint `json:"-"`
}

// FilePrint is the fingerprint of a file. Sketch is nil for a short one.
type FilePrint struct {
	Digest uint64
	Sketch []uint32
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
	// Magic is what the first octets say: a word of a closed set (exe, zip,
	// ole, rtf, pdf, gzip, rar, 7z, script, html, png, jpeg, gif, elf, macho,
	// class, cab, lnk), "" for anything else.
	Magic string `json:"magic,omitempty"`
	// Ambiguities are those of this part; some belong to none.
	Ambiguities []string `json:"ambiguities,omitempty"`
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
	// Port is the port when one is given.
	Port string `json:"port,omitempty"`
	// Image marks an address that only loads a picture or a style.
	Image bool `json:"image,omitempty"`
	// Disguised: Text shows a host of another registered domain than Domain.
	Disguised bool `json:"disguised,omitempty"`
}

// Limits of what is kept. What exceeds them is cut, and says so by a symbol.
const (
	MaxFact    = 512  // octets of one string
	MaxParts   = 1000 // MIME parts
	MaxURLs    = 500
	MaxNames   = 1000 // header field names
	MaxAddress = 100  // mailboxes of one field
)

package mime

import "strings"

// Ambiguity is something that mail clients read in different ways: what one
// shows as an attachment is invisible to the next, or to a scanner.
type Ambiguity uint8

// The ambiguities. The words in ambiguityNames are their public names.
const (
	DuplicateContentType Ambiguity = iota
	DuplicateTransferEncoding
	DuplicateDisposition
	DuplicateParameter
	ConflictingBoundary // two boundary parameters that differ
	ExtendedBoundary    // boundary in RFC 2231 form, which few readers know
	MalformedContentType
	CommentInParameter
	EncodedWordInParameter
	MissingBoundary
	BadBoundary     // longer than 70, empty, or octets outside RFC 2046 section 5.1.1
	BoundaryReuse   // the same as that of a multipart around it
	BoundaryPrefix  // a line that begins like a delimiter and goes on
	NoParts         // a multipart without any delimiter line
	Unclosed        // a multipart without its closing delimiter
	PartAfterClose  // a part in the epilogue
	UnknownEncoding // a Content-Transfer-Encoding that RFC 2045 does not know
	EncodedMultipart
	EncodedMessage
	NoBreak          // a part's header section that a delimiter ends, or a message without body
	NotAField        // a line in a part's header section that is no field
	SpaceBeforeColon // white space before the colon of a MIME field
	OddBase64        // octets outside the alphabet
	ShortBase64      // a wrong length, or padding where none belongs
	Base64AfterPadding
	OddQuotedPrintable
	StrayFields    // Content- fields in a text, a preamble or an epilogue
	NoMIMEVersion  // MIME fields that change the reading, without MIME-Version
	PartialMessage // message/partial: what it is part of is never seen whole
	BareCR         // in an encoded message or multipart: for some readers a line ends there
	LimitDepth
	LimitParts
	LimitHeader
	LimitReadings // more readings, or octets in them, than are looked at
	ambiguities
)

// limits are those of the ambiguities that tell of something unseen.
const limits = 1<<LimitDepth | 1<<LimitParts | 1<<LimitHeader | 1<<LimitReadings

var ambiguityNames = [ambiguities]string{
	"duplicate_content_type", "duplicate_transfer_encoding", "duplicate_disposition", "duplicate_parameter",
	"conflicting_boundary", "extended_boundary", "malformed_content_type", "comment_in_parameter",
	"encoded_word_in_parameter", "missing_boundary", "bad_boundary", "boundary_reuse", "boundary_prefix",
	"no_parts", "unclosed", "part_after_close", "unknown_encoding", "encoded_multipart", "encoded_message",
	"no_break", "not_a_field", "space_before_colon", "odd_base64", "short_base64", "base64_after_padding",
	"odd_quoted_printable", "stray_fields", "no_mime_version", "partial_message", "bare_cr", "limit_depth", "limit_parts", "limit_header",
	"limit_readings",
}

var ambiguitySymbols = func() (s [ambiguities]string) {
	for i, name := range ambiguityNames {
		s[i] = "MIME_" + strings.ToUpper(name)
	}
	return s
}()

// String is the name in the facts: "odd_base64".
func (a Ambiguity) String() string { return ambiguityNames[a] }

// Symbol is the symbol that reports it: "MIME_ODD_BASE64".
func (a Ambiguity) Symbol() string { return ambiguitySymbols[a] }

// Ambiguities is a set of them.
type Ambiguities uint64

// Add puts a into the set.
func (s *Ambiguities) Add(a Ambiguity) { *s |= 1 << a }

// Has reports whether a is in the set.
func (s Ambiguities) Has(a Ambiguity) bool { return s&(1<<a) != 0 }

// List is the set in the order of the constants.
func (s Ambiguities) List() []Ambiguity {
	var out []Ambiguity
	for a := range ambiguities {
		if s.Has(a) {
			out = append(out, a)
		}
	}
	return out
}

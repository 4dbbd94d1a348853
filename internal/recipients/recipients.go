// Package recipients answers at RCPT whether a recipient exists, from a file
// (File) or by asking the next hop (Probe), so that mail for unknown ones is
// refused before any data and never becomes a DSN to a forged sender.
package recipients

// Result is what is known of a recipient.
type Result uint8

// The results. The zero Result is none of them.
const (
	Known       Result = iota + 1
	Unknown            // for certain: the listing does not have it, or the next hop refused it, and not us
	Unavailable        // nobody knows: the next hop could not be asked; never a reason for a 5yz
)

// String is the word for logs and metrics.
func (r Result) String() string {
	switch r {
	case Known:
		return "known"
	case Unknown:
		return "unknown"
	case Unavailable:
		return "unavailable"
	}
	return "none"
}

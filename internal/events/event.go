package events

import (
	"strings"
	"time"

	"mailweir/mail"
)

// Event is a row: reception, verdict, and the end of it.
type Event struct {
	ID        mail.ID   `json:"id"`
	At        time.Time `json:"at"` // of the verdict
	Sender    string    `json:"sender"`
	Recipient string    `json:"recipient"`
	Client    string    `json:"client,omitempty"` // as the log has it
	TLS       string    `json:"tls,omitempty"`
	Action    string    `json:"action,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Score     float64   `json:"score"`
	Size      int64     `json:"size"`
	Symbols   string    `json:"symbols,omitempty"` // names with commas between
	Outcome
}

// Outcome is what became of a recipient so far.
type Outcome struct {
	State   string    `json:"state"` // "refused", "queued", or the queue's last word
	Reply   string    `json:"reply,omitempty"`
	NextHop string    `json:"next_hop,omitempty"`
	Done    time.Time `json:"done"`
}

// key is an address as the store has it.
func key(address string) string {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		return strings.ToLower(address)
	}
	return mail.CanonicalDomain(address[i+1:]) + "@" + strings.ToLower(address[:i])
}

// address is a key as people write it.
func address(key string) string {
	domain, local, ok := strings.Cut(key, "@")
	if !ok {
		return key
	}
	return local + "@" + domain
}

// domainRange are the first key of a domain and the first one behind it: "A"
// follows "@".
func domainRange(domain string) (from, to string) {
	domain = mail.CanonicalDomain(domain)
	return domain + "@", domain + "A"
}

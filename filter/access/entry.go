// Package access recognizes whom an admin allows or blocks: clients of a
// network, and authors whose domain is proved. A name alone, which everybody can
// write, never counts. Entries come from the config and, while the gateway runs,
// from commands (Store).
package access

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"mailweir/filter"
	"mailweir/mail"
)

// Kind is one of the two lists.
type Kind string

// The lists.
const (
	Allow Kind = "allow" // never refused for its content
	Block Kind = "block" // refused, whatever it says
)

// symbol is what the check reports.
func (k Kind) symbol() string {
	if k == Block {
		return filter.SymBlocked
	}
	return filter.SymAllowed
}

// Entry is one entry: a network, the author's domain with all below it, or the
// author's address.
type Entry struct {
	Network netip.Prefix  `json:"network,omitzero"`
	Domain  string        `json:"domain,omitempty"`  // A-labels
	Address string        `json:"address,omitempty"` // mail.Path.Mailbox
	Scope   *filter.Scope `json:"scope,omitempty"`   // recipients that it is for; nil: all
	Reason  string        `json:"reason"`            // why, for people
	Expires time.Time     `json:"expires,omitzero"`  // zero: never

	// Of an entry that a command made.
	Added time.Time `json:"added,omitzero"`
	UID   int       `json:"uid,omitempty"` // of the user who ran it
}

// Parse reads what an entry is about: "192.0.2.0/24", an address of a client,
// "partner.example", or "news@shop.example".
func Parse(s string) (Entry, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return Entry{Network: p.Masked()}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return Entry{Network: netip.PrefixFrom(a, a.BitLen())}, nil
	}
	if p, err := mail.ParsePath(s, true); err == nil && p.Domain() != "" {
		return Entry{Address: p.Mailbox()}, nil
	}
	if d := mail.CanonicalDomain(s); mail.ValidDomain(d, false) && strings.Contains(d, ".") && d[0] != '[' {
		return Entry{Domain: d}, nil
	}
	return Entry{}, fmt.Errorf("%q is no network, domain or address, such as 192.0.2.0/24, partner.example or news@shop.example", s)
}

// ParseScope reads for whom an entry is: domains and addresses; nil without any.
func ParseScope(list []string) (*filter.Scope, error) {
	if len(list) == 0 {
		return nil, nil
	}
	s := &filter.Scope{}
	for _, text := range list {
		d := mail.CanonicalDomain(text)
		if p, err := mail.ParsePath(text, true); err == nil && p.Domain() != "" {
			s.Recipients = append(s.Recipients, p.Mailbox())
		} else if mail.ValidDomain(d, false) {
			s.Domains = append(s.Domains, d)
		} else {
			return nil, fmt.Errorf("%q is no domain and no address of a recipient", text)
		}
	}
	return s, nil
}

// What is what the entry is about, as Parse reads it.
func (e *Entry) What() string {
	switch {
	case e.Network.IsValid():
		return e.Network.String()
	case e.Address != "":
		return e.Address
	}
	return e.Domain
}

// expired entries count no more.
func (e *Entry) expired(now time.Time) bool { return !e.Expires.IsZero() && !now.Before(e.Expires) }

// domain is the one that has to be proved.
func (e *Entry) domain() string {
	if e.Address != "" {
		return mail.CanonicalDomain(e.Address[strings.LastIndexByte(e.Address, '@')+1:])
	}
	return e.Domain
}

// within reports that domain is parent or below it. Both are canonical.
func within(domain, parent string) bool {
	return domain != "" && parent != "" && mail.WithinDomain(domain, parent)
}

func canonical(domain string) string {
	return strings.ToLower(strings.TrimSuffix(strings.TrimSpace(domain), "."))
}

// Evidence is what is proved about a message's author.
type Evidence struct {
	From    string   // Author Domain
	Address string   // mailbox of the author, where there is one only
	Aligned bool     // DMARC found SPF or DKIM of the From domain's organization
	Proved  []string // domains that SPF or DKIM passed for, where From's has no DMARC record
}

// Matches reports that the evidence proves the message to be from the entry's
// author, or its domain or one below it.
func (e *Entry) Matches(ev Evidence) bool {
	domain := e.domain()
	if !within(ev.From, domain) || e.Address != "" && e.Address != ev.Address {
		return false
	}
	if ev.Aligned {
		return true
	}
	for _, d := range ev.Proved {
		if within(d, domain) {
			return true
		}
	}
	return false
}

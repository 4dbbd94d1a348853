// Package allow recognizes what an admin has allowed: clients of a network,
// and mail of a domain that is proved to be from that domain.
package allow

import (
	"net/netip"
	"strings"
)

// Entry is one [[allow]] entry: a network or a domain.
type Entry struct {
	Network netip.Prefix // the zero Prefix for a domain entry
	Domain  string       // A-labels; its subdomains are meant too
	Reason  string       // why, for people
}

// within reports that domain is parent or below it. Both are canonical.
func within(domain, parent string) bool {
	if domain == "" || parent == "" || !strings.HasSuffix(domain, parent) {
		return false
	}
	rest := domain[:len(domain)-len(parent)]
	return rest == "" || rest[len(rest)-1] == '.'
}

func canonical(domain string) string {
	return strings.ToLower(strings.TrimSuffix(strings.TrimSpace(domain), "."))
}

// printable keeps control characters of a reason out of details.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// Evidence is what is proved about a message's author.
type Evidence struct {
	From    string   // Author Domain
	Aligned bool     // DMARC found SPF or DKIM of the From domain's organization
	Proved  []string // domains that SPF or DKIM passed for, where From's has no DMARC record
}

// Matches reports that the evidence proves the message to be from the entry's
// domain or one below it. A name alone, which everybody can write, never does.
func (e *Entry) Matches(ev Evidence) bool {
	if !within(ev.From, e.Domain) {
		return false
	}
	if ev.Aligned {
		return true
	}
	for _, d := range ev.Proved {
		if within(d, e.Domain) {
			return true
		}
	}
	return false
}

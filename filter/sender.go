package filter

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/net/publicsuffix"

	"mailweir/mail"
)

// AuthenticatedDomain is the registered domain that vouches for a message: of
// the author, where a DKIM signature of the author's organization verified;
// else of the reverse-path, where SPF passed; "" for neither. Whoever may write
// in its name is known to it, so that what is remembered of it is its own doing.
func AuthenticatedDomain(f *Facts) string {
	author := ""
	if len(f.Header.From) == 1 {
		author = Organization(f.Header.From[0].Domain)
	}
	for i := range f.DKIM {
		if d := &f.DKIM[i]; author != "" && d.Result == "pass" && Organization(mail.CanonicalDomain(d.Domain)) == author {
			return author
		}
	}
	if f.SPF.Result == "pass" && f.SPF.Identity == "mailfrom" {
		return Organization(f.SPF.Domain)
	}
	return ""
}

// Organization is the registered domain of a canonical domain name: the domain
// itself where there is none above it.
func Organization(domain string) string {
	if org, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return org
	}
	return domain
}

// ClientNetwork is the network that a client is thought to own: its /24, or
// /64 of IPv6; the zero Prefix where the address is not known.
func ClientNetwork(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// Observer learns from what became of messages. Observe is called once for each
// message that was judged, when its reply is settled, by many goroutines; it
// must not wait, and keeps nothing that it was given.
type Observer interface {
	Observe(j *Judgement, d *Decision)
}

// InWords is a time, rounded up, for a reply that people read.
func InWords(d time.Duration) string {
	switch seconds := (d + time.Second - 1) / time.Second; {
	case seconds <= 1:
		return "1 second"
	case seconds < 120:
		return fmt.Sprintf("%d seconds", seconds)
	case seconds <= 7200:
		return fmt.Sprintf("%d minutes", (seconds+59)/60)
	default:
		return fmt.Sprintf("%d hours", (seconds+3599)/3600)
	}
}

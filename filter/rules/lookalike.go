package rules

import (
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"mailweir/filter"
	"mailweir/internal/looks"
	"mailweir/mail"
)

// maxOwn is how many recipients a sender's domain is compared with.
const maxOwn = 8

// recipientOrgs are the registered domains of the recipients.
func recipientOrgs(f *filter.Facts) (orgs []string) {
	for _, r := range f.Envelope.Recipients[:min(len(f.Envelope.Recipients), maxOwn)] {
		if i := strings.LastIndexByte(r, '@'); i >= 0 {
			if o := filter.Organization(mail.CanonicalDomain(r[i+1:])); len(orgs) == 0 || orgs[len(orgs)-1] != o {
				orgs = append(orgs, o)
			}
		}
	}
	return orgs
}

// ownNames are the registered domains of a message's recipients, and the names
// of all our domains.
type ownNames struct {
	orgs  []string
	names []looks.Name // of orgs
	all   *looks.Index // nil: not known
}

func newOwnNames(orgs []string, all *looks.Index) ownNames {
	o := ownNames{orgs: orgs, all: all}
	for _, org := range orgs {
		o.names = append(o.names, looks.NewName(ownName(org)))
	}
	return o
}

// has reports a domain that belongs to a recipient's organization.
func (o *ownNames) has(domain string) bool { return slices.Contains(o.orgs, domain) }

// looksLike reports a registered domain that a reader takes for one of ours. The
// same name in another top-level domain is mostly its owner's.
func (o *ownNames) looksLike(domain string) bool {
	return domain != "" && o.takenFor(domain, looks.NewName(ownName(domain)))
}

func (o *ownNames) takenFor(domain string, n looks.Name) bool {
	if o.has(domain) {
		return false
	}
	for _, own := range o.names {
		if n.Similar(own) {
			return true
		}
	}
	return o.all.Find(n) != ""
}

// ownName is a registered domain without its public suffix.
func ownName(domain string) string {
	suffix, _ := publicsuffix.PublicSuffix(domain)
	return strings.TrimSuffix(strings.TrimSuffix(domain, suffix), ".")
}

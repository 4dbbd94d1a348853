package dmarc

import (
	"slices"
	"strings"

	"mailweir/filter"
	"mailweir/internal/dkimcore"
	"mailweir/internal/dns"
	"mailweir/mail"
)

// maxAhead bounds the names that are asked for ahead of their turn: three walks,
// those of the authors first.
const maxAhead = 3 * maxQueries

// prefetcher is a Resolver that can begin a look-up without waiting for it.
type prefetcher interface {
	Prefetch(t dns.Type, name string)
}

// Prefetch implements filter.Prefetcher: it begins the look-ups of the tree
// walks that Run may do, for the authors and for the identifiers that could be
// aligned, all at once. So a walk costs one round trip instead of eight, and
// that while the message still arrives.
func (c *Check) Prefetch(tx *filter.Transaction) {
	p, ok := c.resolver.(prefetcher)
	authors := ParseAuthors(tx.Header).Domains
	if !ok || len(authors) == 0 {
		return
	}
	var names []string
	for _, author := range authors {
		names = appendWalk(names, author)
	}
	for _, id := range identifiers(tx) {
		if slices.ContainsFunc(authors, func(a string) bool { return shareTop(a, id) }) {
			names = appendWalk(names, id)
		}
	}
	for _, name := range names[:min(len(names), maxAhead)] {
		p.Prefetch(dns.TypeTXT, "_dmarc."+name)
	}
	// np= asks whether the author exists; mostly there is none for a subdomain
	// only, and to wait for the record that has it would be a round trip more.
	if strings.Count(authors[0], ".") > 1 {
		p.Prefetch(dns.TypeA, authors[0])
	}
}

// appendWalk appends the names of a tree walk that are not in names yet.
func appendWalk(names []string, start string) []string {
	for name := start; name != ""; name = parent(name) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// identifiers are the domains that SPF and DKIM may authenticate, as far as
// anybody can tell before they have.
func identifiers(tx *filter.Transaction) []string {
	var list []string
	if tx.Envelope != nil && tx.Client != nil {
		d := tx.Envelope.ReversePath.Domain()
		if d == "" {
			d = tx.Client.Helo
		}
		list = append(list, mail.CanonicalDomain(d))
	}
	for _, f := range tx.Header.Fields {
		if len(list) > maxQueries {
			break
		}
		if !f.Is("DKIM-Signature") {
			continue
		}
		if tags, err := dkimcore.ParseTags(string(f.Body())); err == nil {
			d, _ := dkimcore.Lookup(tags, "d")
			list = append(list, mail.CanonicalDomain(d.Value))
		}
	}
	return list
}

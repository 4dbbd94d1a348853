package vip

import (
	"context"
	"slices"
	"strings"

	"mailweir/filter"
	"mailweir/mail"
)

// SymFromVIP: a listed person's name, and not his address. Detail has both.
const SymFromVIP = "FROM_VIP"

// Check is the filter.Check "vip". It runs when authentication has its results.
type Check struct {
	list *list
	own  []string // our domains, canonical
}

var _ filter.Check = (*Check)(nil)

// NewCheck looks for persons. own are our domains.
func NewCheck(persons []Person, own []string) *Check {
	return &Check{list: newList(persons), own: own}
}

// Name implements filter.Check.
func (*Check) Name() string { return "vip" }

// maxMailboxes of a field are looked at. Programs show the first.
const maxMailboxes = 8

// Run implements filter.Check.
func (c *Check) Run(_ context.Context, tx *filter.Transaction) filter.Report {
	r := filter.Report{State: filter.OK}
	f := tx.Facts
	told := make([]bool, len(c.list.persons))
	tell := func(n int, field string, a filter.Address) {
		if p := &c.list.persons[n]; !told[n] {
			told[n] = true
			r.Symbols = append(r.Symbols, filter.Symbol{Name: SymFromVIP, Detail: p.evidence(field, a), Scope: p.Scope})
		}
	}
	himself := make([]bool, len(c.list.persons)) // who writes, and proves it
	proved := proves(f)
	for _, a := range first(shownNames(f.Header.From)) {
		for _, n := range c.list.shown(a.Name) {
			if !c.his(n, a, f, proved) {
				tell(n, "From", a)
			}
			himself[n] = proved
		}
	}
	for _, a := range first(f.Header.ReplyTo) {
		for _, n := range c.list.shown(a.Name) {
			if !himself[n] && !c.isAddress(n, a) && !c.isOwn(a.Domain) && !within(a.Domain, c.list.persons[n].Domains) {
				tell(n, "Reply-To", a)
			}
		}
	}
	return r
}

func first(list []filter.Address) []filter.Address { return list[:min(len(list), maxMailboxes)] }

// shownNames adds how names without an address that From begins with are shown
// together with the mailbox that follows ("Doe, Jane <x@y.example>").
func shownNames(from []filter.Address) []filter.Address {
	name := ""
	for k, a := range first(from) {
		name = strings.TrimSpace(name + " " + a.Name)
		if a.Domain != "" && k > 0 {
			a.Name = name
			alone := from[0]
			alone.Addr, alone.Domain = a.Addr, a.Domain
			return append([]filter.Address{a, alone}, from...)
		} else if a.Domain != "" {
			break
		}
	}
	return from
}

// proves reports that the author's domain is proved: with two authors, one could
// ride on the other's good name.
func proves(f *filter.Facts) bool {
	if len(f.Header.From) != 1 {
		return false
	}
	domain := filter.Organization(f.Header.From[0].Domain)
	return f.Client.Own || f.DMARC.Result == "pass" || domain != "" && f.DMARC.Result != "fail" && filter.AuthenticatedDomain(f) == domain
}

// his reports an address that may show the person's name: his own, unless it is
// known not to be him; one in our domains, or of a service that he lists, where
// that is proved.
func (c *Check) his(n int, a filter.Address, f *filter.Facts, proved bool) bool {
	own := c.isOwn(a.Domain)
	if proved && (own || within(a.Domain, c.list.persons[n].Domains)) {
		return true
	}
	failed := f.DMARC.Result == "fail" && f.DMARC.Override == ""
	return c.isAddress(n, a) && !own && !failed
}

func (c *Check) isAddress(n int, a filter.Address) bool {
	return slices.Contains(c.list.persons[n].Addresses, address(a.Addr))
}

func (c *Check) isOwn(domain string) bool { return within(domain, c.own) }

// within reports a domain of the list, or one below it.
func within(domain string, list []string) bool {
	return domain != "" && slices.ContainsFunc(list, func(d string) bool { return mail.WithinDomain(domain, d) })
}

// evidence is what a reader of the verdict is told.
func (p *Person) evidence(field string, a filter.Address) string {
	addr := a.Addr
	if addr == "" {
		addr = "no address"
	}
	return filter.Printable(field + " shows " + p.Names[0] + ", the address is " + addr)
}

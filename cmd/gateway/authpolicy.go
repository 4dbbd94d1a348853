package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"mailweir/filter/dmarc"
	"mailweir/internal/dns"
	"mailweir/mail"
)

type polTrace struct {
	Result   string   `json:"result"` // of a message that nothing authenticates
	Record   string   `json:"record,omitempty"`
	Found    string   `json:"found_at,omitempty"`
	Policy   string   `json:"policy,omitempty"` // that applies to the domain
	DNSSEC   bool     `json:"dnssec"`
	Problems []string `json:"problems"`
}

// summary says what happens to a message that nothing authenticates.
func (p *polTrace) summary() string {
	switch {
	case p.Found != "":
		return fmt.Sprintf("%s when nothing passes, policy %s of %s", p.Result, p.Policy, p.Found)
	case p.Result == string(dmarc.None):
		return "none: no policy applies"
	}
	return p.Result
}

// removed finds a pct= that would have meant something to RFC 7489.
var removed = regexp.MustCompile(`(?i);\s*pct\s*=\s*\d{1,2}\s*(;|$)`)

func (t *authTrace) traceDMARC(ctx context.Context) {
	ctx, answers := dns.Observe(ctx)
	r := dmarc.Evaluate(ctx, t.dns, dmarc.Input{Authors: dmarc.Authors{Domains: []string{t.Domain}, Fields: 1}})
	t.DMARC = polTrace{Result: string(r.Status), Found: r.Domain, Policy: string(r.Policy), DNSSEC: answers.All(), Problems: []string{}}
	wrong := func(s string) { t.DMARC.Problems = append(t.DMARC.Problems, s) }
	if r.Domain != "" {
		t.DMARC.Record = t.dns.log.txt("_dmarc."+r.Domain, "v")
	}
	fault := policyFault(t.dns.log.answers("TXT", "_dmarc."+t.Domain))
	if fault != "" {
		wrong(fault)
	}
	switch {
	case r.Err != nil:
		wrong(r.Err.Error())
	case r.Status == dmarc.None && fault == "":
		wrong("no record: anybody can write mail in the name of " + t.Domain)
		if misplaced := t.misplaced(ctx); misplaced != "" {
			wrong(misplaced)
		}
	case r.Record == nil: // the fault says it
	case r.Record.Invalid:
		wrong("p= is missing, or p=, sp= or np= is not valid: receivers take it for p=none")
	case r.Testing:
		wrong("t=y: one step milder than the policy says")
	case r.Policy == dmarc.PolicyNone:
		wrong("p=none: failures have no consequences")
	}
	if removed.MatchString(t.DMARC.Record) {
		wrong("pct= has no effect any more (RFC 9989): t=y is what is left of it")
	}
	if r.Record != nil {
		t.DMARC.Problems = append(t.DMARC.Problems, policyAdvice(t.DMARC.Record)...)
		if len(r.Record.RUA) == 0 {
			wrong("no rua= with a valid URI (mailto:NAME@DOMAIN): nobody will tell you of failures")
		}
		for _, uri := range r.Record.RUA {
			if problem := t.unauthorized(ctx, r.Domain, uri); problem != "" {
				wrong(problem)
			}
		}
	}
}

// misplaced tells where the record is that somebody meant to publish.
func (t *authTrace) misplaced(ctx context.Context) string {
	texts := t.dns.log.answers("TXT", "_dmarc."+t.Domain)
	text := near(texts, "v=dmarc")
	if i := slices.IndexFunc(texts, func(s string) bool { return strings.Contains(s, "v=DMARC1") }); text == "" && i >= 0 {
		text = texts[i] // with its tags in another order
	}
	if text != "" {
		return fmt.Sprintf("%q is no record: it must begin with v=DMARC1 and a semicolon", text)
	}
	if near(t.dns.log.answers("TXT", t.Domain), "v=dmarc1") != "" {
		return fmt.Sprintf("there is one at %s, where nobody looks for it: it belongs to _dmarc.%[1]s", t.Domain)
	}
	return t.twice(ctx, "_dmarc."+t.Domain)
}

// unauthorized tells why reports will not go to an address outside of the
// domain: its domain has to say that it wants them (RFC 9990 section 4).
func (t *authTrace) unauthorized(ctx context.Context, domain, uri string) string {
	address, ok := strings.CutPrefix(strings.ToLower(uri), "mailto:")
	_, host, _ := strings.Cut(address, "@")
	host, _, _ = strings.Cut(host, "!") // a size, which RFC 7489 had
	host = mail.CanonicalDomain(host)
	if !ok || host == "" || mail.WithinDomain(host, domain) || mail.WithinDomain(domain, host) {
		return ""
	}
	name := domain + "._report._dmarc." + host
	txts, err := t.dns.LookupTXT(ctx, name)
	switch {
	case dns.IsTemporary(err):
		return err.Error()
	case err == nil && slices.ContainsFunc(txts, func(s string) bool { return strings.HasPrefix(s, "v=DMARC1") }):
		return ""
	}
	return fmt.Sprintf("rua=%s is elsewhere, and %s does not say that it wants these reports: none will come", printable(uri), name)
}

// policyFault tells why the texts at a domain's _dmarc make no policy, "" where
// none of them is a policy record.
func policyFault(texts []string) string {
	records, fault := 0, ""
	for _, text := range texts {
		r, err := dmarc.ParseRecord(text)
		switch {
		case errors.Is(err, dmarc.ErrRecord):
			continue
		case err != nil:
			fault = "a tag of the record is there twice: receivers do as if there were none"
		case r.Void:
			fault = "p= is missing, or p=, sp= or np= is not valid, and no rua= to tell of it: receivers do as if there were no record"
		}
		records++
	}
	if records > 1 {
		return fmt.Sprintf("%d records: receivers do as if there were none", records)
	}
	return fault
}

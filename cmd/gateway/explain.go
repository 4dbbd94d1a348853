package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"mailweir/filter"
	"mailweir/mail"
)

// stepJSON is how one result that rests on DNS came about; its names are a public
// interface.
type stepJSON struct {
	Step    string   `json:"step"` // "iprev", "spf", "spf_helo", "dkim" (one for each signature), "arc", "dmarc"; "dnsbl", "uribl"
	Result  string   `json:"result"`
	Subject string   `json:"subject"` // what it is about: a domain, an address
	Decided string   `json:"decided"` // what decided
	Queries []*query `json:"queries"` // in the order in which they were asked
}

// authSteps puts together what the checks found and what they asked for.
func authSteps(j *filter.Judgement, log *queryLog) []stepJSON {
	f := j.Facts
	list := []stepJSON{iprevStep(f), spfStep(f), heloStep(f, j.Symbols)}
	list = append(list, dkimSteps(f, log)...)
	list = append(list, arcStep(f), dmarcStep(f, j.Symbols))
	list = append(list, listSteps(f)...)
	for i := range list {
		s := &list[i]
		if s.Queries == nil && s.Step != "dkim" {
			s.Queries = log.of(func(q *query) bool { return q.step == s.Step })
		}
		switch {
		case s.Result == "":
			s.Result, s.Decided = "skipped", strings.TrimPrefix(cause(f, s.Step), "skipped ")
		case s.Result == "clear" && len(s.Queries) == 0:
			s.Result, s.Decided = "unknown", "no list was asked: they fail their own test points, or have no such addresses"
		}
		s.Decided, s.Subject = printable(s.Decided), printable(s.Subject)
	}
	return list
}

// cause is why a check gave no result.
func cause(f *filter.Facts, name string) string {
	for _, c := range f.Checks {
		if c.Name == name {
			return strings.TrimSpace(string(c.State) + " " + c.Cause)
		}
	}
	return "it did not run"
}

// of is the questions that fit, never nil.
func (l *queryLog) of(fits func(*query) bool) []*query {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []*query{}
	for _, q := range l.queries {
		if fits(q) {
			out = append(out, q)
		}
	}
	return out
}

func iprevStep(f *filter.Facts) stepJSON {
	s := stepJSON{Step: "iprev", Result: f.IPRev, Subject: f.Client.Address}
	switch {
	case f.Client.Name != "":
		s.Decided = f.Client.Name + " leads back to the address"
	case f.IPRev == "permerror":
		s.Decided = "the address has no name"
	case f.IPRev == "fail":
		s.Decided = "none of its names leads back"
	case f.IPRev == "temperror":
		s.Decided = cause(f, "iprev")
	}
	return s
}

func spfStep(f *filter.Facts) stepJSON {
	s := stepJSON{Step: "spf", Result: f.SPF.Result, Subject: f.SPF.Domain, Decided: f.SPF.Explain}
	if f.SPF.Identity == "helo" {
		s.Subject += " (HELO, since the reverse-path is null)"
	}
	return s
}

func heloStep(f *filter.Facts, symbols []filter.Symbol) stepJSON {
	s := stepJSON{Step: "spf_helo", Result: f.SPF.Helo, Subject: f.Client.Helo}
	for _, y := range symbols {
		if strings.HasPrefix(y.Name, "SPF_HELO_") {
			s.Decided = y.Detail
		}
	}
	return s
}

// dkimSteps are one for each signature. Signatures of one key share its
// question.
func dkimSteps(f *filter.Facts, log *queryLog) []stepJSON {
	if len(f.DKIM) == 0 {
		s := stepJSON{Step: "dkim", Result: "none", Decided: "no DKIM-Signature", Queries: []*query{}}
		if slices.ContainsFunc(f.Checks, func(c filter.CheckResult) bool { return c.Name == "dkim" && c.State == filter.Skipped }) {
			s.Result = ""
		}
		return []stepJSON{s}
	}
	var list []stepJSON
	for _, d := range f.DKIM {
		s := stepJSON{Step: "dkim", Result: d.Result, Subject: "d=" + d.Domain + " s=" + d.Selector + " a=" + d.Algo, Decided: d.Reason}
		if d.Result == "pass" {
			s.Decided = "signature and body hash verify, over " + strings.Join(d.Fields, ":")
		}
		if d.KeyBits > 0 {
			s.Subject += ", key of " + strconv.Itoa(d.KeyBits) + " bits"
		}
		name := mail.CanonicalDomain(d.Selector) + "._domainkey." + d.Domain
		s.Queries = log.of(func(q *query) bool { return q.step == "dkim" && strings.EqualFold(q.Name, name) })
		list = append(list, s)
	}
	return list
}

func arcStep(f *filter.Facts) stepJSON {
	s := stepJSON{Step: "arc", Result: f.ARC.Result, Subject: strings.Join(f.ARC.Sealers, ", "), Decided: f.ARC.Reason}
	switch {
	case f.ARC.Result == "none":
		s.Decided = "no ARC sets"
	case f.ARC.Result == "pass" && f.ARC.OldestPass == 0:
		s.Decided = "all seals and all message signatures verify"
	case f.ARC.Result == "pass":
		s.Decided = fmt.Sprintf("all seals verify; the message was changed before set %d", f.ARC.OldestPass)
	}
	return s
}

// dmarcStep names the record, its policy, and what is aligned.
func dmarcStep(f *filter.Facts, symbols []filter.Symbol) stepJSON {
	d := &f.DMARC
	s := stepJSON{Step: "dmarc", Result: d.Result, Subject: d.From}
	var why []string
	if d.Domain != "" {
		why = append(why, fmt.Sprintf("policy %s of the record at _dmarc.%s", d.Policy, d.Domain))
	}
	if d.Testing {
		why = append(why, "t=y: one step milder")
	}
	switch {
	case d.AlignedDKIM != "":
		why = append(why, "aligned with DKIM of "+d.AlignedDKIM)
	case d.AlignedSPF != "":
		why = append(why, "aligned with SPF of "+d.AlignedSPF)
	case d.Result == "fail":
		why = append(why, "nothing that passed is aligned with "+d.From)
	case d.Result == "none":
		why = append(why, "no usable record for "+d.From)
	}
	if d.Override != "" {
		why = append(why, "overridden: "+d.Override)
	}
	open := d.Result == "temperror" || d.Result == "permerror" || d.Result == "fail" && f.SPF.Result == ""
	for _, y := range symbols {
		if open && strings.HasPrefix(y.Name, "DMARC_") && y.Detail != "" {
			why = append(why, y.Detail)
			break
		}
	}
	s.Decided = strings.Join(why, "; ")
	return s
}

// listSteps are what DNS lists say about the client and about domains, where the
// config has any.
func listSteps(f *filter.Facts) (list []stepJSON) {
	for _, c := range f.Checks {
		s := stepJSON{Step: c.Name, Result: "clear"}
		listings := f.Domains
		switch {
		case c.Name == "dnsbl":
			s.Subject, listings = f.Client.Address, f.Listings
		case c.Name != "uribl":
			continue
		}
		var why []string
		for _, l := range listings {
			s.Result = "listed"
			why = append(why, strings.TrimSpace(fmt.Sprintf("%s in %s with %s", l.Domain, l.Zone, l.Code)))
		}
		switch {
		case c.State == filter.Skipped:
			s.Result = ""
		case c.State != filter.OK:
			why = append(why, string(c.State)+" "+c.Cause)
			if s.Result == "clear" {
				s.Result = "unknown"
			}
		}
		s.Decided = strings.Join(why, "; ")
		list = append(list, s)
	}
	return list
}

func (s *stepJSON) print(w io.Writer) {
	fmt.Fprintf(w, "%-10s %s %s\n", s.Step, s.Result, s.Subject)
	if s.Decided != "" {
		fmt.Fprintf(w, "             %s\n", s.Decided)
	}
	for _, q := range s.Queries {
		q.print(w, "             ")
	}
}

func (q *query) print(w io.Writer, indent string) {
	fmt.Fprintf(w, "%s%-4s %-40s %s%s%s\n", indent, q.Type, q.Name, strings.Join(q.Answers, " | "), q.Error, dnssec(q.DNSSEC))
}

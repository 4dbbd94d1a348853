package report

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"

	"mailweir/filter"
	"mailweir/mail"
)

// event is what a report needs of a verdict (smtpd.Record).
type event struct {
	ReversePath string        `json:"reverse_path"`
	Client      string        `json:"client"`
	Action      filter.Action `json:"action"`
	Reply       string        `json:"reply"`
	Recipients  []struct {
		Address string `json:"address"`
	} `json:"recipients"`
	Facts struct {
		Client filter.ClientFacts `json:"client"`
		SPF    filter.SPFFacts    `json:"spf"`
		DKIM   []filter.DKIMFacts `json:"dkim"`
		DMARC  filter.DMARCFacts  `json:"dmarc"`
	} `json:"facts"`
}

// hasRecord is in every line that a report could be made of. Looking for it
// spares decoding the others, which are most.
var hasRecord = []byte(`"record":"v=DMARC1`)

// parseEvent reads a line of the history; false for what no report tells of:
// messages that will come again (451), and those whose domain did not ask.
func parseEvent(line []byte) (*event, bool) {
	if !bytes.Contains(line, hasRecord) {
		return nil, false
	}
	var entry struct {
		Kind string `json:"kind"`
		Data event  `json:"data"`
	}
	if json.Unmarshal(line, &entry) != nil || entry.Kind != "verdict" { // torn, or not ours
		return nil, false
	}
	e := &entry.Data
	d := &e.Facts.DMARC
	if d.Record == "" || d.Domain == "" || d.Result != "pass" && d.Result != "fail" || strings.HasPrefix(e.Reply, "4") {
		return nil, false
	}
	_, err := netip.ParseAddr(e.Client)
	return e, err == nil
}

// Hidden tells whether the client's address may not be told to anybody:
// because of a recipient's domain, and whether the client is one of our own.
type Hidden func(domain string, own bool) bool

func (e *event) hidden(h Hidden) bool {
	for _, r := range e.Recipients {
		if h(mail.CanonicalDomain(mail.Path(r.Address).Domain()), e.Facts.Client.Own) {
			return true
		}
	}
	return false
}

// row is what the message adds to, with a count of one.
func (e *event) row() Row {
	d := &e.Facts.DMARC
	r := Row{
		Source: e.Client, HeaderFrom: d.From,
		EnvelopeFrom: mail.CanonicalDomain(mail.Path(e.ReversePath).Domain()),
		AlignedDKIM:  d.AlignedDKIM != "", AlignedSPF: d.AlignedSPF != "",
		SPFDomain: e.Facts.SPF.Domain, SPF: e.Facts.SPF.Result,
		DKIM: e.signatures(), Count: 1,
	}
	r.Disposition, r.Reason = e.disposition()
	return r
}

// disposition is what DMARC did to the message, not what else was found against
// it: how we filter is not for those who may have written it (RFC 9990,
// "Disclosure of Filtering Information"). So a rejection for spam counts as much
// as the policy asked for, and no more; and less than that has a reason.
func (e *event) disposition() (disposition, reason string) {
	d := &e.Facts.DMARC
	if d.Result == "pass" {
		if d.Policy == "none" {
			return "none", ""
		}
		return "pass", ""
	}
	done := "none"
	switch e.Action {
	case filter.Reject, filter.Discard:
		done = d.Policy
	case filter.Quarantine:
		if d.Policy != "none" {
			done = "quarantine"
		}
	}
	switch {
	case done == d.Policy:
		return done, ""
	case d.Override == "forwarded": // RFC 9990 has no such word any more
		return done, "trusted_forwarder"
	case d.Override != "":
		return done, d.Override
	case d.Testing:
		return done, "policy_test_mode"
	}
	return done, "local_policy"
}

// maxSignatures bounds the signatures of one row. RFC 9990 allows a hundred; what
// tells a domain owner something is among the first.
const maxSignatures = 10

// signatures are in the order that the RFC wants ("DKIM Signatures in Aggregate
// Reports"): those that passed first, and among them those that are aligned, the
// closest first.
func (e *event) signatures() []Signature {
	from := e.Facts.DMARC.From
	rank := func(s Signature) int {
		switch {
		case s.Result != "pass":
			return 3
		case s.Domain == from:
			return 0
		case s.Domain == e.Facts.DMARC.AlignedDKIM:
			return 1
		}
		return 2
	}
	var list []Signature
	for _, f := range e.Facts.DKIM {
		s := Signature{Domain: f.Domain, Selector: f.Selector, Result: f.Result}
		if s.Domain != "" && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b Signature) int { return rank(a) - rank(b) })
	return list[:min(len(list), maxSignatures)]
}

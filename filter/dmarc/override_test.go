package dmarc

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"mailweir/filter"
	"mailweir/mail"
)

// TestOverride: who may break DMARC, and who may not.
func TestOverride(t *testing.T) {
	o := Options{
		TrustedSealers: []string{"list.example"},
		Overrides: []Override{
			{Network: netip.MustParsePrefix("198.51.100.0/24"), Reason: "forwarded"},
			{Domain: "lists.example", Reason: "mailing_list"},
			{Author: "partner.example", Reason: "local_policy"},
		},
	}
	arc := func(f filter.ARCFacts) filter.ARCFacts {
		f.Result, f.FromSigned = "pass", true
		return f
	}
	for _, c := range []struct {
		what, from, auth, client string
		arc                      filter.ARCFacts
		reason                   string
	}{
		{what: "nobody", from: "a@example.org"},
		{what: "client", from: "a@example.org", client: "198.51.100.9", reason: "forwarded"},
		{what: "other client", from: "a@example.org", client: "198.51.101.9"},
		{what: "SPF of a list", from: "a@example.org", auth: "spf pass bounces.lists.example", reason: "mailing_list"},
		{what: "DKIM of a list", from: "a@example.org", auth: "dkim fail example.org\ndkim pass lists.example", reason: "mailing_list"},
		{what: "list not proven", from: "a@example.org", auth: "spf softfail lists.example\ndkim fail lists.example"},
		{what: "name like a list's", from: "a@example.org", auth: "spf pass evillists.example"},
		{what: "author", from: "a@x.partner.example", reason: "local_policy"},
		{what: "one sealer", from: "a@example.org", arc: arc(filter.ARCFacts{Sealers: []string{"list.example"}, Vouched: []string{"example.org"}}), reason: "trusted_forwarder"},
		{what: "sealer vouches for another", from: "a@example.org", arc: arc(filter.ARCFacts{Sealers: []string{"list.example"}, Vouched: []string{"example.net"}})},
		{what: "sealer vouches for nobody", from: "a@example.org", arc: arc(filter.ARCFacts{Sealers: []string{"list.example"}, Vouched: []string{""}})},
		{what: "sealer of no list", from: "a@example.org", arc: arc(filter.ARCFacts{Sealers: []string{"evil.example"}, Vouched: []string{"example.org"}})},
		{what: "stranger after the list", from: "a@example.org", arc: arc(filter.ARCFacts{Sealers: []string{"list.example", "evil.example"}, Vouched: []string{"example.org", ""}})},
		{what: "stranger before the list", from: "a@example.org", arc: arc(filter.ARCFacts{Sealers: []string{"evil.example", "list.example"}, Vouched: []string{"example.org", ""}})},
		{what: "two of the list", from: "a@example.org", arc: arc(filter.ARCFacts{Sealers: []string{"a.list.example", "b.list.example"}, Vouched: []string{"example.org", ""}}), reason: "trusted_forwarder"},
		{what: "broken chain", from: "a@example.org", arc: filter.ARCFacts{Result: "fail", FromSigned: true, Sealers: []string{"list.example"}, Vouched: []string{"example.org"}}},
		{what: "From unsigned", from: "a@example.org", arc: filter.ARCFacts{Result: "pass", Sealers: []string{"list.example"}, Vouched: []string{"example.org"}}},
	} {
		tx := transaction("From: "+c.from, c.auth)
		tx.Facts.ARC = c.arc
		tx.Client = &mail.Client{}
		if c.client != "" {
			tx.Client.Addr = netip.MustParseAddr(c.client)
		}
		zone := parseZone(t, "_dmarc.example.org TXT v=DMARC1; p=reject\n_dmarc.partner.example TXT v=DMARC1; p=quarantine")
		report := New(zone, o).Run(context.Background(), tx)
		report.Set(tx.Facts)
		a, symbol := report.Auth[0], report.Symbols[0]
		shown := slices.Contains(a.Props, filter.AuthProp{Type: "policy", Property: "override-reason", Value: c.reason}) &&
			slices.Contains(a.Props, filter.AuthProp{Type: "policy", Property: "dmarc", Value: "none"})
		if a.Result != "fail" || tx.Facts.DMARC.Override != c.reason || (c.reason != "") != shown || (symbol.Name == filter.SymDMARCOverride) != (c.reason != "") {
			t.Errorf("%s: %+v %+v %+v", c.what, symbol, a, tx.Facts.DMARC)
		}
	}
}

// TestOverrideRecipients: an entry for one domain of ours helps nobody else.
func TestOverrideRecipients(t *testing.T) {
	o := Options{Overrides: []Override{{Author: "example.org", To: "one.example", Reason: "local_policy"}}}
	for _, c := range []struct {
		to   []mail.Path
		want string
	}{
		{[]mail.Path{"a@one.example", "b@ONE.example"}, filter.SymDMARCOverride},
		{[]mail.Path{"a@two.example"}, filter.SymDMARCReject},
		{[]mail.Path{"a@one.example", "a@two.example"}, filter.SymDMARCReject},
		{[]mail.Path{"a@x.one.example"}, filter.SymDMARCReject},
		{[]mail.Path{"postmaster"}, filter.SymDMARCReject},
	} {
		tx := transaction("From: a@example.org", "")
		tx.Envelope = &mail.Envelope{}
		for _, p := range c.to {
			tx.Envelope.Recipients = append(tx.Envelope.Recipients, mail.Recipient{Path: p})
		}
		zone := parseZone(t, "_dmarc.example.org TXT v=DMARC1; p=reject")
		if report := New(zone, o).Run(context.Background(), tx); report.Symbols[0].Name != c.want {
			t.Errorf("%v: %+v", c.to, report.Symbols)
		}
	}
}

// TestOverrideNothing: what passes, or asks for nothing, is not overridden.
func TestOverrideNothing(t *testing.T) {
	o := Options{Overrides: []Override{{Author: "example.org", Reason: "local_policy"}}}
	for record, symbol := range map[string]string{
		"v=DMARC1; p=none": filter.SymDMARCNone, "v=DMARC1; p=quarantine; t=y": filter.SymDMARCNone, "v=DMARC1; p=reject; t=y": filter.SymDMARCOverride,
	} {
		tx := transaction("From: a@example.org", "")
		report := New(parseZone(t, "_dmarc.example.org TXT "+record), o).Run(context.Background(), tx)
		if report.Symbols[0].Name != symbol {
			t.Errorf("%s: %+v", record, report.Symbols)
		}
	}
	tx := transaction("From: a@example.org", "spf pass example.org")
	if report := New(parseZone(t, "_dmarc.example.org TXT v=DMARC1; p=reject"), o).Run(context.Background(), tx); report.Symbols[0].Name != filter.SymDMARCPass {
		t.Errorf("%+v", report.Symbols)
	}
}

package allow

import (
	"context"
	"net/netip"
	"testing"

	"mailweir/filter"
	"mailweir/mail"
)

func entries() []Entry {
	return []Entry{
		{Network: netip.MustParsePrefix("192.0.2.0/25"), Reason: "scanner\r\nin the hall"},
		{Domain: "Partner.example.", Reason: "partner"},
		{Network: netip.MustParsePrefix("192.0.2.0/24"), Reason: "the rest"},
		{Network: netip.MustParsePrefix("2001:db8::/32"), Reason: "six"},
	}
}

func TestNetwork(t *testing.T) {
	check := NewNetwork(entries())
	for addr, want := range map[string]string{
		"192.0.2.1":        "scanner  in the hall",
		"::ffff:192.0.2.1": "scanner  in the hall",
		"192.0.2.200":      "the rest",
		"2001:db8::1":      "six",
		"198.51.100.1":     "",
		"2001:db9::1":      "",
	} {
		r := check.Run(context.Background(), &filter.Transaction{Client: &mail.Client{Addr: netip.MustParseAddr(addr)}})
		if got := detail(r); got != want || r.State != filter.OK {
			t.Errorf("%s: %q %s, want %q", addr, got, r.State, want)
		}
	}
	if r := check.Run(context.Background(), &filter.Transaction{Client: &mail.Client{}}); r.State != filter.Skipped {
		t.Error("no address:", r.State)
	}
	if r := NewNetwork(nil).Run(context.Background(), &filter.Transaction{Client: &mail.Client{}}); r.State != filter.Skipped {
		t.Error("no entries:", r.State)
	}
}

func detail(r filter.Report) string {
	if len(r.Symbols) != 1 || r.Symbols[0].Name != filter.SymAllowed {
		return ""
	}
	return r.Symbols[0].Detail
}

func dmarc(result, from, spf, dkim string) filter.DMARCFacts {
	return filter.DMARCFacts{Result: result, From: from, AlignedSPF: spf, AlignedDKIM: dkim}
}

func spf(result, domain string) filter.SPFFacts {
	return filter.SPFFacts{Result: result, Domain: domain}
}

func sig(result, domain string) []filter.DKIMFacts {
	return []filter.DKIMFacts{{Result: "fail", Domain: "partner.example"}, {Result: result, Domain: domain}}
}

func TestDomain(t *testing.T) {
	check := NewDomain(entries())
	from := func(domains ...string) filter.HeaderFacts {
		var h filter.HeaderFacts
		for _, d := range domains {
			h.From = append(h.From, filter.Address{Domain: d})
		}
		return h
	}
	for _, c := range []struct {
		name  string
		facts filter.Facts
		want  bool
	}{
		{"aligned DKIM", filter.Facts{DMARC: dmarc("pass", "partner.example", "", "partner.example")}, true},
		{"aligned SPF of a subdomain", filter.Facts{DMARC: dmarc("pass", "a.partner.example", "a.partner.example", "")}, true},
		{"letters", filter.Facts{DMARC: dmarc("pass", "PARTNER.example", "", "partner.example")}, true},
		{"one author", filter.Facts{Header: from("partner.example"), DMARC: dmarc("pass", "partner.example", "", "partner.example")}, true},

		{"name alone", filter.Facts{DMARC: dmarc("none", "partner.example", "", "")}, false},
		{"DMARC failed", filter.Facts{DMARC: dmarc("fail", "partner.example", "", ""), SPF: spf("pass", "partner.example")}, false},
		{"DMARC temperror", filter.Facts{DMARC: dmarc("temperror", "partner.example", "", ""), DKIM: sig("pass", "partner.example")}, false},
		{"DMARC permerror", filter.Facts{DMARC: dmarc("permerror", "partner.example", "", ""), DKIM: sig("pass", "partner.example")}, false},
		{"DMARC did not run", filter.Facts{DKIM: sig("pass", "partner.example"), Header: from("partner.example")}, false},
		{"another domain", filter.Facts{DMARC: dmarc("pass", "other.example", "", "other.example")}, false},
		{"suffix, no subdomain", filter.Facts{DMARC: dmarc("pass", "evilpartner.example", "", "evilpartner.example")}, false},
		{"parent", filter.Facts{DMARC: dmarc("pass", "example", "", "example")}, false},
		{"two authors", filter.Facts{Header: from("partner.example", "evil.example"), DMARC: dmarc("pass", "partner.example", "", "partner.example")}, false},
		{"no author", filter.Facts{DMARC: dmarc("pass", "", "x.example", "")}, false},

		{"no record, DKIM", filter.Facts{DMARC: dmarc("none", "partner.example", "", ""), DKIM: sig("pass", "partner.example")}, true},
		{"no record, DKIM of a subdomain", filter.Facts{DMARC: dmarc("none", "partner.example", "", ""), DKIM: sig("pass", "mail.partner.example")}, true},
		{"no record, SPF", filter.Facts{DMARC: dmarc("none", "partner.example", "", ""), SPF: spf("pass", "Partner.example")}, true},
		{"no record, SPF of another", filter.Facts{DMARC: dmarc("none", "partner.example", "", ""), SPF: spf("pass", "evil.example")}, false},
		{"no record, SPF of another, From of another", filter.Facts{DMARC: dmarc("none", "evil.example", "", ""), SPF: spf("pass", "partner.example")}, false},
		{"no record, SPF temperror", filter.Facts{DMARC: dmarc("none", "partner.example", "", ""), SPF: spf("temperror", "partner.example")}, false},
		{"no record, SPF softfail", filter.Facts{DMARC: dmarc("none", "partner.example", "", ""), SPF: spf("softfail", "partner.example")}, false},
		{"no record, DKIM fail", filter.Facts{DMARC: dmarc("none", "partner.example", "", ""), DKIM: sig("fail", "partner.example")}, false},
		{"no record, key in test mode", filter.Facts{DMARC: dmarc("none", "partner.example", "", ""),
			DKIM: []filter.DKIMFacts{{Result: "pass", Domain: "partner.example", Testing: true}}}, false},
	} {
		r := check.Run(context.Background(), &filter.Transaction{Facts: &c.facts})
		if got := detail(r) == "partner"; got != c.want {
			t.Errorf("%s: %v, %+v", c.name, got, r)
		}
	}
	if r := NewDomain(nil).Run(context.Background(), &filter.Transaction{Facts: &filter.Facts{}}); r.State != filter.Skipped {
		t.Error("no entries:", r.State)
	}
}

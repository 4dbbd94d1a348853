package access

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"mailweir/filter"
	"mailweir/internal/fsx"
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
	check := NewCheck(New(entries(), nil, nil))
	for addr, want := range map[string]string{
		"192.0.2.1":        "scanner  in the hall",
		"::ffff:192.0.2.1": "scanner  in the hall",
		"192.0.2.200":      "the rest",
		"2001:db8::1":      "six",
		"198.51.100.1":     "",
		"2001:db9::1":      "",
	} {
		r := check.Run(context.Background(), &filter.Transaction{Facts: &filter.Facts{}, Client: &mail.Client{Addr: netip.MustParseAddr(addr)}})
		if got := detail(r); got != want || r.State != filter.OK {
			t.Errorf("%s: %q %s, want %q", addr, got, r.State, want)
		}
	}
	if r := check.Run(context.Background(), &filter.Transaction{Facts: &filter.Facts{}, Client: &mail.Client{}}); detail(r) != "" {
		t.Error("no address:", r)
	}
	if r := NewCheck(New(nil, nil, nil)).Run(context.Background(), &filter.Transaction{Facts: &filter.Facts{}, Client: &mail.Client{}}); r.State != filter.Skipped {
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
	check := NewCheck(New(entries(), nil, nil))
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
		r := check.Run(context.Background(), &filter.Transaction{Facts: &c.facts, Client: &mail.Client{}})
		if got := detail(r) == "partner"; got != c.want {
			t.Errorf("%s: %v, %+v", c.name, got, r)
		}
	}
}

// An entry for some recipients is a finding for them alone; the first one for
// all of them ends the list.
func TestScopes(t *testing.T) {
	net := netip.MustParsePrefix("192.0.2.0/24")
	only := &filter.Scope{Domains: []string{"example.org"}}
	check := NewCheck(New([]Entry{
		{Network: net, Reason: "one", Scope: only},
		{Network: net, Reason: "all"},
		{Network: net, Reason: "never asked"},
	}, []Entry{{Network: net, Reason: "over", Expires: time.Now()}}, nil))
	r := check.Run(context.Background(), &filter.Transaction{Facts: &filter.Facts{}, Client: &mail.Client{Addr: netip.MustParseAddr("192.0.2.1")}})
	want := []filter.Symbol{{Name: "ALLOWED", Detail: "one", Scope: only}, {Name: "ALLOWED", Detail: "all"}}
	if !reflect.DeepEqual(r.Symbols, want) {
		t.Errorf("%+v", r.Symbols)
	}
}

// An author's address counts where his domain is proved.
func TestAddress(t *testing.T) {
	e, err := Parse("News@Shop.example")
	if err != nil {
		t.Fatal(err)
	}
	check := NewCheck(New(nil, []Entry{e}, nil))
	for from, want := range map[string]bool{"news@shop.example": true, "NEWS+1@shop.example": true, "boss@shop.example": false} {
		for _, result := range []string{"pass", "fail"} {
			f := &filter.Facts{
				Header: filter.HeaderFacts{From: []filter.Address{{Addr: from, Domain: "shop.example"}}},
				DMARC:  dmarc(result, "shop.example", "", "shop.example"),
			}
			r := check.Run(context.Background(), &filter.Transaction{Facts: f, Client: &mail.Client{}})
			if got := len(r.Symbols) == 1 && r.Symbols[0].Name == filter.SymBlocked; got != (want && result == "pass") {
				t.Errorf("%s, %s: %v", from, result, r.Symbols)
			}
		}
	}
}

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "192.0.2.77/24": "192.0.2.0/24", "2001:db8::1": "2001:db8::1/128", "::ffff:192.0.2.1": "192.0.2.1/32",
		"BÜCHER.example": "xn--bcher-kva.example", "Bob+x@Example.org": "bob@example.org",
		"": "", "localhost": "", "postmaster": "", "[192.0.2.1]": "", "a b.example": "", "*.example": "",
	} {
		e, err := Parse(in)
		if e.What() != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", in, e.What(), err, want)
		}
	}
}

// What commands add is in force at once, is there after a crash, and is dropped
// when it is over.
func TestStore(t *testing.T) {
	disk := fsx.NewMem()
	if err := disk.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	open := func() (*Store, *Lists) {
		s, err := OpenStore(disk, "data/access.json")
		if err != nil {
			t.Fatal(err)
		}
		return s, New(nil, nil, s)
	}
	s, lists := open()
	client, rcpt, now := netip.MustParseAddr("192.0.2.1"), mail.Path("bob@example.org"), time.Now()
	entry := Entry{Network: netip.MustParsePrefix("192.0.2.0/24"), Reason: "noise", Expires: now.Add(time.Hour)}
	if err := s.Add(Block, entry); err != nil {
		t.Fatal(err)
	}
	if lists.Network(Block, client, rcpt, now) == nil || lists.Network(Allow, client, rcpt, now) != nil {
		t.Error("not in force")
	}
	if lists.Network(Block, client, rcpt, now.Add(time.Hour)) != nil {
		t.Error("it counts when it is over")
	}
	scoped := entry
	scoped.Scope = &filter.Scope{Recipients: []string{"bob@example.org"}}
	entry.Reason = "more noise"
	if err := errors.Join(s.Add(Block, scoped), s.Add(Block, entry)); err != nil {
		t.Fatal(err)
	}
	disk = disk.Crash(rand.New(rand.NewPCG(1, 2)))
	s, _ = open()
	if list := s.Entries(Block); len(list) != 2 || list[1].Reason != "more noise" || list[0].Scope == nil {
		t.Errorf("after a crash: %+v", list)
	}
	if _, err := s.Remove(Allow, "192.0.2.0/24", nil); err != ErrUnknown {
		t.Error(err)
	}
	if removed, err := s.Remove(Block, "192.0.2.0/24", scoped.Scope); err != nil || len(removed) != 1 {
		t.Error(removed, err)
	}
	if dropped, next, err := s.Expire(now); err != nil || len(dropped[Block]) != 0 || !next.Equal(entry.Expires) {
		t.Error(dropped, next, err)
	}
	if dropped, next, err := s.Expire(now.Add(time.Hour)); err != nil || len(dropped[Block]) != 1 || !next.IsZero() {
		t.Error(dropped, next, err)
	}
	disk = disk.Crash(rand.New(rand.NewPCG(1, 2)))
	if s, _ = open(); len(s.Entries(Block)) != 0 {
		t.Error("what was dropped is back")
	}
}

package rules

import (
	"testing"

	"mailweir/filter"
)

func TestLookalike(t *testing.T) {
	names := newOwnNames([]string{"example.org", "mailweir.com", "abc.com"}, nil)
	for _, c := range []struct {
		domain string
		want   bool
	}{
		{"example.org", false},
		{"examp1e.org", true},
		{"exarnple.org", true},
		{"exаmple.org", true},        // Cyrillic
		{"xn--exmple-4nf.org", true}, // the same, as it is sent
		{"xn--exmple-cua.com", true}, // exämple
		{"ex-ample.com", true},
		{"exmaple.org", true},
		{"exmple.org", true},
		{"exxample.org", true},
		{"exbmple.com", true},
		{"example.net", false}, // the same name elsewhere
		{"sample.org", false},
		{"examples-shop.org", false},
		{"abd.com", false}, // a short name
		{"maiIweir.com", true},
		{"other.example", false},
		{"", false},
	} {
		if got := names.looksLike(filter.Organization(canonical(c.domain))); got != c.want {
			t.Errorf("%s: %v", c.domain, got)
		}
	}
}

func canonical(s string) string {
	if s == "maiIweir.com" {
		return "maiiweir.com" // as the facts have it, in lower case
	}
	return s
}

// TestOwnDomainRules: mail that claims to be from the recipient's own
// organization needs proof, and one that only looks so is told.
func TestOwnDomainRules(t *testing.T) {
	set, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, from string
		change     func(*filter.Facts)
		own, looks bool
	}{
		{"forged", "example.org", func(*filter.Facts) {}, true, false},
		{"forged subdomain", "mail.example.org", func(*filter.Facts) {}, true, false},
		{"proven by DMARC", "example.org", func(f *filter.Facts) { f.DMARC.Result = "pass" }, false, false},
		{"proven by SPF", "example.org", func(f *filter.Facts) { f.SPF.Result, f.Envelope.FromDomain = "pass", "example.org" }, false, false},
		{"SPF of another", "example.org", func(f *filter.Facts) { f.SPF.Result, f.Envelope.FromDomain = "pass", "evil.example" }, true, false},
		{"own client", "example.org", func(f *filter.Facts) { f.Client.Own = true }, false, false},
		{"back from a list", "example.org", func(f *filter.Facts) { f.Header.ListID = "<l.example.net>" }, false, false},
		{"nobody sent it", "example.org", func(f *filter.Facts) { f.Client.Address = "" }, false, false},
		{"lookalike", "examp1e.org", func(*filter.Facts) {}, false, true},
		{"lookalike with DMARC", "examp1e.org", func(f *filter.Facts) { f.DMARC.Result = "pass" }, false, true},
		{"somebody else", "friend.example", func(*filter.Facts) {}, false, false},
	} {
		f := &filter.Facts{
			Client:   filter.ClientFacts{Address: "192.0.2.1"},
			Envelope: filter.EnvelopeFacts{Recipients: []string{"bob@example.org"}},
			Header:   filter.HeaderFacts{Names: []string{"from"}, From: []filter.Address{{Addr: "a@" + c.from, Domain: c.from}}},
		}
		c.change(f)
		var own, looks bool
		for _, s := range set.Eval(f, "") {
			own = own || s.Name == "FROM_OWN_UNPROVEN"
			looks = looks || s.Name == "FROM_LOOKALIKE"
		}
		if own != c.own || looks != c.looks {
			t.Errorf("%s: own %v, lookalike %v", c.name, own, looks)
		}
	}
}

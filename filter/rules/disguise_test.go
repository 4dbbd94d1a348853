package rules

import (
	"fmt"
	"strings"
	"testing"

	"mailweir/filter"
	"mailweir/mail"
)

// TestDisguises: what a link's host pretends to be.
func TestDisguises(t *testing.T) {
	own := (&Rules{}).For([]string{"mail.example.org", "example-holding.com"}).own
	for _, c := range []struct {
		host, shown string
		want        string // l: own or shown, b: a brand, w: names a brand, h: homograph
	}{
		{"example.org", "", ""},
		{"www.example.org", "", ""},
		{"example.com", "", ""}, // the same name elsewhere
		{"examp1e.org", "", "l"},
		{"www.exarnple.org", "", "l"},
		{"ex-ample.net", "", "l"},
		{"exmaple.org", "", "l"},
		{"eхаmple.org", "", "lh"}, // Cyrillic
		{"exämple.org", "", "l"},
		{"examples.org", "", "l"},
		{"example-holdings.com", "", "l"}, // another one of ours
		{"sample.org", "", ""},
		{"paypal.com", "", ""},
		{"paypal.example", "", ""},
		{"paypa1.com", "", "b"},
		{"paypaI.com", "", "b"},
		{"pay-pal.com", "", "b"},
		{"раураӏ.com", "", "bh"},
		{"rnicrosoft.com", "", "b"},
		{"microsfot.com", "", "b"},
		{"linkedln.com", "", "b"},
		{"faceboook.com", "", "b"},
		{"finance.com", "", ""}, // not binance
		{"shopify.com", "", ""},
		{"paypal.com.evil.example", "", "w"},
		{"secure-paypal.example", "", "w"},
		{"paypal.example-login.com", "", "w"},
		{"www.amazon.co.uk", "", ""},
		{"images-na.ssl-images-amazon.com", "", ""},
		{"bucket.s3.amazonaws.com", "", ""},
		{"account.live.com", "account.live.com", ""},
		{"hotel1ux.example", "hotellux.example", "l"},
		{"evil.example", "hotellux.example", ""}, // another name, and no more
		{"müller.de", "", ""},
		{"пример.рф", "", ""},
		{"сахар.com", "", "h"},
		{"xn--80ak6aa92e.com", "", "bh"}, // apple, in Cyrillic letters
		{"xn--0.com", "", ""},
	} {
		host := mail.CanonicalDomain(strings.ToLower(c.host))
		u := filter.URL{Scheme: "https", Host: host, Domain: filter.Organization(host), Text: c.shown}
		u.Disguised = c.shown != "" && filter.Organization(c.shown) != u.Domain
		f := &filter.Facts{Envelope: filter.EnvelopeFacts{Recipients: []string{"bob@example.org"}}, Body: filter.BodyFacts{URLs: []filter.URL{u}}}
		v := newView(f, own)
		got := ""
		for _, s := range []struct {
			letter string
			is     bool
		}{{"l", v.urls.lookalike != ""}, {"b", v.urls.brand != ""}, {"w", v.urls.brandWord != ""}, {"h", v.urls.homographs > 0}} {
			if s.is {
				got += s.letter
			}
		}
		if got != c.want {
			t.Errorf("%s (%s) shown as %q: %q, want %q", c.host, host, c.shown, got, c.want)
		}
	}
}

// BenchmarkDisguises: a message of n links to n hosts.
func BenchmarkDisguises(b *testing.B) {
	own := (&Rules{}).For([]string{"example.org", "example.net"}).own
	for _, n := range []int{1, 5, 500} {
		f := &filter.Facts{Envelope: filter.EnvelopeFacts{Recipients: []string{"bob@example.org"}}}
		for i := range n {
			d := fmt.Sprintf("newsletter%d.example", i)
			f.Body.URLs = append(f.Body.URLs, filter.URL{Scheme: "https", Host: "www." + d, Domain: d})
		}
		v := newView(f, own)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var s urlSummary
				s.disguises(f.Body.URLs, &v.own)
			}
		})
	}
}

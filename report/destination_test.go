package report

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"mailweir/filter/dmarc"
	"mailweir/internal/dns"
)

var policies = &dns.Fake{
	TXT: map[string][]string{
		"_dmarc.d.example":                              {"v=DMARC1; p=reject"},
		"_dmarc.collector.test":                         {"v=DMARC1; p=reject"},
		"d.example._report._dmarc.collector.test":       {"v=DMARC1"},
		"d.example._report._dmarc.noise.test":           {"hello", "v=DMARC1;"},
		"d.example._report._dmarc.wrong.test":           {"v=DMARC2", "p=none; v=DMARC1"},
		"d.example._report._dmarc.moves.test":           {"v=DMARC1; rua=mailto:other@moves.test"},
		"d.example._report._dmarc.evil.test":            {"v=DMARC1; rua=mailto:victim@victim.test"},
		"d.example._report._dmarc.limits.test":          {"v=DMARC1; rua=mailto:l@limits.test!2m"},
		"d.example._report._dmarc.sub.d.example":        {"v=DMARC1"},
		"a.b.d.example._report._dmarc.collector.test":   {"v=DMARC1"},
		"other.example._report._dmarc.unconnected.test": {"v=DMARC1"},
	},
	Fail: map[string]bool{"d.example._report._dmarc.down.test": true},
}

// TestDestinations: who gets the report of d.example.
func TestDestinations(t *testing.T) {
	for rua, want := range map[string]string{
		"mailto:rua@d.example":                                 "rua@d.example/0",
		"mailto:rua@sub.d.example":                             "rua@sub.d.example/0", // the same organization
		"MAILTO:rua@D.example!10k":                             "rua@D.example/10240",
		"mailto:rua@d.example?subject=x":                       "rua@d.example/0",
		"mailto:a%2Bb@d.example":                               "a+b@d.example/0",
		"mailto:r@collector.test":                              "r@collector.test/0",
		"mailto:r@COLLECTOR.test.":                             "!not an address",
		"mailto:r@noise.test":                                  "r@noise.test/0",
		"mailto:r@wrong.test":                                  "!has not agreed",
		"mailto:r@nobody.test":                                 "!has not agreed",
		"mailto:r@unconnected.test":                            "!has not agreed",
		"mailto:r@moves.test":                                  "other@moves.test/0",
		"mailto:r@evil.test":                                   "!another host",
		"mailto:r@limits.test":                                 "l@limits.test/2097152",
		"mailto:r@d.example!0":                                 "!size limit",
		"mailto:r@d.example!":                                  "!size limit",
		"mailto:r@d.example!99999999999m":                      "!size limit",
		"https://d.example/":                                   "!only mailto",
		"mailto:r@[192.0.2.1]":                                 "!not an address",
		"mailto:r%0D%0ADATA@d.example":                         "!not an address",
		"mailto:r@d.example,mailto:s@nobody.test":              "r@d.example/0 !has not agreed",
		"mailto:r@down.test":                                   "temporary",
		"mailto:r@d.example,mailto:r@down.test":                "temporary",
		"mailto:r@" + strings.Repeat("a.", 118) + "other.test": "!",
	} {
		policy, err := dmarc.ParseRecord("v=DMARC1; p=reject; rua=" + rua)
		if err != nil {
			t.Fatal(err)
		}
		list, problems, err := Destinations(context.Background(), policies, "d.example", policy)
		var got []string
		for _, d := range list {
			got = append(got, fmt.Sprintf("%s/%d", d.Path, d.Max))
		}
		if err != nil {
			got = append(got, "temporary")
		}
		wanted, problem, fails := strings.Cut(want, "!")
		if strings.Join(got, " ") != strings.TrimSpace(wanted) || fails != (len(problems) > 0) || !strings.Contains(strings.Join(problems, "; "), problem) {
			t.Errorf("%.80s: %q, problems %.200q, want %q", rua, got, problems, want)
		}
	}
}

func FuzzURI(f *testing.F) {
	for _, s := range []string{"mailto:a@b.example", "mailto:%41@b.example!1t", "mailto:a@b?to=c@d", "x:y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseURI(s)
		if err == nil && (d.Path.Domain() == "" || strings.ContainsAny(string(d.Path), "\r\n\x00") || d.Max < 0) {
			t.Errorf("%q became %+v", s, d)
		}
	})
}

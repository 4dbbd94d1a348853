package dmarc

import (
	"fmt"
	"testing"
)

func TestParseRecord(t *testing.T) {
	for _, c := range []struct {
		txt, want string // "p sp np adkim aspf psd t rua void", or "" for no record
	}{
		{"v=DMARC1; p=reject", "reject   r r u n 0 false"},
		{"v=DMARC1;p=reject;", "reject   r r u n 0 false"},
		{"v = DMARC1 ; p = reject ", "reject   r r u n 0 false"},
		{" v=DMARC1; p=reject", ""},
		{"V=DMARC1; P=REJECT; SP=None", "reject none  r r u n 0 false"},
		{"v=DMARC1; p=none; sp=quarantine; np=reject; adkim=s; aspf=s; psd=n; t=y", "none quarantine reject s s n y 0 false"},
		{"v=DMARC1; p=none; adkim=x; aspf=; psd=q; t=maybe", "none   r r u n 0 false"},
		{"v=DMARC1; psd=y; p=none", "none   r r y n 0 false"},
		{"v=DMARC1; rua=mailto:a@example.org,mailto:b@example.org; p=none", "none   r r u n 2 false"},
		{"v=DMARC1; p=none; p=reject", ""},
		{"v=DMARC1; p=none; x=1; x=1", ""},
		{"v=DMARC1; p=none; v=DMARC1", ""},
		{"v=DMARC1; p=none; =x; junk; zz=1; ;", "none   r r u n 0 false"},
		{"v=DMARC1", "none   r r u n 0 true"},
		{"v=DMARC1; p=", "none   r r u n 0 true"},
		{"v=DMARC1; p=bogus; rua=nonsense", "none   r r u n 0 true"},
		{"v=DMARC1; p=bogus; rua=mailto:", "none   r r u n 1 false"},
		{"v=DMARC1; p=bogus; rua=mailto:postmaster", "none   r r u n 1 false"},
		{"v=DMARC1; p=bogus; rua=a@example.org", "none   r r u n 0 true"},
		{"v=DMARC1; p=bogus; rua=1x:a@example.org", "none   r r u n 0 true"},
		{"v=DMARC1; p=bogus; rua=mailto:a b@example.org", "none   r r u n 0 true"},
		{"v=DMARC1; p=bogus; rua=https://r.example/", "none   r r u n 1 false"},
		{"v=DMARC1; sp=reject; rua=mailto:a@example.org", "none   r r u n 1 false"},
		{"v=DMARC1; p=reject; np=x; rua=mailto:a@example.org!10m", "none   r r u n 1 false"},
		{"v=dmarc1; p=reject", ""},
		{"v=DMARC10; p=reject", ""},
		{"p=reject; v=DMARC1", ""},
		{"v=spf1 -all", ""},
		{"", ""},
	} {
		got := ""
		if r, err := ParseRecord(c.txt); err == nil {
			mode := map[bool]string{true: "s", false: "r"}
			yes := map[bool]string{true: "y", false: "n"}
			got = fmt.Sprintf("%s %s %s %s %s %c %s %d %v", r.Policy, r.Subdomain, r.NonExist,
				mode[r.StrictDKIM], mode[r.StrictSPF], r.PSD, yes[r.Testing], len(r.RUA), r.Void)
		}
		if got != c.want {
			t.Errorf("%q\n got %q\nwant %q", c.txt, got, c.want)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("v=DMARC1; p=reject; sp=none; rua=mailto:a@example.org")
	f.Add("v=DMARC1;;;p")
	f.Fuzz(func(t *testing.T, txt string) {
		r, err := ParseRecord(txt)
		if err != nil {
			return
		}
		for _, p := range []Policy{r.Policy, r.forSubdomain(true), r.forSubdomain(false)} {
			if p != PolicyNone && p != PolicyQuarantine && p != PolicyReject {
				t.Errorf("policy %q", p)
			}
		}
		if len(r.RUA) > maxRUA || r.PSD != 'y' && r.PSD != 'n' && r.PSD != 'u' {
			t.Errorf("%+v", r)
		}
	})
}

package filter

import (
	"fmt"
	"strings"
	"testing"
)

func pivots(symbols []Symbol, p *DomainPolicy) string {
	var out []string
	for _, v := range Pivots(symbols, p) {
		out = append(out, fmt.Sprintf("%s%+.3f:%s", v.Symbol, v.Change, v.Action))
	}
	return strings.Join(out, " ")
}

func TestPivots(t *testing.T) {
	policy := &DomainPolicy{Tag: 5, Reject: 15, DMARCReject: "corroborated", ScannerOnError: Defer, DNSOnError: Accept}
	held := &DomainPolicy{Tag: 5, Quarantine: 8, Reject: 15}
	for _, c := range []struct {
		name    string
		symbols []Symbol
		policy  *DomainPolicy
		want    string
	}{
		{"nothing", nil, policy, "+5.000:tag"},
		{"accepted by one finding", []Symbol{{Name: "GOOD", Score: -2}, {Name: "BAD", Score: 5.5}}, policy,
			"GOOD+2.000:tag +1.500:tag"},
		{"tagged", []Symbol{{Name: "SMALL", Score: 0.5}, {Name: "BIG", Score: 4}, {Name: "NIL"}, {Name: "MORE", Score: 1}}, policy,
			"MORE-1.000:accept BIG-4.000:accept -0.501:accept +9.500:reject"},
		{"between three thresholds", []Symbol{{Name: "BIG", Score: 9}}, held, "BIG-9.000:accept -1.001:tag +6.000:reject"},
		{"a virus at any score", []Symbol{{Name: SymVirus, Detail: "EICAR"}}, policy, "VIRUS+0.000:accept"},
		{"two viruses", []Symbol{{Name: SymVirus}, {Name: SymVirus}}, policy, ""},
		{"allowed", []Symbol{{Name: SymAllowed}, {Name: "BAD", Score: 20}}, policy, "ALLOWED+0.000:reject"},
		{"shadow decides nothing", []Symbol{{Name: "DRAFT", Would: 10}}, policy, "+5.000:tag"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := pivots(c.symbols, c.policy); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

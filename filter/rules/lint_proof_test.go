package rules

import (
	"strings"
	"testing"
)

// TestLintProof: what lets mail through must not hold for mail of which nothing
// is proved, however it is put.
func TestLintProof(t *testing.T) {
	const from = `from_domain == "friend.example"`
	for _, c := range []struct {
		when   string
		proven bool
	}{
		{from, false},
		{`dmarc == "pass" && ` + from, true},
		{from + ` and "pass" == dmarc`, true},
		{`dmarc == "pass" || ` + from, false},
		{`dmarc == "pass" || spf == "pass" && ` + from, true},
		{`dmarc != "pass" && ` + from, false},
		{`dmarc == "none" && ` + from, false},
		{`dmarc in ["pass"] && ` + from, true},
		{`dmarc in ["pass", "none"] && ` + from, false},
		{`!(dmarc != "pass" || ` + from + `)`, true},
		{`not (dmarc == "pass") && ` + from, false},
		{`(dmarc == "pass") == true && ` + from, false}, // not seen through; a warning is no fault
		{`client_own && ` + from, true},
		{`!client_own && ` + from, false},
		{`client_address == "192.0.2.1"`, true},
		{`client_address in ["192.0.2.1", "192.0.2.2"]`, true},
		{`client_address != "192.0.2.1"`, false},
		{`client_name endsWith ".friend.example"`, true},
		{`client_name == ""`, false},
		{`has("DMARC_PASS") && ` + from, true},
		{`!has("DMARC_PASS") && ` + from, false},
		{`has("DMARC_FAIL") && ` + from, false},
		{`has("ABOVE") && ` + from, true},
		{`has("ABOVE_NOT") && ` + from, false},
		{`(urls > 3 ? dmarc == "pass" : spf == "pass") && ` + from, true},
		{`(urls > 3 ? dmarc == "pass" : true) && ` + from, false},
		{`arc == "pass"`, false},
	} {
		text := "[scores]\nDMARC_PASS = 0.1\nDMARC_FAIL = 0.1\n"
		for _, r := range [][3]string{{"ABOVE", "0.1", `spf == "pass" && urls > 1`}, {"ABOVE_NOT", "0.1", `spf == "pass" || urls > 1`}, {"KIND", "-3.0", c.when}} {
			text += "[[rule]]\nsymbol = \"" + r[0] + "\"\nscore = " + r[1] + "\nwhen = '" + r[2] + "'\ndescribe = \"d\"\n"
		}
		found := load(t, text).Lint(Gateway{Tag: 5})
		if warned := len(found) == 1 && strings.HasPrefix(found[0].What, "KIND: a score of -3.00"); warned == c.proven || len(found) > 1 {
			t.Errorf("%s: %v", c.when, found)
		}
	}
}

// TestLintNever: a fact is compared with what it never is.
func TestLintNever(t *testing.T) {
	for when, want := range map[string]string{
		`spf == "psas"`: `R: spf is never "psas"`, `"PASS" != dmarc`: `R: dmarc is never "PASS"`, `dkim in ["none", "missing"]`: `R: dkim is never "missing"`,
		`arc == ""`: "", `dmarc_policy == "reject"`: "", `subject == "psas"`: "", `iprev in ["fail", "permerror"]`: "",
	} {
		found := load(t, "[[rule]]\nsymbol = \"R\"\nscore = 1.0\nwhen = '"+when+"'\ndescribe = \"d\"\n").Lint(Gateway{Tag: 5})
		if got := len(found); got > 1 || (got == 1) != (want != "") || got == 1 && (found[0].What != want || found[0].Line != 1) {
			t.Errorf("%s: %v, want %q", when, found, want)
		}
	}
}

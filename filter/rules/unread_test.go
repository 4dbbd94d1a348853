package rules_test

import (
	"testing"

	"mailweir/filter"
	"mailweir/filter/rules"
)

// A content check that is switched off must not look like an empty message:
// only what other checks reported counts.
func TestUnreadContentHitsNoRule(t *testing.T) {
	set, err := rules.Default()
	if err != nil {
		t.Fatal(err)
	}
	got := set.Eval(&filter.Facts{Symbols: []filter.Symbol{{Name: filter.SymSPFFail}}}, "")
	if len(got) != 1 || got[0].Name != filter.SymSPFFail || got[0].Score <= 0 {
		t.Errorf("symbols of a message that nobody read: %+v", got)
	}
}

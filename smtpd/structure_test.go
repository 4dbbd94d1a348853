package smtpd

import (
	"testing"

	"mailweir/filter"
	"mailweir/mail"
)

func TestStructureReplies(t *testing.T) {
	for symbol, text := range map[string]string{
		filter.SymFromMissing:   "Malformed header: exactly one From field is needed",
		filter.SymFromMultiple:  "Malformed header: exactly one From field is needed",
		filter.SymHeaderNUL:     "Malformed header: NUL in it",
		filter.SymKeyFieldSpace: "Malformed header: white space before the colon of a field",
	} {
		v := filter.Decide([]filter.Symbol{{Name: symbol}}, &filter.DomainPolicy{Tag: 5, Reject: 15})
		var id mail.ID
		got := ReplyFor(v, id)
		if got.Code != 550 || got.EnhancedCode != ec(5, 6, 0) || got.Message != text+"; id "+id.String() {
			t.Errorf("%s: %+v", symbol, got)
		}
	}
}

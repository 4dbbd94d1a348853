package content

import (
	"slices"
	"testing"

	"mailweir/filter"
)

func sourceOf(text string, to ...filter.Address) []uint64 {
	s := newSource(to)
	s.add([]byte(text))
	return s.out
}

// TestSource: capitals and layout are told apart; recipients and years are not
// there at all.
func TestSource(t *testing.T) {
	bob := filter.Address{Addr: "Bob-Smith7@list.example.com"}
	for _, c := range []struct {
		name, a, b string
		same       bool
	}{
		{"the same", "<b>Now</b>\r\n", "<b>Now</b>\r\n", true},
		{"capitals", "<b>Now</b>", "<B>Now</B>", false},
		{"layout", "Buy now", "Buy  now", false},
		{"line ends", "a\r\nb", "a\nb", false},
		{"a year", "in 2002 we", "in 2025 we", true},
		{"a longer number", "in 20021 we", "in 20251 we", false},
		{"a recipient", "for BOB now", "for smith7 now", true},
		{"his domain", "at example.com", "at list.com", true},
		{"another", "for Ann now", "for Bob now", false},
		{"beyond the end of a token", "xxxxxxxxxxxxxxxxxxxxa", "xxxxxxxxxxxxxxxxxxxxb", true},
	} {
		if got := slices.Equal(sourceOf(c.a, bob), sourceOf(c.b, bob)); got != c.same {
			t.Errorf("%s: same %v", c.name, got)
		}
	}
}

// TestSourceEnds: what is beyond the first octets is not looked at.
func TestSourceEnds(t *testing.T) {
	s := newSource()
	for range maxSource {
		s.add([]byte("ab "))
	}
	if n := len(s.out); n > maxSource {
		t.Errorf("%d tokens", n)
	}
	n := len(s.out)
	if s.add([]byte("more")); len(s.out) != n {
		t.Error("it goes on")
	}
}

package bayes

import (
	"slices"
	"testing"

	"mailweir/filter"
)

func featuresOf(subject string, to ...filter.Address) []uint32 {
	e := new(extractor)
	f := &filter.Facts{Header: filter.HeaderFacts{Subject: subject, To: to}}
	return slices.Clone(e.features(f, 1).all)
}

// TestSubjectFeatures: nothing tells the recipient or the year.
func TestSubjectFeatures(t *testing.T) {
	bob := filter.Address{Addr: "bob@example.org"}
	for _, c := range []struct {
		name, a, b string
		same       bool
	}{
		{"recipient", "bob, a prize", "BOB, a prize", true},
		{"recipient's address", "A prize for bob@example.org", "A prize for example.org", true},
		{"another name", "ann, a prize", "bob, a prize", false},
		{"a year", "Offers of 2002", "Offers of 2025", true},
		{"another number", "Offers of 20", "Offers of twenty", false},
		{"capitals", "A PRIZE", "a prize", false},
	} {
		if got := slices.Equal(featuresOf(c.a, bob), featuresOf(c.b, bob)); got != c.same {
			t.Errorf("%s: same %v", c.name, got)
		}
	}
}

// TestSetGrows: whatever the number, a value is new once.
func TestSetGrows(t *testing.T) {
	var s set
	for range 3 {
		s.reset(0)
		var seen []uint32
		for i := range uint32(maxFeatures) {
			v := i*0x9e3779b1 + 1
			if !s.add(v, seen) {
				t.Fatalf("%d is not new", i)
			}
			seen = append(seen, v)
			if old := seen[len(seen)/2]; s.add(old, seen) {
				t.Fatalf("%d twice", i)
			}
		}
	}
}

// TestHardHam: ham that looks like spam weighs more in training, other ham and
// spam as before.
func TestHardHam(t *testing.T) {
	lessons := []*lesson{{spam: true}, {}, {}, {spam: true}}
	cost, spam := balance(lessons)
	harden(lessons, cost, []float64{-9, -9, 9, 9})
	if spam != 2 || cost[0] != 1 || cost[3] != 1 || cost[1] > 1.01 || cost[2] < hardHam {
		t.Errorf("%d spam, cost %v", spam, cost)
	}
}

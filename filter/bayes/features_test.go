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

// TestViews: each view sees its own, and what both do; a lesson comes back from
// the log with the same views.
func TestViews(t *testing.T) {
	base := filter.Facts{Header: filter.HeaderFacts{Subject: "a prize"}, Body: filter.BodyFacts{Words: []uint64{1, 2, 3}, Source: []uint64{4, 5, 6}}}
	other := base
	other.Body.Words = []uint64{1, 2, 9}
	a, b := new(extractor), new(extractor)
	one, two := a.features(&base, 1), b.features(&other, 1)
	for v, same := range map[view]bool{viewFrame: true, viewText: false, viewSource: true} {
		shared, own := one.of(v)
		shared2, own2 := two.of(v)
		if !slices.Equal(shared, shared2) || len(shared) == 0 || len(own) == 0 || slices.Equal(own, own2) != same {
			t.Errorf("view %d: %d and %d shared, own %v and %v", v, len(shared), len(shared2), own, own2)
		}
	}
	l, _, n := readRecord(appendRecord(nil, &lesson{spam: true, features: one}, false))
	if n == 0 || l.shared != one.shared || l.own != one.own || !slices.Equal(l.all, one.all) {
		t.Errorf("from the log come %+v", l)
	}
}

// TestSilentView: a view that tells nothing, or the wrong way round, does not
// spoil what the other says.
func TestSilentView(t *testing.T) {
	var lessons []*lesson
	var z [views][]float64
	for i := range 200 {
		spam := i%2 == 0
		lessons = append(lessons, &lesson{spam: spam})
		z[viewText] = append(z[viewText], float64(4*class(spam)-2)+float64(i%7)/10)
		z[viewSource] = append(z[viewSource], 0.01*float64(i%5-2*class(spam)))
		z[viewFrame] = append(z[viewFrame], z[viewText][i])
	}
	c := calibrate(lessons, z)
	for i, l := range lessons {
		p := logistic((c.slope[viewFrame]+c.slope[viewText])*z[viewText][i] + c.slope[viewSource]*z[viewSource][i] + c.offset)
		if l.spam != (p > 0.5) {
			t.Fatalf("spam %v: probability %.3f by %+v", l.spam, p, c)
		}
	}
	if c.slope[viewSource] != 0 || c.slope[viewText] <= minSlope {
		t.Errorf("%+v", c)
	}
}

package bayes

import (
	"math"
	"slices"
	"testing"

	"mailweir/filter"
	"mailweir/internal/fsx"
)

// TestEvidence: what the places add is the opinion, what tells the topics stands
// first, by its name, and naming changes no feature.
func TestEvidence(t *testing.T) {
	disk := fsx.NewMem()
	teachTopics(t, disk, 200)
	m, err := LoadModel(disk, "data/learned/global")
	if err != nil {
		t.Fatal(err)
	}
	f := advert()
	f.Header.Subject = "subject 5"
	f.Body.Words = text(1, 5000).Body.Words
	f.Body.Source = f.Body.Words[:10]
	f.Body.Vocabulary = map[uint64]string{}
	for i, h := range f.Body.Words {
		f.Body.Vocabulary[h] = "w" + string(rune('a'+i%26))
	}
	list := m.Evidence(f)
	sum, seen := 0.0, map[string]bool{}
	for _, e := range list {
		sum += e.Weight
		seen[e.Place] = true
		if len(e.Most) > mostFeatures || !slices.IsSortedFunc(e.Most, byWeight) {
			t.Errorf("%+v", e)
		}
	}
	if want := m.Judge(f).Probability; math.Abs(logistic(sum)-want) > 1e-9 {
		t.Errorf("evidence adds up to %.9f, the opinion is %.9f", logistic(sum), want)
	}
	for _, place := range []string{Base, "text", "links", "sender", "subject", "MIME structure", "header fields", "frame", "source of the text"} {
		if !seen[place] {
			t.Errorf("nothing about %s: %+v", place, list)
		}
	}
	if list[0].Place != "text" && list[0].Place != "source of the text" {
		t.Errorf("the topic is told by its words, not by %+v", list[0])
	}

	var plain, named extractor
	named.names = &names{of: map[uint32]string{}}
	a, b := plain.features(f, 1), named.features(f, 1)
	if !slices.Equal(a.all, b.all) {
		t.Error("features have changed by being named")
	}
}

func byWeight(a, b Feature) int {
	switch x, y := math.Abs(a.Weight), math.Abs(b.Weight); {
	case x > y:
		return -1
	case x < y:
		return 1
	}
	return 0
}

func TestNamesOfFeatures(t *testing.T) {
	f := &filter.Facts{Header: filter.HeaderFacts{Subject: "Win now", From: []filter.Address{{Name: "A", Addr: "a@b.example", Domain: "b.example"}}}}
	f.Body.Words, f.Body.Source = []uint64{1, 2}, []uint64{3, 4, 5}
	f.Body.Vocabulary = map[uint64]string{1: "one", 2: "two", 3: "<b", 4: ">", 5: "x"}
	f.Body.Parts = []filter.Part{{Type: "text/html", Encoding: "base64", Charset: "utf-8"}}
	e := extractor{names: &names{words: f.Body.Vocabulary, of: map[uint32]string{}}}
	all := e.features(f, 9).all
	from := 0
	for p, want := range [places][]string{
		placeSender: {".example", "b.example"}, placeSubject: {"Win", "Win now", "in n"},
		placeStructure: {"text/html base64", "text/html utf-8"}, placeFields: {"no list-id", ""},
		placeText: {"one", "two", "one two"}, placeSource: {"<b>", ">x", "<b>x"}, placeFrame: {""},
	} {
		got := map[string]bool{}
		for _, v := range all[from:e.ends[p]] {
			got[e.names.of[v]] = true
		}
		from = e.ends[p]
		for _, text := range want {
			if !got[text] {
				t.Errorf("no %q at %s: %v", text, placeNames[p], got)
			}
		}
	}
	if from != len(all) {
		t.Errorf("%d of %d features have a place", from, len(all))
	}
}

func TestMostly(t *testing.T) {
	o := Opinion{Says: [places]float64{placeLinks: -2.04, placeText: 0.5, placeSource: 3.21, placeFrame: -0.01}}
	if got, want := o.mostly(), "source of the text +3.2, links -2.0, text +0.5"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

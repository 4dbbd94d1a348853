package bayes

import (
	"slices"
	"testing"

	"mailweir/filter"
)

// advert is a message with every kind of thing that the frame looks at.
func advert() *filter.Facts {
	return &filter.Facts{
		Header: filter.HeaderFacts{
			Subject: "Shoes for Anna", MessageID: "12.ab@shoeshop.example",
			From: []filter.Address{{Name: "The Shoeshop", Addr: "news@mail.shoeshop.example", Domain: "mail.shoeshop.example"}},
			To:   []filter.Address{{Addr: "anna@example.org"}},
		},
		Body: filter.BodyFacts{
			TextLength: 1000, HTMLLength: 9000, Links: 12, Upper: 8,
			URLs: []filter.URL{{Host: "www.shoeshop.example", Domain: "shoeshop.example", Path: "/boots/17"}},
		},
	}
}

func frameOf(f *filter.Facts) []uint32 {
	features := new(extractor).features(f, 1)
	_, own := features.of(viewFrame)
	return own
}

// TestFrame: what a message says, how often its template was filled in, and to
// whom it went, changes nothing in its frame; how it is made does.
func TestFrame(t *testing.T) {
	for name, c := range map[string]struct {
		same   bool
		change func(f *filter.Facts)
	}{
		"other words":         {true, func(f *filter.Facts) { f.Body.Words = []uint64{1, 2, 3} }},
		"another source":      {true, func(f *filter.Facts) { f.Body.Source = []uint64{1, 2, 3} }},
		"some more text":      {true, func(f *filter.Facts) { f.Body.TextLength = 1010 }},
		"another number":      {true, func(f *filter.Facts) { f.Body.URLs[0].Path = "/boots/23" }},
		"another recipient":   {true, func(f *filter.Facts) { f.Header.To[0].Addr = "bob@example.org"; f.Header.Subject = "Shoes for bob" }},
		"in a long subject":   {true, func(f *filter.Facts) { f.Header.Subject = "Shoes for anna@example.org" }},
		"twice the text":      {false, func(f *filter.Facts) { f.Body.TextLength = 2000 }},
		"no HTML":             {false, func(f *filter.Facts) { f.Body.HTMLLength = 0 }},
		"another path":        {false, func(f *filter.Facts) { f.Body.URLs[0].Path = "/sandals/17" }},
		"to a foreign domain": {false, func(f *filter.Facts) { f.Body.URLs[0].Domain = "example.net" }},
		"without a name":      {false, func(f *filter.Facts) { f.Header.From[0].Name = "" }},
		"a foreign ID":        {false, func(f *filter.Facts) { f.Header.MessageID = "12.ab@example.net" }},
		"a shouted subject":   {false, func(f *filter.Facts) { f.Header.Subject = "SHOES FOR Anna" }},
		"replies elsewhere":   {false, func(f *filter.Facts) { f.Header.ReplyTo = []filter.Address{{Domain: "example.net"}} }},
	} {
		f := advert()
		c.change(f)
		if own := frameOf(f); slices.Equal(own, frameOf(advert())) != c.same || len(own) < 30 {
			t.Errorf("%s: %d features, the same %v", name, len(own), !c.same)
		}
	}
}

// TestMeasuresKeepTheirPlace: the same number of another thing is another feature.
func TestMeasuresKeepTheirPlace(t *testing.T) {
	a, b := advert(), advert()
	a.Body.Images, b.Body.Forms = 5, 5
	if slices.Equal(frameOf(a), frameOf(b)) {
		t.Error("5 images are 5 forms")
	}
}

func TestSteps(t *testing.T) {
	for x, want := range map[int]int{0: 0, 1: 1, 2: 3, 1000: 20, 1010: 20, 2000: 22, 1 << 31: 63} {
		if got := steps(x); got != want {
			t.Errorf("steps(%d) = %d, want %d", x, got, want)
		}
	}
}

func TestLongestLabel(t *testing.T) {
	for domain, want := range map[string]string{"": "", "example": "", "a.example": "a", "mail.shoeshop.co.uk": "shoeshop", "shop.news.example": "shop"} {
		if got := longestLabel(domain); got != want {
			t.Errorf("%q: %q, want %q", domain, got, want)
		}
	}
}

func TestContainsFold(t *testing.T) {
	for _, c := range []struct {
		s, sub string
		want   bool
	}{
		{"The ShoeShop", "shoeshop", true}, {"shop", "shop", true}, {"sho", "shop", false}, {"shoe", "", false}, {"", "a", false},
		{"\xff\xc3", "\xc3", true}, {"ÄB", "äb", true},
	} {
		if got := containsFold(c.s, c.sub); got != c.want {
			t.Errorf("%q in %q: %v", c.sub, c.s, got)
		}
	}
}

package looks

import (
	"fmt"
	"strings"
	"testing"
)

func TestWord(t *testing.T) {
	for _, c := range []struct{ a, b string }{
		{"paypal", "PAYPAL"}, {"paypal", "paypaI"}, {"paypal", "paypa1"}, {"paypal", "раураӏ"}, {"paypal", "páypàl"},
		{"paypal", "ｐａｙｐａｌ"}, {"paypal", "𝗽𝗮𝘆𝗽𝗮𝗹"}, {"paypal", "pay\u00adpal"}, {"modern", "modem"}, {"wave", "vvave"},
		{"order", "0rcler"}, {"oneill", "O’Neill"}, {"strasse", "Straße"}, {"lukasz", "Łukasz"}, {"click", "dick"}, {"cIick", "dick"},
	} {
		if Word(c.a) != Word(c.b) {
			t.Errorf("%s and %s: %q, %q", c.a, c.b, Word(c.a), Word(c.b))
		}
	}
	for _, c := range []struct{ a, b string }{{"paypal", "payday"}, {"иван", "петр"}, {"wei", "王"}} {
		if Word(c.a) == Word(c.b) {
			t.Errorf("%s is read as %s", c.a, c.b)
		}
	}
}

func TestSimilar(t *testing.T) {
	for _, c := range []struct {
		label, own string
		want       bool
	}{
		{"example", "example", false}, {"examp1e", "example", true}, {"exarnple", "example", true}, {"ex-ample", "example", true},
		{"xn--exmple-4nf", "example", true}, {"xn--exmple-cua", "example", true}, {"exmaple", "example", true}, {"exmple", "example", true},
		{"exxample", "example", true}, {"exbmple", "example", true}, {"sample", "example", false}, {"examples-shop", "example", false},
		{"abd", "abc", false}, {"ab", "a-b", false}, {"a-bc", "abc", true}, {"", "example", false},
	} {
		if got := NewName(c.label).Similar(NewName(c.own)); got != c.want {
			t.Errorf("%s for %s: %v", c.label, c.own, got)
		}
	}
}

// TestIndexIsSimilar: the index finds what comparing with each name finds, but
// for another first letter and short names.
func TestIndexIsSimilar(t *testing.T) {
	names := []string{"paypal", "amazon", "example", "mailweir", "commerzbank", "dhl", "my-bank"}
	x := NewIndex(names)
	labels := append([]string{"", "paypa1", "dh1", "wexample", "xample", "mybank", "my--bank", strings.Repeat("a", 64)}, names...)
	for _, n := range names {
		for i := range len(n) {
			labels = append(labels, n[:i]+n[i+1:], n[:i]+"x"+n[i:], n[:i]+"q"+n[i+1:])
			if i > 0 {
				labels = append(labels, n[:i-1]+n[i:i+1]+n[i-1:i]+n[i+1:])
			}
		}
	}
	for _, l := range labels {
		want := false
		for _, n := range names {
			r, own := NewName(l).Read, NewName(n).Read
			if l == n {
				want = false
				break
			}
			want = want || NewName(l).Similar(NewName(n)) && len(own) >= minRead && (r == own || r[0] == own[0])
		}
		if got := x.Find(NewName(l)); (got != "") != want {
			t.Errorf("%s: %q, want %v", l, got, want)
		}
	}
	if (*Index)(nil).Find(NewName("paypa1")) != "" {
		t.Error("an empty index finds")
	}
}

func BenchmarkFind(b *testing.B) {
	var names []string
	for i := range 10000 {
		names = append(names, fmt.Sprintf("company%d", i*7919))
	}
	x := NewIndex(names)
	b.ReportAllocs()
	for b.Loop() {
		x.Find(NewName("companions17"))
	}
}

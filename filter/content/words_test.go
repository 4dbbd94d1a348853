package content

import (
	"slices"
	"strings"
	"testing"

	"mailweir/filter"
	"mailweir/internal/pattern"
	"mailweir/mail"
)

func TestWords(t *testing.T) {
	for _, c := range []struct{ text, same string }{
		{"hello, world.", "hello world"},
		{"it's e-mail - for-", "it's e-mail for"},
		{"'quoted' --dashes--", "quoted dashes"},
		{"only $99!!", "only $ 99 ! !"},
		{"in 2003 and 1998, 2039; not 2040 or 19999", "in and not 2040 or 19999"},
		{"prüfen sie", "prüfen sie"},
		{"あなた", "あ な た"},
		{"口座abc口", "口 座 abc 口"},
		{"don'té x-é", "don'té x-é"},
		{"", ""},
	} {
		got, want := wordsOf(c.text), []uint64{}
		for _, f := range strings.Fields(c.same) {
			want = append(want, wordsOf(f)...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %d words, want those of %q, %d", c.text, len(got), c.same, len(want))
		}
	}
	if a, b := wordsOf("spam ham"), wordsOf("ham spam"); len(a) != 2 || a[0] != b[1] || a[0] == b[0] {
		t.Error("order is lost, or words are all the same")
	}
}

func wordsOf(s string, recipients ...filter.Address) []uint64 {
	w := newWords(len(s), recipients)
	w.add([]byte(s))
	return w.out
}

func TestWordsTellNoRecipient(t *testing.T) {
	to := filter.Address{Addr: "Jane.Doe+shop@mail.Example.com"}
	got := wordsOf("dear jane.doe of mail.example.com you won", to)
	if want := wordsOf("dear of com you won"); !slices.Equal(got, want) {
		t.Errorf("%d words are left, want %d", len(got), len(want))
	}
}

func TestWordsAreBounded(t *testing.T) {
	if n := len(wordsOf(strings.Repeat("a b! ", 5000))); n != maxWords {
		t.Errorf("%d words", n)
	}
}

// TestWordsOnDemand: words and source are collected where the learned filter will
// look at them, of a message without text too, and only there.
func TestWordsOnDemand(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		for _, leaf := range []string{"two words", ""} {
			h := mail.ParseHeader([]byte("From: a@example.org\r\n\r\n"))
			m := New(func() *pattern.Set { return nil }, func() bool { return wanted }).Open(&filter.Transaction{Header: &h})
			m.Begin(false, "")
			m.Write([]byte(leaf))
			m.End()
			var f filter.Facts
			m.Report().Set(&f)
			if b := f.Body; (b.Words != nil) != wanted || (b.Source != nil) != (wanted && leaf != "") || b.TextLength == 0 && leaf != "" {
				t.Errorf("wanted %v, of %q: %d words, source %d", wanted, leaf, len(b.Words), len(b.Source))
			}
		}
	}
}

// TestKeepWords: the words behind the hashes are kept where somebody asked, and
// the recipients' are not among them.
func TestKeepWords(t *testing.T) {
	for _, keep := range []bool{true, false} {
		h := mail.ParseHeader([]byte("From: a@example.org\r\nTo: bob@example.org\r\n\r\n"))
		r := New(func() *pattern.Set { return nil }, nil)
		if keep {
			r.KeepWords()
		}
		m := r.Open(&filter.Transaction{Header: &h})
		m.Begin(false, "")
		m.Write([]byte("Dear Bob, Buy"))
		m.End()
		var f filter.Facts
		m.Report().Set(&f)
		if !keep {
			if f.Body.Vocabulary != nil {
				t.Errorf("%v", f.Body.Vocabulary)
			}
			continue
		}
		var words []string
		for _, hash := range f.Body.Words {
			words = append(words, f.Body.Vocabulary[hash])
		}
		if got := strings.Join(words, " "); got != "dear buy" {
			t.Errorf("words %q", got)
		}
		var source string
		for _, hash := range f.Body.Source {
			source += f.Body.Vocabulary[hash]
		}
		if source != "Dear , Buy" {
			t.Errorf("source %q", source)
		}
	}
}

func FuzzWords(f *testing.F) {
	f.Add([]byte("it's \xc3 2003 $ \xe3\x81\x82"))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := newWords(len(b), []filter.Address{{Addr: string(b)}})
		w.add(b)
		if len(w.out) > len(b)+1 {
			t.Errorf("%d words of %d octets", len(w.out), len(b))
		}
	})
}

func BenchmarkWords(b *testing.B) {
	text := []byte(strings.Repeat("the quick brown fox jumps over the lazy dog, and again; ", 73))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		newWords(len(text)).add(text)
	}
}

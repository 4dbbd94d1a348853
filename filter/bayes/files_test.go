package bayes

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mailweir/filter"
	"mailweir/internal/fsx"
)

// content is a file that looks like nothing else.
func content(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// prints takes fingerprints, in pieces of odd sizes.
func prints(files ...[]byte) []filter.FilePrint {
	var f Files
	for _, b := range files {
		p := f.Begin()
		for piece := range slices.Chunk(b, 777) {
			p.Write(piece)
		}
		p.End()
	}
	return f.Prints()
}

// mail of a subject with files.
func mailWith(subject string, files ...[]byte) *filter.Facts {
	return &filter.Facts{Header: filter.HeaderFacts{Subject: subject, Names: []string{"subject"}}, Body: filter.BodyFacts{Files: prints(files...)}}
}

// TestFiles: a file that was learned is known again, and what was made of it by
// small changes; others are not, and none that is in ham, too.
func TestFiles(t *testing.T) {
	spam, logo, short := content(1, 20_000), content(2, 6_000), content(3, 1000)
	disk := fsx.NewMem()
	store, err := Open(context.Background(), disk, "/learned/global", 100)
	if err != nil {
		t.Fatal(err)
	}
	store.Learn(mailWith("spam", spam, logo, short), true, time.Now())
	store.Learn(mailWith("ham", logo), false, time.Now())
	table := func() *fileTable {
		t.Helper()
		if err := store.Commit(); err != nil {
			t.Fatal(err)
		}
		table, err := newFileTable(disk, "/learned/global")
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	known := table()
	changed := slices.Clone(spam)
	for n := range 40 { // one octet in every 500
		changed[500*n]++
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"the same":                  {spam, "FILE_SPAM_SAME"},
		"the same, short":           {short, "FILE_SPAM_SAME"},
		"with more at its end":      {append(slices.Clone(spam), content(4, 900)...), "FILE_SPAM_LIKE"},
		"with more at its begin":    {append(content(5, 900), spam...), "FILE_SPAM_LIKE"},
		"with octets in its middle": {slices.Insert(slices.Clone(spam), 9000, content(6, 50)...), "FILE_SPAM_LIKE"},
		"with octets changed":       {changed, "FILE_SPAM_LIKE"},
		"with half of it replaced":  {append(slices.Clone(spam[:10_000]), content(7, 10_000)...), ""},
		"another":                   {content(8, 20_000), ""},
		"another of zeros":          {make([]byte, 20_000), ""},
		"what is in ham, too":       {logo, ""},
		"nearly that":               {append(slices.Clone(logo), 'x'), ""},
		"short, changed":            {append(slices.Clone(short), 'x'), ""},
	} {
		if got, parts := known.judge(prints(c.file)); got != c.want {
			t.Errorf("%s: %q, %d parts; want %q", name, got, parts, c.want)
		}
	}
	if got, _ := known.judge(prints(content(9, 5000), logo, spam)); got != "FILE_SPAM_SAME" {
		t.Errorf("among others: %q", got)
	}

	// What is forgotten, or changes sides, is known no more; and the next process
	// knows what this one learned.
	store.Learn(mailWith("spam", spam, logo, short), false, time.Now())
	if got, _ := table().judge(prints(spam)); got != "" {
		t.Errorf("ham now: %q", got)
	}
	store.Learn(mailWith("other", spam), true, time.Now())
	store.Forget(mailWith("spam"))
	if err := store.Commit(); err != nil {
		t.Fatal(err)
	}
	store.Close()
	if store, err = Open(context.Background(), disk, "/learned/global", 100); err != nil {
		t.Fatal(err)
	}
	store.Learn(mailWith("third", content(10, 9000)), true, time.Now())
	known = table()
	for _, c := range []struct {
		file []byte
		want string
	}{{spam, "FILE_SPAM_SAME"}, {short, ""}, {content(10, 9000), "FILE_SPAM_SAME"}} {
		if got, _ := known.judge(prints(c.file)); got != c.want {
			t.Errorf("%d octets: %q, want %q", len(c.file), got, c.want)
		}
	}
	b, _ := fsx.Content(disk, "/learned/global/"+filesName)
	for _, p := range prints(spam) {
		if bytes.Contains(b, fmt.Appendf(nil, "%c%c%c%c", byte(p.Digest), byte(p.Digest>>8), byte(p.Digest>>16), byte(p.Digest>>24))) {
			t.Error("a digest without the key is in the file")
		}
	}
	if err := store.Erase(); err != nil {
		t.Fatal(err)
	}
	if left, err := newFileTable(disk, "/learned/global"); left != nil || err != nil {
		t.Errorf("after the erasure: %v, %v", left, err)
	}
}

// TestFilesDamaged: fingerprints that cannot be read cost nothing else, and the
// next lesson makes a new file.
func TestFilesDamaged(t *testing.T) {
	disk := fsx.NewMem()
	learn := func(seed uint64) {
		t.Helper()
		store, err := Open(context.Background(), disk, "/learned/global", 100)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		store.Learn(mailWith(fmt.Sprint(seed), content(seed, 5000)), true, time.Now())
		if err := store.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	learn(1)
	disk.Flip("/learned/global/"+filesName, filesHead+5, 1)
	models := NewModels(disk, "/learned", slog.New(slog.DiscardHandler))
	if s := models.of("", 0); s.model == nil || s.err != nil || models.HasFiles() {
		t.Errorf("%+v", s)
	}
	learn(2)
	models = NewModels(disk, "/learned", slog.New(slog.DiscardHandler))
	if got, _ := models.of("", 0).files.judge(prints(content(2, 5000))); got != "FILE_SPAM_SAME" {
		t.Errorf("after the next lesson: %q", got)
	}
}

func FuzzFiles(f *testing.F) {
	f.Add([]byte(filesMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := fsx.NewMem()
		disk.MkdirAll("/d", 0o700)
		if err := replace(disk, "/d", filesName, b); err != nil {
			t.Fatal(err)
		}
		if table, err := newFileTable(disk, "/d"); err == nil {
			table.judge(prints(content(1, 5000)))
		}
	})
}

func BenchmarkFingerprint(b *testing.B) {
	data := content(1, 48<<10) // of a message of 64 KiB
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		prints(data)
	}
}

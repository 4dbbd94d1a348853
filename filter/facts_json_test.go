package filter

import (
	"bytes"
	"encoding/json"
	"testing"

	"mailweir/internal/mailtest"
)

// TestFactsJSON: facts encode as encoding/json encodes them, whatever they
// hold. Every field is filled, so that one that AppendJSON forgot shows.
func TestFactsJSON(t *testing.T) {
	for seed := range uint64(300) {
		f := &Facts{}
		if seed > 0 {
			mailtest.Fill(f, seed)
		}
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(f); err != nil {
			t.Fatal(err)
		}
		if got := append(f.AppendJSON(nil), '\n'); !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("seed %d:\n%s\nwant\n%s", seed, got, &want)
		}
	}
}

func BenchmarkFactsJSON(b *testing.B) {
	f := &Facts{}
	mailtest.Fill(f, 1)
	buf := f.AppendJSON(nil)
	b.Run("append", func(b *testing.B) {
		for b.Loop() {
			buf = f.AppendJSON(buf[:0])
		}
	})
	b.Run("reflection", func(b *testing.B) {
		for b.Loop() {
			json.Marshal(f)
		}
	})
}

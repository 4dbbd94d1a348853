package history

import (
	"crypto/cipher"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailweir/internal/daykey"
	"mailweir/mail"
)

// verdict has the size and shape of the facts of a usual message: 3 KB of JSON.
type verdict struct {
	Version  int               `json:"version"`
	ID       mail.ID           `json:"id"`
	Received time.Time         `json:"received"`
	Envelope map[string]string `json:"envelope"`
	Symbols  []symbol          `json:"symbols"`
	Parts    []part            `json:"parts"`
	Names    []string          `json:"names"`
}

type symbol struct {
	Name   string  `json:"name"`
	Score  float64 `json:"score"`
	Detail string  `json:"detail,omitempty"`
}

type part struct {
	Depth int    `json:"depth"`
	Type  string `json:"type"`
	Size  int64  `json:"size"`
	URL   string `json:"url"`
}

func sample() *verdict {
	v := &verdict{Version: 1, ID: mail.NewID(time.Now()), Received: time.Now(),
		Envelope: map[string]string{"from": "someone@example.org", "to": "someone@example.com"}}
	for i := range 20 {
		v.Symbols = append(v.Symbols, symbol{fmt.Sprintf("SYMBOL_%d", i), float64(i) / 10, "detail of the symbol"})
		v.Parts = append(v.Parts, part{i % 3, "text/plain", int64(i * 1000), "https://www.example.org/path"})
		v.Names = append(v.Names, "x-field-name")
	}
	return v
}

// BenchmarkAppend is what the session pays.
func BenchmarkAppend(b *testing.B) {
	l := open(b, b.TempDir(), nil)
	v, id, now := sample(), mail.NewID(time.Now()), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		l.Append(id, "verdict", now, v)
	}
	b.ReportMetric(lost(l, lostBacklog)/float64(b.N), "lost/op")
}

// BenchmarkEncode is what the writer pays for one entry, and what the session
// would pay if it encoded.
func BenchmarkEncode(b *testing.B) {
	data, err := json.Marshal(sample())
	if err != nil {
		b.Fatal(err)
	}
	b.Run("reflected", func(b *testing.B) { benchmarkEncode(b, nil, sample()) })
	b.Run("clear", func(b *testing.B) { benchmarkEncode(b, nil, appender(data)) })
	b.Run("sealed", func(b *testing.B) { benchmarkEncode(b, daykey.AEAD(make([]byte, daykey.Size)), appender(data)) })
}

// appender costs what copying costs.
type appender []byte

func (a appender) AppendJSON(b []byte) []byte { return append(b, a...) }

func benchmarkEncode(b *testing.B, aead cipher.AEAD, v any) {
	w := newWriter(&Log{dir: b.TempDir(), counters: newCounters()})
	w.aead = aead
	e := entry{id: mail.NewID(time.Now()), kind: "verdict", at: time.Now(), v: v}
	b.ReportAllocs()
	for b.Loop() {
		if err := w.encode(e); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(w.buf.Len()))
		w.buf.Reset()
	}
}

// TestFindIsFast: a day of 100,000 messages takes less than a second, so a
// fifth of one less than a fifth.
func TestFindIsFast(t *testing.T) {
	const messages, limit = 20_000, 200 * time.Millisecond
	dir := t.TempDir()
	now := time.Now()
	id := mail.NewID(now)
	size := writeDay(t, dir, now, id, messages)
	start := time.Now()
	got := find(t, dir, id)
	took := time.Since(start)
	t.Logf("%d MB in %v", size>>20, took)
	if len(got) != 1 {
		t.Errorf("%d entries", len(got))
	}
	if took > limit && !raceEnabled {
		t.Errorf("took %v", took)
	}
}

// writeDay makes a day of n verdicts, that of id as the last.
func writeDay(t *testing.T, dir string, now time.Time, id mail.ID, n int) int64 {
	t.Helper()
	data, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	rest := `","kind":"verdict","at":"` + now.UTC().Format(time.RFC3339Nano) + `","data":` + string(data) + "}\n"
	f, err := os.Create(filepath.Join(dir, dayOf(now).file()))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var text strings.Builder
	var size int64
	for i := range n {
		other := mail.NewID(now)
		if i == n-1 {
			other = id
		}
		text.WriteString(linePrefix + other.String() + rest)
		if text.Len() > 1<<20 || i == n-1 {
			if _, err := f.WriteString(text.String()); err != nil {
				t.Fatal(err)
			}
			size += int64(text.Len())
			text.Reset()
		}
	}
	return size
}

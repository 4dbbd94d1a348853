package queue

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/klauspost/compress/s2"
)

// BenchmarkCompressLarge is what it would cost to compress the bodies in big/, and
// what it would save (docs/adr/0009-compression.md): a stream of S2 in blocks of
// 64 KiB, compressed and decompressed. What is not compressed yet is a piece of this
// program.
func BenchmarkCompressLarge(b *testing.B) {
	noise := make([]byte, 768<<10)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	program, err := os.ReadFile(os.Args[0])
	if err != nil || len(program) < 2<<20 {
		b.Fatalf("%d octets, %v", len(program), err)
	}
	for name, raw := range map[string][]byte{"compressed": noise, "program": program[1<<20:][:len(noise)]} {
		body := lines(base64.StdEncoding.EncodeToString(raw))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				var file, out bytes.Buffer
				w := s2.NewWriter(&file, s2.WriterConcurrency(1), s2.WriterBlockSize(64<<10))
				w.Write(body)
				w.Close()
				size := file.Len()
				if _, err := out.ReadFrom(s2.NewReader(&file)); err != nil || out.Len() != len(body) {
					b.Fatal(out.Len(), err)
				}
				b.ReportMetric(100*float64(size)/float64(len(body)), "%")
			}
		})
	}
}

// lines breaks base64 as MIME does.
func lines(text string) (b []byte) {
	for ; len(text) > 76; text = text[76:] {
		b = append(append(b, text[:76]...), '\r', '\n')
	}
	return append(append(b, text...), '\r', '\n')
}

package mime

import (
	"bytes"
	"compress/zlib"
	"runtime"
	"strings"
	"testing"
	"time"
)

// compressedData is a message in CompressedData (RFC 3274) with lengths that are
// not known, in pieces of the size.
func compressedData(t testing.TB, text string, size int) []byte {
	t.Helper()
	var z, b bytes.Buffer
	w := zlib.NewWriter(&z)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\x30\x80\x06\x0b" + compressedDataOID + "\xa0\x80\x30\x80\x02\x01\x00")
	b.WriteString("\x30\x0d\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x03\x08")
	b.WriteString("\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x80\x24\x80")
	for p := z.Bytes(); len(p) > 0; p = p[min(size, len(p)):] {
		piece := p[:min(size, len(p))]
		b.Write([]byte{0x04, 0x82, byte(len(piece) >> 8), byte(len(piece))})
		b.Write(piece)
	}
	b.WriteString(strings.Repeat("\x00", 12))
	return b.Bytes()
}

func TestCompressedData(t *testing.T) {
	want := strings.Repeat("Content-Type: text/plain\r\n\r\na line\r\n", 500) + "the end"
	for _, size := range []int{1, 40, 10000} {
		data := compressedData(t, want, size)
		for _, piece := range []int{1, 7, len(data)} {
			if got := message(data, piece); got != want {
				t.Errorf("strings of %d in pieces of %d: %d octets of %d", size, piece, len(got), len(want))
			}
		}
		// What was lost at the end gives nothing that was not there.
		if got := message(data[:len(data)-30], 100); !strings.HasPrefix(want, got) {
			t.Errorf("cut: %d octets", len(got))
		}
	}
	broken := compressedData(t, want, 40)
	copy(broken[bytes.Index(broken, []byte("\x24\x80"))+6:], "no zlib")
	if got := message(broken, 10); got != "" {
		t.Errorf("not zlib: %q", got)
	}
}

// TestCompressedBomb: too much for what came, and too much in all.
func TestCompressedBomb(t *testing.T) {
	for _, c := range []struct {
		name          string
		copies, times int
	}{{"one that becomes a thousand times as much", 8 << 20, 1}, {"many that become as much as one may", inflateFree, 70}} {
		data := compressedData(t, strings.Repeat("a", c.copies), 60000)
		var odd Ambiguities
		var sum, got int64
		for range c.times {
			s := signedContent{to: func(p []byte) { got += int64(len(p)) }, inflated: &sum, odd: &odd}
			s.write(data)
			s.close()
		}
		if !odd.Has(LimitReadings) || got > maxInflated || got < inflateFree {
			t.Errorf("%s: %d octets, %v", c.name, got, odd.List())
		}
	}
}

// TestDroppedInflater: a message that is given up in its middle leaves nothing
// behind.
func TestDroppedInflater(t *testing.T) {
	data := compressedData(t, strings.Repeat("text", 1000), 40)
	before := runtime.NumGoroutine()
	for range 50 {
		var odd Ambiguities
		var sum int64
		s := &signedContent{inflated: &sum, odd: &odd}
		s.to = func([]byte) { s.at++ } // as a walker has it: the content knows the inflater
		if s.write(data[:len(data)-20]); s.inflater == nil {
			t.Fatal("nothing to be left behind")
		}
	}
	for end := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); {
		runtime.GC()
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines are left over", n-before)
	}
}

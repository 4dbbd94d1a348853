package smtpd

import (
	"bytes"
	"strings"
	"testing"
)

// slowScan is the scanner as one would write it without a care for speed: one
// octet at a time. It is the oracle of the fast one.
type slowScan struct {
	dots             bool
	maxLine, maxHead int
	line             []byte // the line so far, as received
	body             bool
	header           int
	text             []byte
	fault            *Reply
	end              bool
}

func (s *slowScan) fail(r *Reply) {
	if s.fault == nil {
		s.fault = r
	}
}

func (s *slowScan) octet(c byte) {
	s.line = append(s.line, c)
	n := len(s.line)
	if c == 0 || c == '\n' && (n < 2 || s.line[n-2] != '\r') || c != '\n' && n > 1 && s.line[n-2] == '\r' {
		s.fail(&replyBare)
	}
	stuffed := s.dots && s.line[0] == '.'
	length := n
	if stuffed {
		length--
	}
	if length > s.maxLine {
		s.fail(&replyLineTooLong)
	}
	if c != '\n' || n < 2 || s.line[n-2] != '\r' {
		return
	}
	if s.dots && string(s.line) == ".\r\n" {
		s.end = true
		return
	}
	line := s.line
	if stuffed {
		line = line[1:]
	}
	s.text = append(s.text, line...)
	s.header += s.headerPart(len(line))
	s.body = s.body || string(line) == "\r\n" && !stuffed
	s.line = nil
}

func (s *slowScan) headerPart(n int) int {
	if s.body {
		return 0
	}
	if s.header+n > s.maxHead {
		s.fail(&replyHeaderTooLarge)
	}
	return n
}

// fast runs the real scanner over data that comes in pieces, as the engine
// does: what stays unused comes again.
func fast(s *scanner, pieces ...[]byte) (text []byte, used int, end bool) {
	var waiting []byte
	for _, p := range pieces {
		waiting = append(waiting, p...)
		n, u, e := s.scan(waiting)
		text = append(text, waiting[:n]...)
		waiting = waiting[u:]
		used += u
		if e {
			return text, used, true
		}
	}
	return text, used, false
}

func newScanner(dots bool) *scanner {
	return &scanner{dots: dots, maxLine: 30, maxHeader: 60}
}

// compare runs both scanners, the fast one with data cut as cuts say.
func compare(t *testing.T, dots bool, data []byte, pieces ...[]byte) {
	t.Helper()
	slow := &slowScan{dots: dots, maxLine: 30, maxHead: 60}
	usedSlow := 0
	for _, c := range data {
		slow.octet(c)
		usedSlow++
		if slow.end {
			break
		}
	}
	s := newScanner(dots)
	text, used, end := fast(s, pieces...)
	if end != slow.end || end && used != usedSlow {
		t.Fatalf("%q: end %v at %d, want %v at %d", data, end, used, slow.end, usedSlow)
	}
	if (s.fault != nil) != (slow.fault != nil) && end {
		t.Fatalf("%q: fault %v, want %v", data, s.fault, slow.fault)
	}
	if s.fault == nil && !bytes.HasPrefix(text, slow.text) {
		t.Fatalf("%q: text %q, want it to begin with %q", data, text, slow.text)
	}
	if s.fault == nil && end && !bytes.Equal(text, slow.text) {
		t.Fatalf("%q: text %q, want %q", data, text, slow.text)
	}
}

// cutsOf returns data in one piece, in two (cut at every octet), and octet by octet.
func cutsOf(data []byte) [][][]byte {
	all := [][][]byte{{bytes.Clone(data)}}
	for i := 1; i < len(data); i++ {
		all = append(all, [][]byte{bytes.Clone(data[:i]), bytes.Clone(data[i:])})
	}
	var single [][]byte
	for i := range data {
		single = append(single, bytes.Clone(data[i:i+1]))
	}
	return append(all, single)
}

var scanCases = []string{
	".\r\n",
	"\r\n.\r\n",
	"A: b\r\n\r\nbody\r\n.\r\nMAIL FROM:<>\r\n",
	"A: b\r\n\r\n..\r\n...x\r\n.\r\n",
	"A: b\r\n\r\n.x\r\n..x\r\n.\r\n",
	"A: b\r\n\r\nx\n.\nMAIL\r\n.\r\n",
	"A: b\r\n\r\nx\n.\r\nMAIL\r\n.\r\n",
	"A: b\r\n\r\nx\r\n.\nMAIL\r\n.\r\n",
	"A: b\r\n\r\nx\r.\rMAIL\r\n.\r\n",
	"A: b\r\n\r\nx\r\n.\rMAIL\r\n.\r\n",
	"A: b\r\n\r\nx\r.\r\nMAIL\r\n.\r\n",
	"A: b\r\n\r\nx\r\r\n.\r\n",
	"A: b\r\n\r\nx\r\n.\r\r\n.\r\n",
	"A: b\r\n\r\nx\r\n\x00.\r\n.\r\n",
	"A: b\r\n\r\nx\r\n.\x00\r\n.\r\n",
	"A: b\r\n\r\nx\r\n.\r\x00\n.\r\n",
	"\n.\r\n",
	"\r.\r\n.\r\n",
	"..\r\n.\r\n",
	"..\n.\r\n.\r\n",
	".\n.\r\n",
	".\r.\r\n.\r\n",
	strings.Repeat("x", 28) + "\r\n.\r\n",
	strings.Repeat("x", 29) + "\r\n.\r\n",
	"." + strings.Repeat("x", 28) + "\r\n.\r\n",
	strings.Repeat("A: 45678\r\n", 6) + ".\r\n",
	strings.Repeat("A: 45678\r\n", 7) + ".\r\n",
	strings.Repeat("A: 45678\r\n", 5) + "A: 456\r\n\r\nbody\r\n.\r\n",
	strings.Repeat("A: 45678\r\n", 5) + "A: 4567\r\n\r\nbody\r\n.\r\n",
}

func TestScan(t *testing.T) {
	for _, data := range scanCases {
		for _, dots := range []bool{true, false} {
			for _, pieces := range cutsOf([]byte(data)) {
				compare(t, dots, []byte(data), pieces...)
			}
		}
	}
}

// TestScanAllShort tries every text of up to seven octets over the alphabet
// that matters: nothing is left to the imagination.
func TestScanAllShort(t *testing.T) {
	alphabet := []byte("\r\n.x\x00")
	var grow func(prefix []byte, n int)
	grow = func(prefix []byte, n int) {
		for _, c := range alphabet {
			data := append(bytes.Clone(prefix), c)
			compare(t, true, data, bytes.Clone(data))
			half := len(data) / 2
			compare(t, true, data, bytes.Clone(data[:half]), bytes.Clone(data[half:]))
			if n > 1 {
				grow(data, n-1)
			}
		}
	}
	grow(nil, 7)
}

func FuzzScan(f *testing.F) {
	for _, data := range scanCases {
		f.Add([]byte(data), 3, true)
	}
	f.Fuzz(func(t *testing.T, data []byte, cut int, dots bool) {
		cut = max(0, min(cut, len(data)))
		compare(t, dots, data, bytes.Clone(data[:cut]), bytes.Clone(data[cut:]))
	})
}

func BenchmarkScan64K(b *testing.B) {
	line := "The quick brown fox jumps over the lazy dog, and over its own shadow.\r\n"
	data := []byte(strings.Repeat(line, 64<<10/len(line)))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		s := scanner{dots: true, maxLine: 128 << 10, maxHeader: 256 << 10}
		if n, _, _ := s.scan(data); n != len(data) || s.fault != nil {
			b.Fatal(n, s.fault)
		}
	}
}

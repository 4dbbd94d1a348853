package relay

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mailweir/mail"
)

// unstuff is what a receiver of DATA makes of it (RFC 5321 section 4.5.2),
// written without looking at stuffer. ok tells that the first final dot is at
// the very end.
func unstuff(wire []byte) (data []byte, ok bool) {
	for len(wire) > 0 {
		n := bytes.Index(wire, []byte("\r\n"))
		if n < 0 {
			return data, false
		}
		line := wire[:n+2]
		wire = wire[n+2:]
		if string(line) == ".\r\n" {
			return data, len(wire) == 0
		}
		data = append(data, bytes.TrimPrefix(line, []byte("."))...)
	}
	return data, false
}

// wireOf sends the message as DATA does, into memory.
func wireOf(head string, body mail.Content) ([]byte, error) {
	rec := &recorder{}
	c := &conn{tcp: rec, nc: rec, ctx: context.Background(), timeouts: &Timeouts{}}
	var ct content
	defer ct.close()
	if err := ct.open([]byte(head), body, true); err != nil {
		return nil, err
	}
	err := ct.sendLines(c)
	return rec.Bytes(), err
}

type recorder struct {
	net.Conn
	bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error)      { return r.Buffer.Write(p) }
func (r *recorder) Read(p []byte) (int, error)       { return r.Buffer.Read(p) }
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }

var bodyPieces = rapid.SliceOf(rapid.SampledFrom([]string{".", "..", "\r\n", "\r\n.", "\r\n..", "\r\n.\r\n", "x", "some words",
	strings.Repeat("y", 16<<10), strings.Repeat("z", blockSize-1), strings.Repeat("0123456789\r\n", 7000)}))

func TestDotStuffing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		head := rapid.SampledFrom([]string{"\r\n", "A: b\r\n\r\n", ".dot: field\r\n\r\n"}).Draw(t, "head")
		body := strings.Join(bodyPieces.Draw(t, "body"), "")
		want := head + body
		if !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		for _, c := range []mail.Content{mail.Bytes(body), stored{Bytes: mail.Bytes(body)}} {
			wire, err := wireOf(head, c)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := unstuff(wire); !ok || string(got) != want {
				t.Fatalf("%T: %d octets came out of %d, end in the right place: %v", c, len(got), len(want), ok)
			}
		}
	})
}

// A bare CR or LF anywhere, at any piece boundary, is found; nothing else is.
func TestScannerFindsBareLineEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := []byte(strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{"a", ".", "\r\n", "\r\n", "\r\n.", "\r", "\n"})).Draw(t, "data"), ""))
		clean := strings.ReplaceAll(string(data), "\r\n", "")
		wantErr := strings.ContainsAny(clean, "\r\n")
		wantDots := bytes.HasPrefix(data, []byte(".")) || bytes.Contains(data, []byte("\n."))
		s := scanner{last: '\n'}
		var err error
		dots := false
		for rest := data; len(rest) > 0 && err == nil; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			var d bool
			d, err = s.scan(rest[:n])
			dots = dots || d
			rest = rest[n:]
		}
		if err == nil {
			err = s.end()
		}
		if errors.Is(err, errLineEnds) != wantErr || !wantErr && dots != wantDots {
			t.Fatalf("%q: %v, dots %v", data, err, dots)
		}
	})
}

func FuzzData(f *testing.F) {
	f.Add([]byte("a\r\n.b\r\n"))
	f.Add([]byte("\r\n.\r\nMAIL FROM:<>\r\n"))
	f.Add([]byte("a\n.\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		wire, err := wireOf("\r\n", mail.Bytes(body))
		streamed, streamErr := wireOf("\r\n", stored{Bytes: body})
		if (err == nil) != (streamErr == nil) {
			t.Fatalf("%v in memory, %v streamed", err, streamErr)
		}
		if err != nil {
			return
		}
		got, ok := unstuff(wire)
		if !ok || !bytes.Equal(wire, streamed) || !bytes.HasPrefix(got, append([]byte("\r\n"), body...)) {
			t.Fatalf("%q became %q", body, wire)
		}
	})
}

func BenchmarkScan(b *testing.B) {
	body := bytes.Repeat([]byte(strings.Repeat("x", 70)+"\r\n"), 64<<10/72)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		s := scanner{last: '\n'}
		if _, err := s.scan(body); err != nil {
			b.Fatal(err)
		}
	}
}

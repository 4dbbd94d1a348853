package mime

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"

	"mailweir/mail"
)

// discard is the cheapest Sink: what is measured is walk and decoding.
type discard struct{ n int }

func (*discard) Begin(bool, string)    {}
func (d *discard) Write(p []byte) bool { d.n += len(p); return true }
func (*discard) End()                  {}

// sampleMessage is an alternative of plain and HTML text, and with an
// attachment that makes up the size.
func sampleMessage(size int) []byte {
	const head = "From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n" +
		"--outer\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n" +
		"--inner\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
	var b bytes.Buffer
	b.WriteString(head)
	b.WriteString(strings.Repeat("Caf=C3=A9 and a line of text that is about as long as lines are=\r\n", 12))
	b.WriteString("\r\n--inner\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	encode(&b, []byte(strings.Repeat("<p>A line of <b>text</b> with markup</p>\r\n", 25)))
	b.WriteString("--inner--\r\n--outer\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	if rest := size - b.Len() - 20; rest > 0 {
		raw := make([]byte, rest*3/4)
		r := rand.New(rand.NewPCG(1, 2))
		for i := range raw {
			raw[i] = byte(r.Uint32())
		}
		encode(&b, raw)
	}
	b.WriteString("--outer--\r\n")
	return b.Bytes()
}

func encode(b *bytes.Buffer, raw []byte) {
	s := base64.StdEncoding.EncodeToString(raw)
	for len(s) > 76 {
		b.WriteString(s[:76] + "\r\n")
		s = s[76:]
	}
	b.WriteString(s + "\r\n")
}

func benchmarkWalk(b *testing.B, size int) {
	data := sampleMessage(size)
	n, _ := mail.HeaderLength(data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		h := mail.ParseHeader(data[:n])
		w := NewWalker(&h, new(discard), nil)
		w.Write(data[n:])
		w.Close()
	}
}

func BenchmarkWalk4K(b *testing.B)  { benchmarkWalk(b, 4<<10) }
func BenchmarkWalk64K(b *testing.B) { benchmarkWalk(b, 64<<10) }
func BenchmarkWalk25M(b *testing.B) { benchmarkWalk(b, 25<<20) }

// takeAll wants the octets of every leaf.
type takeAll struct{ n int }

func (x *takeAll) Begin(*Leaf) Content { return x }
func (x *takeAll) Write(p []byte) bool { x.n += len(p); return true }
func (*takeAll) End()                  {}

// benchmarkTake is the walk with every leaf decoded: what the look into
// attachments and the scanner's side cost before they do anything.
func benchmarkTake(b *testing.B, size int) {
	data := sampleMessage(size)
	n, _ := mail.HeaderLength(data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		h := mail.ParseHeader(data[:n])
		w := NewWalker(&h, new(discard), new(takeAll))
		w.Write(data[n:])
		w.Close()
	}
}

func BenchmarkTake4K(b *testing.B)  { benchmarkTake(b, 4<<10) }
func BenchmarkTake64K(b *testing.B) { benchmarkTake(b, 64<<10) }

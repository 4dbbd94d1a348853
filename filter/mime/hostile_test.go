package mime

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailweir/internal/mailtest"
	"mailweir/mail"
)

var hostile25 = flag.Bool("hostile25", false, "hostile shapes of 25 MB, and their cost")

// hostileShapes are made to find what is worse than linear in the second pass:
// each fills a message with a unit.
var hostileShapes = []hostileShape{
	{"parts", "multipart/mixed; boundary=b", "--b\r\n\r\nx\r\n"},
	{"parts with fields", "multipart/mixed; boundary=b", "--b\r\nContent-Type: text/html\r\n\r\nx\r\n"},
	{"closed again", "multipart/mixed; boundary=b", "--b--\r\n\r\nx\r\n"},
	{"soft starts", "text/plain; charset=(x", "--x\r\nContent-Type: text/plain\r\n\r\n"},
	{"fields", "text/plain", "Content-Type: a\r\n"},
	{"fields and text", "text/plain", "Content-Type: a\r\ntext\r\n"},
	{"fields and blanks", "text/plain", "Content-Type: a\r\n \r\n"},
	{"fields and empty lines", "text/plain", "Content-Type: a\r\n\r\n"},
	{"encodings", "text/plain", "Content-Transfer-Encoding: base64\r\n\r\n"},
	{"many encodings", "text/plain", "Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: x\r\n\r\nQUJD\r\n"},
	{"boundaries", "text/plain", "Content-Type: multipart/mixed; boundary=aaaaaaaaaaa\r\n\r\n--aaaaaaaaaaaa\r\n"},
	{"boundary words", "multipart/mixed; boundary=b", "--b\r\nContent-Type: " + strings.Repeat("boundary=", 50) + "\r\n\r\n"},
	{"dashes", "multipart/mixed; boundary=b; boundary=c", "--\r\n"},
	{"prefixes", "multipart/mixed; boundary=b; boundary=c", "--bx\r\n"},
	{"dashed lines", "multipart/mixed; boundary=b; boundary=c", "--d\r\n"},
	{"empty lines", "multipart/mixed; boundary=b; boundary=c", "\r\n"},
	{"one line", "multipart/mixed; boundary=b; boundary=c", "-"},
	{"messages", "message/rfc822", "Content-Type: message/rfc822\r\n\r\n"},
	{"encoded messages", "message/rfc822", "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"},
	{"encoded multiparts", "multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: quoted-printable", "--b\r\n\r\nx\r\n"},
	{"base64", "text/plain\r\nContent-Transfer-Encoding: base64", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ej*=\r\n"},
	{"odd base64", "text/plain\r\nContent-Transfer-Encoding: base64", "*"},
	{"base64 padding", "text/plain\r\nContent-Transfer-Encoding: base64", "QQ==\r\n"},
	{"base64, lines of 1", "text/plain\r\nContent-Transfer-Encoding: base64", "=Q\r\n"},
	{"bad escapes", "text/plain\r\nContent-Transfer-Encoding: quoted-printable", "=x"},
	{"blanks", "text/plain\r\nContent-Transfer-Encoding: quoted-printable", "=x \t \t"},
	{"unknown encoding", "text/plain\r\nContent-Transfer-Encoding: x", "M86)C86)C86)C86)C\r\n"},
	{"uuencode", "text/plain; boundary*=x", "begin 644 a\r\n#86)C\r\n"},
	{"uuencoded files", "text/plain; boundary*=x", "begin 644 a\r\n#86)C\r\nend\r\n"},
	{"yEnc", "text/plain; boundary*=x", "=ybegin name=a\r\nabc\r\n=yend\r\n"},
	{"BinHex", "text/plain; boundary*=x", "(This file must be converted with BinHex\r\n:$$$$:\r\n"},
	{"BinHex runs", "text/plain; boundary*=x\r\n\r\n(This file must be converted with BinHex\r\n:", "$*R\r\n"},
	{"UTF-7", "text/html; charset=utf-7; boundary*=x", "+AGE"},
	{"UTF-16", "text/html; charset=utf-16; boundary*=x", "a\x01b\x02"},
	{"calendar files", "text/calendar", "ATTACH;ENCODING=BASE64:QUJD\r\n"},
	{"calendar, one file", "text/calendar\r\n\r\nATTACH;ENCODING=BASE64:", "QUJD\r\n "},
	{"calendar, no files", "text/calendar", "ATTACH;X=" + strings.Repeat("y", 60) + "\r\n"},
	{"calendar, long property", "text/calendar", "ATTACH;X="},
	{"loose uuencode", "text/plain; boundary*=x", "begin 1\r\n#86)C\r\nend\r\n"},
	{"uuencode in doubt", "text/plain; boundary*=x", "begin 1\r\n"},
	{"joined escapes", "text/plain\r\nContent-Transfer-Encoding: quoted-printable", "=5=\r\n8"},
	{"soft breaks", "text/plain\r\nContent-Transfer-Encoding: quoted-printable", "=\r\n= \t"},
	{"line ends of CR", "message/rfc822\r\nContent-Transfer-Encoding: quoted-printable", "Content-Type: text/plain=0D=0D--x=0D"},
	{"signed, one piece", "application/pkcs7-mime\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + signedHead, "Content-Type: a=0D=0A=0D=0A--x=0D=0A"},
	{"signed, pieces", "application/pkcs7-mime\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + signedHead, "=04=01a"},
	{"signed, depth", "application/pkcs7-mime\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + signedHead, "=24=80"},
	{"digest", "multipart/digest; boundary=b; boundary=c", "--b\r\n\r\n\r\n"},
}

// signedHead begins an opaquely signed message whose octets come in pieces.
const signedHead = "=30=80=06=09=2A=86=48=86=F7=0D=01=07=02=A0=80=30=80=02=01=01=31=00" +
	"=30=80=06=09=2A=86=48=86=F7=0D=01=07=01=A0=80=24=80"

type hostileShape struct{ name, head, unit string }

func (s *hostileShape) message(size int) []byte {
	var b bytes.Buffer
	b.WriteString("Content-Type: " + s.head + "\r\n")
	if !strings.Contains(s.head, "\r\n\r\n") {
		b.WriteString("\r\n")
	}
	for b.Len() < size {
		b.WriteString(s.unit)
	}
	return b.Bytes()
}

// TestHostileContents holds what the scanner's side costs, both passes and all
// decoders, to three times 2 s of CPU for 25 MB (and 80 ms a megabyte, besides
// what the limits allow any message), and to linear growth beyond that: the bars
// without the three are for a machine to itself, others are slower. Of contents side
// by side that are too long to wait, each takes another pass over the message,
// until MaxReread octets have gone through the decoders.
func TestHostileContents(t *testing.T) {
	if testing.Short() || mailtest.RaceDetector {
		t.Skip("cost says nothing under the race detector, and takes long")
	}
	const reread = 350 * time.Millisecond // MaxReread octets, 5 ns each
	small, large := 256<<10, 2<<20
	if *hostile25 {
		small, large = 2<<20, 25<<20
	}
	for _, s := range hostileShapes {
		limit := 3 * min(80*time.Millisecond*time.Duration(large)>>20+150*time.Millisecond, 2*time.Second)
		ratio := time.Duration(large / small)
		a, _ := contentsCost(t, s.message(small), limit)
		linear := max(2*ratio*a, reread)
		b, n := contentsCost(t, s.message(large), min(limit, linear))
		t.Logf("%-22s %10s %10s %s", s.name, a, b, n)
		if b > limit {
			t.Errorf("%s: %s for %d octets, at most %s is allowed", s.name, b, large, limit)
		}
		if b > linear {
			t.Errorf("%s: %s for %d times the octets of %s", s.name, b, ratio, a)
		}
	}
}

// contentsCost is the lesser of two, and of some more where others on the
// machine may have made both dearer than limit: who takes all of the caches
// leaves a small message alone, and not a large one.
func contentsCost(t *testing.T, data []byte, limit time.Duration) (cost time.Duration, what string) {
	t.Helper()
	size, _ := mail.HeaderLength(data)
	h := mail.ParseHeader(data[:size])
	cost = time.Hour
	for i := 0; i < 2 || i < 8 && cost > limit; i++ {
		start := cpuTime()
		c := NewContents(&h, func() io.Reader { return bytes.NewReader(data) })
		contents, octets := 0, int64(0)
		for {
			r, _, err := c.Next()
			if err != nil {
				t.Fatal(err)
			}
			if r == nil {
				break
			}
			n, err := io.Copy(io.Discard, r)
			if err != nil {
				t.Fatal(err)
			}
			contents, octets = contents+1, octets+n
		}
		cost = min(cost, cpuTime()-start)
		what = fmt.Sprintf("%d contents, %d octets %s", contents, octets, c.Incomplete())
	}
	return cost, what
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package mime

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"mailweir/mail"
)

const twoParts = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n" +
	"--b\r\n\r\ntext\r\n" +
	"--b\r\nContent-Type: application/x; name=a.exe\r\nContent-Transfer-Encoding: base64\r\n\r\nTVo=\r\n" +
	"--b\r\nContent-Type: message/rfc822\r\n\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n" +
	"--c\r\nContent-Type: application/y\r\n\r\nmore\r\n--c--\r\n" +
	"--b--\r\nepilogue\r\n"

// offsetOf is where the octets of a part begin, by what they are.
func offsetOf(t *testing.T, message, content string) int64 {
	t.Helper()
	n, _ := mail.HeaderLength([]byte(message))
	i := strings.Index(message[n:], content)
	if i < 0 {
		t.Fatalf("no %q", content)
	}
	return int64(i)
}

func strip(message string, with map[int64]string, spread bool) (string, error) {
	n, _ := mail.HeaderLength([]byte(message))
	h := mail.ParseHeader([]byte(message[:n]))
	var body mail.Content = mail.Bytes(message[n:])
	if spread {
		body = opaque{body}
	}
	var out bytes.Buffer
	err := Strip(&out, &h, body, with)
	return out.String(), err
}

// opaque is content that is no mail.Bytes.
type opaque struct{ mail.Content }

func (o opaque) Open() (io.ReadCloser, error) { return o.Content.Open() }

func TestStrip(t *testing.T) {
	const note = "Content-Type: text/plain\r\n\r\ngone"
	first, second := offsetOf(t, twoParts, "TVo="), offsetOf(t, twoParts, "more")
	n, _ := mail.HeaderLength([]byte(twoParts))
	for _, spread := range []bool{false, true} {
		got, err := strip(twoParts, map[int64]string{first: note, second: note}, spread)
		want := strings.Replace(twoParts[n:], "Content-Type: application/x; name=a.exe\r\nContent-Transfer-Encoding: base64\r\n\r\nTVo=", note, 1)
		want = strings.Replace(want, "Content-Type: application/y\r\n\r\nmore", note, 1)
		if err != nil || got != want {
			t.Errorf("%v:\n%s\nwant\n%s", err, got, want)
		}
	}
}

// TestStripNotPlain: where clients could see another structure nothing is cut.
func TestStripNotPlain(t *testing.T) {
	first := offsetOf(t, twoParts, "TVo=")
	for name, c := range map[string]struct {
		message string
		at      int64
	}{
		"no such part":      {twoParts, 3},
		"a container":       {twoParts, offsetOf(t, twoParts, "MIME-Version")},
		"all there is":      {"MIME-Version: 1.0\r\nContent-Type: application/x\r\n\r\nx\r\n", 0},
		"another boundary":  {strings.Replace(twoParts, "boundary=b", "boundary=b; boundary=z", 1), first},
		"unclosed":          {strings.Replace(twoParts, "--b--\r\n", "", 1), first},
		"odd base64":        {strings.Replace(twoParts, "TVo=", "TV*=", 1), first},
		"a part after that": {twoParts + "--b\r\n\r\nx\r\n", first},
	} {
		if got, err := strip(c.message, map[int64]string{c.at: "x"}, false); !errors.Is(err, ErrNotPlain) || got != "" {
			t.Errorf("%s: %v, %q", name, err, got)
		}
	}
}

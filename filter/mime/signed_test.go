package mime

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"mailweir/internal/mailtest"
)

// message is what signedContent finds, fed in pieces of that size.
func message(data []byte, piece int) string {
	var got strings.Builder
	var odd Ambiguities
	var inflated int64
	s := signedContent{to: func(p []byte) { got.Write(p) }, inflated: &inflated, odd: &odd}
	defer s.close()
	for ; len(data) > 0; data = data[min(piece, len(data)):] {
		s.write(data[:min(piece, len(data))])
	}
	return got.String()
}

// TestSignedByOpenSSL reads what openssl signs, with lengths that are known and as
// a stream, and nothing of what it encrypts.
func TestSignedByOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		mailtest.SkipHarness(t, "openssl is not installed")
	}
	dir := t.TempDir()
	openssl := func(stdin string, args ...string) []byte {
		cmd := exec.Command("openssl", args...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(args, err)
		}
		return out
	}
	openssl("", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", "key", "-out", "cert")
	want := strings.Repeat("Content-Type: text/plain\r\n\r\na line\r\n", 500)
	sign := []string{"cms", "-sign", "-binary", "-nodetach", "-outform", "DER", "-signer", "cert", "-inkey", "key"}
	for _, args := range [][]string{append(sign, "-nosmimecap"), append(sign, "-stream")} {
		data := openssl(want, args...)
		for _, piece := range []int{1, 7, len(data)} {
			if got := message(data, piece); got != want {
				t.Errorf("%v in pieces of %d: %d octets of %d", args[len(args)-1], piece, len(got), len(want))
			}
		}
	}
	if got := message(openssl(want, "cms", "-encrypt", "-binary", "-outform", "DER", "cert"), 100); got != "" {
		t.Errorf("encrypted: %d octets", len(got))
	}
}

// FuzzSigned holds that pieces make no difference.
func FuzzSigned(f *testing.F) {
	f.Add([]byte("\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80\x30\x80\x02\x01\x01\x31\x00"+
		"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x80\x24\x80\x04\x02hi\x04\x01!\x00\x00\x00\x00\x00\x00"), 3)
	f.Add([]byte("\x30\x1c\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x0f\x30\x0d\x02\x01\x01\x31\x00\x30\x06\x06\x00\xa0\x02\x04\x00"), 1)
	f.Add(compressedData(f, "hi!", 3), 5)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		whole := message(data, max(1, len(data)))
		if got := message(data, max(1, piece&15)); got != whole {
			t.Errorf("%q in pieces, %q whole", got, whole)
		}
		if bytes.Contains(data, []byte(compressedDataOID)) {
			return
		}
		if len(whole) > len(data) || !bytes.Contains(data, []byte(whole[:min(1, len(whole))])) {
			t.Errorf("%d octets of %d", len(whole), len(data))
		}
	})
}

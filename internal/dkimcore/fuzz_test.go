package dkimcore

import (
	"bytes"
	"crypto/sha256"
	"regexp"
	"strings"
	"testing"
)

func FuzzTags(f *testing.F) {
	for _, s := range []string{"v=1; a=rsa-sha256;", "a = b ;\r\n\tc=", ";;", "=", "v=1; v=2", "p=\x00", "a_1=;b-=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tags, err := ParseTags(s)
		if err != nil {
			return
		}
		for _, tag := range tags {
			if got := strings.Trim(s[tag.Start:tag.End], fws); got != tag.Value {
				t.Errorf("value %q stands at %q", tag.Value, got)
			}
		}
		ParseKey(s)
	})
}

var (
	wspAtEnd = regexp.MustCompile(`[ \t]+\r\n`)
	wspRun   = regexp.MustCompile(`[ \t]+`)
	endLines = regexp.MustCompile(`(\r\n)+\z`)
)

// naiveBody is RFC 6376 section 3.4 by the letter, for a body of whole lines.
func naiveBody(b string, relaxed bool) string {
	if relaxed {
		b = wspRun.ReplaceAllString(wspAtEnd.ReplaceAllString(b, "\r\n"), " ")
	}
	b = endLines.ReplaceAllString(b, "")
	if b != "" || !relaxed {
		b += "\r\n"
	}
	return b
}

func FuzzBody(f *testing.F) {
	f.Add([]byte("Hello  world \r\n\r\n"), uint8(3))
	f.Add([]byte(" \r\n\t\r\n"), uint8(1))
	f.Add([]byte("a\rb\nc \r \r\n"), uint8(2))
	f.Fuzz(func(t *testing.T, body []byte, step uint8) {
		if len(body) > 0 && !bytes.HasSuffix(body, []byte("\r\n")) {
			body = append(body, "\r\n"...)
		}
		for _, relaxed := range []bool{false, true} {
			h := NewBodyHash(relaxed)
			for rest := body; len(rest) > 0; {
				n := min(len(rest), int(step)+1)
				h.Write(rest[:n])
				rest = rest[n:]
			}
			canonical := naiveBody(string(body), relaxed)
			want := sha256.Sum256([]byte(canonical))
			if !bytes.Equal(h.Sum(), want[:]) || h.Size() != int64(len(canonical)) {
				t.Errorf("relaxed=%v: %q in steps of %d is not hashed as %q", relaxed, body, int(step)+1, canonical)
			}
		}
	})
}

var naiveFold = regexp.MustCompile(`\r\n`)

func FuzzRelaxedField(f *testing.F) {
	f.Add([]byte(" a\r\n\tb  c \r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got := string(AppendRelaxed(nil, "x", body))
		v := wspRun.ReplaceAllString(naiveFold.ReplaceAllString(string(body), ""), " ")
		if want := "x:" + strings.Trim(v, " ") + "\r\n"; got != want {
			t.Errorf("%q becomes %q, want %q", body, got, want)
		}
	})
}

func BenchmarkBody(b *testing.B) {
	line := "The quick brown fox jumps over the lazy dog, and then it does so once more.\r\n"
	for _, kind := range []struct {
		name    string
		relaxed bool
		body    string
	}{
		{"simple", false, strings.Repeat(line, 840)},
		{"relaxed", true, strings.Repeat(line, 840)},
		{"relaxed/untidy", true, strings.Repeat(strings.Replace(line, ". ", ".  ", 1)[:70]+" \r\n", 900)},
	} {
		b.Run(kind.name, func(b *testing.B) {
			b.SetBytes(int64(len(kind.body)))
			for b.Loop() {
				h := NewBodyHash(kind.relaxed)
				h.Write([]byte(kind.body))
				h.Sum()
			}
		})
	}
}

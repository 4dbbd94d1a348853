package archive

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

// rtfPackage is an object of the packager, in digits.
func rtfPackage(name, content string) string {
	native := "\x02\x00" + name + "\x00C:\\" + name + "\x00\x00\x00\x03\x00\x02\x00\x00\x00x\x00"
	native += string(binary.LittleEndian.AppendUint32(nil, uint32(len(content)))) + content
	object := "\x01\x05\x00\x00\x02\x00\x00\x00\x08\x00\x00\x00Package\x00" + strings.Repeat("\x00", 8)
	object += string(binary.LittleEndian.AppendUint32(nil, uint32(len(native)))) + native
	return hex.EncodeToString([]byte(object))
}

// TestRTF: the file is found whatever stands among the digits, for a reader who
// skips it and for one who does not.
func TestRTF(t *testing.T) {
	plain := rtfPackage("a.exe", "content")
	half := len(plain) / 2 &^ 1
	for _, c := range []struct{ name, text string }{
		{"plain", " " + plain}, {"white space", " " + strings.ReplaceAll(plain, "0", "0\r\n\t")},
		{"the word's parameter", "12 " + plain}, {"nothing between", plain},
		{"a group that is skipped", plain[:half] + `{\foo 41}` + plain[half:]},
		{"a group that is not", plain[:half] + `{` + plain[half:half+2] + `}` + plain[half+2:]},
		{"a group for who knows it", plain[:half] + `{ \*\foo 41}` + plain[half:]},
		{"groups in groups", plain[:half] + `{\*\a{41}{\*\b 42}43}` + plain[half:]},
		{"a word", plain[:half+1] + `\abc-12 ` + plain[half+1:]},
		{"half a pair before a word", plain[:half] + `7\par ` + plain[half:]},
		{"an escape", plain[:half] + `\'41` + plain[half:]},
		{"binary octets", strings.Replace(plain, hex.EncodeToString([]byte("content")), "\\bin7 content", 1)},
		{"no binary octets", plain[:half] + `\bin0 ` + plain[half:]},
	} {
		data := `{\rtf1{\object\objemb{\*\objdata` + c.text + `}}}`
		if got := list("rtf", []byte(data), DefaultLimits()); !strings.Contains(got, `"a.exe" size 7 alias "C:\\a.exe" read 7 "content"`) {
			t.Errorf("%s:\n%s", c.name, got)
		}
	}
	for _, text := range []string{`{\rtf1 \objdata`, `{\rtf1 \objdata\`, `{\rtf1 \objdata\'`, `{\rtf1 \objdata{\*`, `{\rtf1 \objdata\bin99999999999999999999 x`, `{\rtf1 \objdata 01}`} {
		if got := list("rtf", []byte(text), DefaultLimits()); strings.Contains(got, "read") {
			t.Errorf("%s:\n%s", text, got)
		}
	}
	for _, text := range []string{strings.Repeat(`\objdata 01}`, maxObjects+1), `\objdata` + strings.Repeat("{", maxOthers)} {
		if got := list("rtf", []byte(`{\rtf1 `+text), DefaultLimits()); !strings.Contains(got, "objects") {
			t.Errorf("%.20s: %s", text, got)
		}
	}
}

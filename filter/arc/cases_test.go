package arc

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailweir/internal/dns"
)

// TestCases validates the messages in testdata/cases, sealed by dkimpy: .msg
// with LF line ends, .dns with "name text" lines, .result with the verdict.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.msg")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		base := strings.TrimSuffix(file, ".msg")
		t.Run(filepath.Base(base), func(t *testing.T) {
			message := bytes.ReplaceAll(read(t, file), []byte("\n"), []byte("\r\n"))
			r := Validate(context.Background(), readZone(t, base+".dns"), message, time.Now())
			got := strings.TrimSpace(fmt.Sprintf("%s oldest-pass=%d sealers=%s %s", r.Status, r.OldestPass, strings.Join(r.Sealers, ","), r.Reason))
			if want := strings.TrimSpace(string(read(t, base+".result"))); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readZone(t *testing.T, file string) *dns.Fake {
	f := &dns.Fake{TXT: map[string][]string{}}
	for line := range strings.Lines(string(read(t, file))) {
		name, txt, _ := strings.Cut(strings.TrimSpace(line), " ")
		f.TXT[name] = append(f.TXT[name], txt)
	}
	return f
}

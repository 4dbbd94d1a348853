package dkim

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

// TestCases verifies the messages in testdata/cases: .msg with LF line ends,
// .dns with "name text" lines, .result with a line per signature.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.msg")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".msg"), func(t *testing.T) {
			base := strings.TrimSuffix(file, ".msg")
			message := bytes.ReplaceAll(read(t, file), []byte("\n"), []byte("\r\n"))
			var got strings.Builder
			for _, r := range Verify(context.Background(), readZone(t, base+".dns"), message, time.Unix(1528637909, 0)) {
				fmt.Fprintf(&got, "%s %s %s %s %d", r.Status, r.Domain, r.Selector, r.Algorithm, r.KeyBits)
				if r.Reason != "" {
					fmt.Fprintf(&got, " %s", r.Reason)
				}
				got.WriteByte('\n')
			}
			if want := string(read(t, base+".result")); got.String() != want {
				t.Errorf("got\n%swant\n%s", got.String(), want)
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

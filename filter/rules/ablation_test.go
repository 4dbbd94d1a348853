package rules_test

import (
	"bytes"
	"flag"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mailweir/filter/rules"
	"mailweir/mail"
)

var ablation = flag.Bool("ablation", false, "let TestAblation compare the corpus with one that does not tell where it came from")

// maxAblation is how much, in percent of the messages, may depend on what tells
// only where a corpus came from.
const maxAblation = 1.0

// TestAblation takes out of every message what tells only where, when and by
// whom it was received: trace, stamps of receivers, recipients, dates, years,
// and what list software added. What is caught and lost, by the rules alone
// and with the learned filter, must not depend on it.
func TestAblation(t *testing.T) {
	if !*ablation || *corpusDir == "" {
		t.Skip("no corpus: make ablation CORPUS=DIR")
	}
	set, err := rules.Default()
	if err != nil {
		t.Fatal(err)
	}
	whole := judgeFolder(t, *corpusDir, set, nil)
	bare := judgeFolder(t, *corpusDir, set, ablate)
	compareAblation(t, "rules alone", whole, bare)
	if *learnFolds > 1 {
		learnFrom(t, whole, set)
		learnFrom(t, bare, set)
		compareAblation(t, "with the learned filter", whole, bare)
	}
}

func compareAblation(t *testing.T, what string, whole, bare []judged) {
	for _, ham := range []bool{false, true} {
		a, n := countCaught(whole, ham)
		b, _ := countCaught(bare, ham)
		x, y := 100*float64(a)/float64(n), 100*float64(b)/float64(n)
		t.Logf("%s, ham %v: %d of %d caught (%.2f %%), without the traces %d (%.2f %%)", what, ham, a, n, x, b, y)
		if math.Abs(x-y) > maxAblation {
			t.Errorf("%s: they differ by %.2f points, more than %.1f", what, math.Abs(x-y), maxAblation)
		}
	}
}

func countCaught(all []judged, ham bool) (caught, n int) {
	for _, m := range all {
		if m.ham == ham {
			n++
			if m.score >= required {
				caught++
			}
		}
	}
	return caught, n
}

// Fields that receivers, their filters and list software stamp.
var (
	stamped = []string{
		"received", "return-path", "delivered-to", "envelope-to", "errors-to", "authentication-results", "dkim-signature",
		"arc-seal", "arc-message-signature", "arc-authentication-results", "received-spf", "sender", "precedence",
		"mailing-list", "status", "content-length", "lines", "in-reply-to", "references",
	}
	stampedPrefixes = []string{"x-ms-", "x-microsoft-", "x-forefront", "x-exchange", "x-eop", "x-sid", "x-spam", "x-original", "x-loop",
		"x-been", "x-mailman", "x-list", "list-", "x-google", "x-gm-", "x-incoming", "x-message-", "x-store", "x-auto-response"}
	yearInText = regexp.MustCompile(`\b(?:199\d|20[0-3]\d)\b`)
)

func isStamp(name string) bool {
	name = strings.ToLower(name)
	return slices.Contains(stamped, name) ||
		slices.ContainsFunc(stampedPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

func ablate(data []byte) []byte {
	n, _ := mail.HeaderLength(data)
	h := mail.ParseHeader(data[:n])
	var out bytes.Buffer
	body := data[n:]
	for _, f := range h.Fields {
		switch name := strings.ToLower(f.Name()); {
		case isStamp(name):
		case name == "to", name == "cc":
			for _, word := range regexp.MustCompile(`[\w.+-]+@[\w.-]+`).FindAllString(f.Value(), 8) {
				local, domain, _ := strings.Cut(word, "@")
				body = bytes.ReplaceAll(body, []byte(domain), []byte("example.org"))
				if len(local) > 3 {
					body = bytes.ReplaceAll(body, []byte(local), []byte("somebody"))
				}
			}
			out.WriteString(f.Name() + ": " + regexp.MustCompile(`[\w.+-]+@[\w.-]+`).ReplaceAllString(f.Value(), "somebody@example.org") + "\r\n")
		case name == "date":
			out.WriteString("Date: Thu, 20 Nov 2025 10:00:00 +0000\r\n")
		default:
			out.Write(f.Raw)
		}
	}
	out.WriteString("\r\n")
	out.Write(yearInText.ReplaceAll(body, []byte("2025")))
	return out.Bytes()
}

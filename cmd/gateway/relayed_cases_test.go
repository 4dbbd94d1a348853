package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// signedCase is a message of filter/dkim/testdata or filter/arc/testdata, with
// its keys and what it comes to.
type signedCase struct {
	name   string
	msg    []byte
	dns    []string // "name text"
	result []string // a line a signature
}

func signedCases(t *testing.T, folder string) (out []signedCase) {
	t.Helper()
	files, err := filepath.Glob(folder + "/*.msg")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		lines := func(ending string) []string {
			text, err := os.ReadFile(strings.TrimSuffix(file, ".msg") + ending)
			if err != nil {
				t.Fatal(err)
			}
			return strings.FieldsFunc(string(text), func(c rune) bool { return c == '\n' })
		}
		msg, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, signedCase{filepath.Base(file), normalize(msg), lines(".dns"), lines(".result")})
	}
	return out
}

// byZone groups cases that one zone can serve: those that publish the same
// records at the names that they share.
func byZone(cases []signedCase) (groups [][]signedCase) {
	for _, c := range cases {
		i := slices.IndexFunc(groups, func(g []signedCase) bool { return !conflict(g, c) })
		if i < 0 {
			i, groups = len(groups), append(groups, nil)
		}
		groups[i] = append(groups[i], c)
	}
	return groups
}

func conflict(group []signedCase, c signedCase) bool {
	return slices.ContainsFunc(group, func(g signedCase) bool { return !slices.Equal(g.dns, c.dns) })
}

// TestSignedCasesRelayed relays the messages of the DKIM and ARC cases: each
// signature has its result in the header, in the order of the signatures.
func TestSignedCasesRelayed(t *testing.T) {
	for method, folder := range map[string]string{"dkim": "../../filter/dkim/testdata/cases", "arc": "../../filter/arc/testdata/cases"} {
		cases, judged := signedCases(t, folder), 0
		for _, group := range byZone(cases) {
			t.Run(method+"/"+group[0].name, func(t *testing.T) {
				var zone strings.Builder
				for _, line := range group[0].dns {
					name, text, _ := strings.Cut(line, " ")
					zone.WriteString(zoneLine(name, "TXT", text))
				}
				r := startOnlooker(t, zone.String())
				for _, c := range group {
					results, refused := r.results(t, passage{"192.0.2.1", "mx.nothing.example", "a@nothing.example"}, c.msg)
					judged++
					if got, want := statusOf(results, method), fromLines(c.result); refused != "" || !slices.Equal(got, want) {
						t.Errorf("%s: %s%v, want %v", c.name, refused, got, want)
					}
				}
			})
		}
		if judged != len(cases) {
			t.Errorf("%s: %d of %d cases were judged", method, judged, len(cases))
		}
	}
}

// statusOf lists the results of a method with the domain that each is about.
func statusOf(results []authResult, method string) (out []string) {
	for _, r := range results {
		if r.method == method {
			out = append(out, strings.TrimSpace(r.result+" "+r.props["header.d"]))
		}
	}
	return out
}

// fromLines is the same from the lines of a .result file: "pass example.org s ..."
// of DKIM, "pass oldest-pass=0 ..." of ARC.
func fromLines(lines []string) (out []string) {
	for _, l := range lines {
		words := strings.Fields(l)
		if strings.Contains(words[1], ".") && !strings.Contains(words[1], "=") {
			out = append(out, words[0]+" "+words[1])
		} else {
			out = append(out, words[0])
		}
	}
	return out
}

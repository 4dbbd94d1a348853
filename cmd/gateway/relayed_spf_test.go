package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// relayedSuite is a scenario of the RFC 7208 test suite.
type relayedSuite struct {
	Description string
	Tests       []struct {
		Name, Helo, Host, MailFrom string
		Result                     []string
	}
	Zone map[string][]json.RawMessage
}

// TestSPFSuiteRelayed is the RFC 7208 test suite from outside: a DNS server, the
// built gateway, and the header of what it relays. The engine refuses four
// cases whose reverse-path is none by RFC 5321.
func TestSPFSuiteRelayed(t *testing.T) {
	raw, err := os.ReadFile("../../filter/spf/testdata/rfc7208-tests.json")
	if err != nil {
		t.Fatal(err)
	}
	var suite []relayedSuite
	if err := json.Unmarshal(raw, &suite); err != nil {
		t.Fatal(err)
	}
	judged, refused := 0, 0
	for _, s := range suite {
		t.Run(s.Description, func(t *testing.T) {
			r := startOnlooker(t, suiteZone(t, s.Zone))
			for _, c := range s.Tests {
				results, reply := r.results(t, passage{c.Host, c.Helo, c.MailFrom}, []byte("From: a@nothing.example\r\n\r\nhi\r\n"))
				if reply != "" {
					refused++
					continue
				}
				judged++
				if got := first(results, "spf"); !slices.Contains(c.Result, got.result) {
					t.Errorf("%s: %v, want %v", c.Name, got, c.Result)
				}
			}
		})
	}
	if judged != 199 || refused != 4 {
		t.Errorf("%d judged, %d refused", judged, refused)
	}
}

// suiteZone is a zone of the suite for our server. A name's TIMEOUT concerns
// the types that are not listed; type SPF stands for TXT where there is none.
func suiteZone(t *testing.T, names map[string][]json.RawMessage) string {
	var b strings.Builder
	for name, list := range names {
		hasTXT, timeout, there := false, false, map[string]bool{}
		var records [][2]string
		for _, raw := range list {
			typ, value := suiteRecord(t, raw)
			hasTXT = hasTXT || typ == "TXT"
			timeout = timeout || typ == "TIMEOUT"
			if typ == "CNAMELOOP" {
				b.WriteString("!servfail " + zoneName(name) + "\n")
			} else if typ != "TIMEOUT" && value != "NONE" {
				records = append(records, [2]string{typ, value})
			}
		}
		for _, r := range records {
			if r[0] == "SPF" && hasTXT {
				continue
			}
			if r[0] == "SPF" {
				r[0] = "TXT"
			}
			there[r[0]] = true
			b.WriteString(zoneLine(name, r[0], r[1]))
		}
		for _, typ := range []string{"TXT", "A", "AAAA", "MX", "PTR"} {
			if timeout && !there[typ] {
				b.WriteString("!servfail " + zoneName(name) + " " + typ + "\n")
			}
		}
	}
	return b.String()
}

// suiteRecord reads {"TYPE": VALUE}: a text, the strings of one, or preference
// and host of an MX.
func suiteRecord(t *testing.T, raw json.RawMessage) (typ, value string) {
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	for k, v := range m {
		typ, value = k, fmt.Sprint(v)
		if list, ok := v.([]any); ok && k == "MX" {
			value = fmt.Sprint(list[0], " ", list[1])
		} else if ok {
			value = ""
			for _, part := range list {
				value += fmt.Sprint(part)
			}
		}
	}
	return typ, value
}

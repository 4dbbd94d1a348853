package authres

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mailweir/filter"
	"mailweir/mail"
)

// The grammar of RFC 8601 section 2.2, as strict as it is written, and with
// nothing of the writer's code.
const (
	tokenGrammar  = "[!#$%&'*+.^_`{|}~0-9A-Za-z-]+"
	quotedGrammar = `"(?:[\x20\x21\x23-\x5b\x5d-\x7e\t]|\\[\x20-\x7e\t])*"`
	valueGrammar  = "(?:" + tokenGrammar + "|" + quotedGrammar + ")"
	domainGrammar = `(?:[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?)(?:\.[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?)*`
	atomGrammar   = "[!#$%&'*+/=?^_`{|}~0-9A-Za-z-]+"
	localGrammar  = "(?:" + atomGrammar + `(?:\.` + atomGrammar + ")*|" + quotedGrammar + ")"
	wordGrammar   = `[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?` // Keyword of RFC 5321
	pvalueGrammar = "(?:" + valueGrammar + "|(?:" + localGrammar + ")?@" + domainGrammar + ")"
	propGrammar   = "(" + wordGrammar + `)\.(` + wordGrammar + ")=(" + pvalueGrammar + ")"
)

var (
	startGrammar  = regexp.MustCompile(`^(` + valueGrammar + `)(?:; none$|;)`)
	methodGrammar = regexp.MustCompile("^ (" + wordGrammar + ")=(" + wordGrammar + ")(?: reason=(" + valueGrammar + "))?")
	propStart     = longest("^ " + propGrammar) // a token can be the start of an address
)

func longest(s string) *regexp.Regexp {
	r := regexp.MustCompile(s)
	r.Longest()
	return r
}

// parseStrict reads a field's body after unfolding. It has no comments to
// skip: the writer makes none.
func parseStrict(s string) (id string, results []filter.AuthResult, err error) {
	m := startGrammar.FindStringSubmatch(s)
	if m == nil {
		return "", nil, errors.New("no authserv-id: " + s)
	}
	id, s = plain(m[1]), s[len(m[0]):]
	if m[0] == m[1]+"; none" {
		return id, nil, nil
	}
	for {
		m := methodGrammar.FindStringSubmatch(s)
		if m == nil {
			return id, nil, errors.New("no methodspec at " + s)
		}
		r := filter.AuthResult{Method: m[1], Result: m[2], Reason: plain(m[3])}
		s = s[len(m[0]):]
		for {
			p := propStart.FindStringSubmatch(s)
			if p == nil {
				break
			}
			r.Props = append(r.Props, filter.AuthProp{Type: p[1], Property: p[2], Value: plain(p[3])})
			s = s[len(p[0]):]
		}
		results = append(results, r)
		if s == "" {
			return id, results, nil
		}
		if s[0] != ';' {
			return id, nil, errors.New("no end of a resinfo at " + s)
		}
		s = s[1:]
	}
}

var pair = regexp.MustCompile(`\\(.)`)

func plain(s string) string {
	if !strings.HasPrefix(s, `"`) || strings.HasSuffix(s, "@") {
		return s
	}
	return pair.ReplaceAllString(s[1:len(s)-1], "$1")
}

var wsp = regexp.MustCompile(`\r\n[ \t]`)

// TestStrictGrammar: whatever the results hold, a strict reader understands
// the field, and gets back what went in.
func TestStrictGrammar(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 1))
	pieces := []string{"a", "joe", "@", ".", "example.org", "-", "_", "=", "/", "+", `"`, `\`, " ", "(", ")", ";", ",", "<", "[", ":", "2001:db8::1", "xn--a", "'", "{"}
	text := func() string {
		var b strings.Builder
		for range g.IntN(6) {
			b.WriteString(pieces[g.IntN(len(pieces))])
		}
		return b.String()
	}
	for range 20000 {
		var in []filter.AuthResult
		for range g.IntN(4) {
			r := filter.AuthResult{Method: []string{"spf", "dkim", "dmarc", "arc", "iprev"}[g.IntN(5)], Result: []string{"pass", "fail", "none", "temperror"}[g.IntN(4)]}
			if g.IntN(2) == 0 {
				r.Reason = text()
			}
			for range g.IntN(4) {
				r.Props = append(r.Props, filter.AuthProp{Type: "header", Property: []string{"i", "from", "oldest-pass"}[g.IntN(3)], Value: text()})
			}
			in = append(in, r)
		}
		raw := Append(nil, "mx.example.org", in, Options{UTF8: g.IntN(2) == 0})
		for line := range strings.Lines(string(raw)) {
			if len(line) > 998 || strings.TrimSpace(line) == "" {
				t.Fatalf("line %q", line)
			}
		}
		h := mail.ParseHeader(append(raw, "\r\n"...))
		body := strings.TrimSuffix(string(h.Fields[0].Body()), "\r\n")
		id, out, err := parseStrict(strings.TrimPrefix(wsp.ReplaceAllString(body, " "), " "))
		if err != nil || id != "mx.example.org" || len(out) != len(in) {
			t.Fatalf("%v\n%s%+v", err, raw, in)
		}
		for k := range in {
			if in[k].Method != out[k].Method || in[k].Result != out[k].Result || in[k].Reason != out[k].Reason || !slices.Equal(in[k].Props, out[k].Props) {
				t.Fatalf("in  %+v\nout %+v\n%s", in[k], out[k], raw)
			}
		}
	}
}

// TestOnlyASCII: octets beyond ASCII are written to SMTPUTF8 messages only.
func TestOnlyASCII(t *testing.T) {
	r := []filter.AuthResult{{Method: "dkim", Result: "pass", Props: []filter.AuthProp{{Type: "header", Property: "i", Value: "jürgen@bücher.example"}}}}
	if got := string(Append(nil, "mx.example.org", r, Options{})); strings.ContainsFunc(got, func(r rune) bool { return r >= 0x80 }) {
		t.Error(got)
	}
	if got := string(Append(nil, "mx.example.org", r, Options{UTF8: true})); !strings.Contains(got, "header.i=jürgen@bücher.example\r\n") {
		t.Error(got)
	}
}

func TestAppendARC(t *testing.T) {
	want := "ARC-Authentication-Results: i=2; mx.example.org;\r\n\tspf=pass smtp.mailfrom=joe@example.org\r\n"
	if got := string(AppendARC(nil, 2, "mx.example.org", sample[:1], Options{})); got != want {
		t.Errorf("%q", got)
	}
}

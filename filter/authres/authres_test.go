package authres

import (
	"strings"
	"testing"

	msgauth "github.com/emersion/go-msgauth/authres"

	"mailweir/filter"
	"mailweir/mail"
)

var sample = []filter.AuthResult{
	{Method: "spf", Result: "pass", Props: []filter.AuthProp{{Type: "smtp", Property: "mailfrom", Value: "joe@example.org"}}},
	{Method: "dkim", Result: "fail", Reason: `body "hash" does not match`, Props: []filter.AuthProp{
		{Type: "header", Property: "d", Value: "example.org"}, {Type: "header", Property: "i", Value: "@mail.example.org"},
		{Type: "header", Property: "s", Value: "2026"}, {Type: "header", Property: "a", Value: "rsa-sha256"},
		{Type: "header", Property: "b", Value: "AbC/+d=="},
	}},
	{Method: "dmarc", Result: "pass", Props: []filter.AuthProp{{Type: "header", Property: "from", Value: "example.org"}}},
	{Method: "iprev", Result: "pass", Client: true, Props: []filter.AuthProp{{Type: "policy", Property: "iprev", Value: "192.0.2.1"}}},
	{Method: "spf", Result: "none", Props: []filter.AuthProp{{Type: "smtp", Property: "helo", Value: "host.example", Client: true}}},
}

func TestAppend(t *testing.T) {
	want := "X: y\r\nAuthentication-Results: mx.example.org;\r\n" +
		"\tspf=pass smtp.mailfrom=joe@example.org;\r\n" +
		"\tdkim=fail reason=\"body \\\"hash\\\" does not match\" header.d=example.org\r\n" +
		"\theader.i=@mail.example.org header.s=2026 header.a=rsa-sha256\r\n\theader.b=\"AbC/+d==\";\r\n" +
		"\tdmarc=pass header.from=example.org;\r\n" +
		"\tiprev=pass policy.iprev=192.0.2.1;\r\n" +
		"\tspf=none smtp.helo=host.example\r\n"
	if got := string(Append([]byte("X: y\r\n"), "mx.example.org", sample, Options{})); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestRedact: nothing that tells the client remains.
func TestRedact(t *testing.T) {
	got := string(Append(nil, "mx.example.org", sample, Options{Redact: true}))
	for _, secret := range []string{"iprev", "192.0.2.1", "host.example", "helo"} {
		if strings.Contains(got, secret) {
			t.Errorf("%q is in\n%s", secret, got)
		}
	}
	if !strings.HasSuffix(got, ";\r\n\tspf=none\r\n") {
		t.Errorf("the result itself must stay:\n%s", got)
	}
	if got := string(Append(nil, "mx.example.org", sample[3:4], Options{Redact: true})); got != "Authentication-Results: mx.example.org; none\r\n" {
		t.Errorf("%q", got)
	}
}

func TestAppendEmpty(t *testing.T) {
	if got := string(Append(nil, "mx.example.org", nil, Options{})); got != "Authentication-Results: mx.example.org; none\r\n" {
		t.Errorf("%q", got)
	}
}

// TestHostileValues: no value can end the field, the result or the quotes.
func TestHostileValues(t *testing.T) {
	for i, v := range []string{
		"a\r\nX-Evil: 1", "a; dkim=pass", `a" dkim=pass "`, `a\`, "a (b", "", "a@b@c", `"q q"@example.org`, "ü@bücher.example", "\x00", "a b=c",
		strings.Repeat("x", 500),
	} {
		field := Append(nil, "mx.example.org", []filter.AuthResult{{Method: "spf", Result: "pass", Reason: v,
			Props: []filter.AuthProp{{Type: "smtp", Property: "mailfrom", Value: v}}}}, Options{UTF8: i%2 == 0})
		h := mail.ParseHeader(append(field, "\r\n"...))
		if len(h.Fields) != 1 || strings.ContainsAny(h.Fields[0].Value(), "\x00\r\n") {
			t.Errorf("%q makes %q", v, field)
		}
		text := unquoted(string(field))
		if strings.Count(text, ";") != 1 || strings.Contains(text, "dkim") || strings.Count(text, "=") > 3 {
			t.Errorf("%q gets out of its quotes: %q", v, field)
		}
	}
}

// unquoted is s without its quoted-strings.
func unquoted(s string) string {
	var out []byte
	for in, i := false, 0; i < len(s); i++ {
		switch {
		case in && s[i] == '\\':
			i++
		case s[i] == '"':
			in = !in
		case !in:
			out = append(out, s[i])
		}
	}
	return string(out)
}

// TestOracle: go-msgauth reads what we write.
func TestOracle(t *testing.T) {
	h := mail.ParseHeader(append(Append(nil, "mx.example.org", sample[:3], Options{}), "\r\n"...))
	id, results, err := msgauth.Parse(h.Fields[0].Value())
	if err != nil || id != "mx.example.org" || len(results) != 3 {
		t.Fatalf("%q %v %v", id, results, err)
	}
	if r, ok := results[0].(*msgauth.SPFResult); !ok || r.Value != msgauth.ResultPass || r.From != "joe@example.org" {
		t.Errorf("%+v", results[0])
	}
	if r, ok := results[2].(*msgauth.DMARCResult); !ok || r.Value != msgauth.ResultPass || r.From != "example.org" {
		t.Errorf("%+v", results[2])
	}
}

func TestLinesAreShort(t *testing.T) {
	for line := range strings.Lines(string(Append(nil, "mx.example.org", sample, Options{}))) {
		if n := len(strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", "        ")); n > lineWidth {
			t.Errorf("%d columns: %q", n, line)
		}
	}
}

func field(s string) mail.Field {
	h := mail.ParseHeader([]byte(s + "\r\n\r\n"))
	return h.Fields[0]
}

func TestForged(t *testing.T) {
	const id = "mx.example.org"
	for _, c := range []struct {
		field string
		want  bool
	}{
		{"Authentication-Results: mx.example.org; spf=pass", true},
		{"authentication-results : MX.Example.ORG; spf=pass", true},
		{"Authentication-Results: mx.example.org 1; none", true},
		{"Authentication-Results: mx.example.org", true},
		{"Authentication-Results: (c (n) \\) )\r\n\tmx.example.org (x) 1 (y) ; none", true},
		{`Authentication-Results: "mx.example.org"; none`, true},
		{`Authentication-Results: "mx\.exa\mple.org"; none`, true},
		{"Authentication-Results: mx.example.org.; none", true},
		{"Authentication-Results: mx.example\r\n .org; none", true},
		{"Authentication-Results: mx.example.org spf=pass", true},
		{"Authentication-Results: ; mx.example.org; spf=pass", true},
		{"Authentication-Results: (mx.example.org; spf=pass", true},
		{`Authentication-Results: "mx.example.org; spf=pass`, true},
		{"Authentication-Results: <mx.example.org>; spf=pass", true},
		{"Authentication-Results: other.example, mx.example.org; spf=pass", true},

		{"Authentication-Results: mx.example.com; spf=pass", false},
		{"Authentication-Results: amx.example.org; spf=pass", false},
		{"Authentication-Results: mx.example.org.evil.example; spf=pass", false},
		{"Authentication-Results: other.example; spf=pass smtp.mailfrom=mx.example.org", false},
		{"Authentication-Results: other.example (mx.example.org); none", false},
		{"Authentication-Results: garbage (", false},
		{"ARC-Authentication-Results: i=1; mx.example.org; spf=pass", false},
		{"X-Authentication-Results: mx.example.org; spf=pass", false},
	} {
		if got := Forged(field(c.field), id); got != c.want {
			t.Errorf("%q: %v", c.field, got)
		}
	}
}

func FuzzForged(f *testing.F) {
	for _, s := range []string{" mx.example.org; none", ` (a(b)) "mx.example\.org" 1; x`, " (", `"`, ";"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if strings.Contains(body, "\n") {
			return
		}
		const id = "mx.example.org"
		forged := Forged(field("Authentication-Results:"+body), id)
		plain := strings.Trim(body, " \t\r")
		if strings.HasPrefix(strings.ToLower(plain), id+";") && !forged {
			t.Errorf("%q is not recognised", body)
		}
		if !strings.Contains(bare([]byte(body)), id) && forged {
			t.Errorf("%q does not have our id", body)
		}
	})
}

// FuzzAppend: whatever stands in a result, the field parses and stays ours.
func FuzzAppend(f *testing.F) {
	f.Add("mx.example.org", "reason", "joe@example.org")
	f.Add(`"`, "\r\n", `a"b\`)
	f.Fuzz(func(t *testing.T, id, reason, value string) {
		out := Append(nil, id, []filter.AuthResult{{Method: "spf", Result: "pass", Reason: reason,
			Props: []filter.AuthProp{{Type: "smtp", Property: "mailfrom", Value: value}}}}, Options{UTF8: true})
		h := mail.ParseHeader(append(out, "\r\n"...))
		if len(h.Fields) != 1 || !h.Fields[0].Is("Authentication-Results") {
			t.Fatalf("%q", out)
		}
		if id != "" && !Forged(h.Fields[0], strings.Map(control, id)) {
			t.Errorf("own field not recognised: %q", out)
		}
	})
}

// control is what quote does to control characters.
func control(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}

func BenchmarkAppend(b *testing.B) {
	var dst []byte
	for b.Loop() {
		dst = Append(dst[:0], "mx.example.org", sample, Options{})
	}
}

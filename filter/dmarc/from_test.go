package dmarc

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailweir/mail"
)

func parse(fields ...string) Authors {
	h := mail.ParseHeader([]byte(strings.Join(fields, "\r\n") + "\r\n\r\n"))
	return ParseAuthors(&h)
}

func TestParseAuthors(t *testing.T) {
	for _, c := range []struct {
		from      string
		want      string
		malformed bool
	}{
		{"joe@example.org", "example.org", false},
		{"<joe@example.org>", "example.org", false},
		{"Joe Doe <joe@example.org>", "example.org", false},
		{"Joe Q. Doe <joe@example.org>", "example.org", false},
		{`"Doe, Joe" <joe@example.org>`, "example.org", false},
		{`"a@b.example" <joe@example.org>`, "example.org", false},
		{`"quo\"te@x.example" <joe@example.org>`, "example.org", false},
		{`"joe doe"@example.org`, "example.org", false},
		{`"a@b"@example.org`, "example.org", false},
		{"joe@example.org (Joe (nested) \\) Doe, a@b.example)", "example.org", false},
		{"(who?) joe (x) @ (y) example (z) . (w) org", "example.org", false},
		{"Joe\r\n\t<joe@example.org>", "example.org", false},
		{"joe@Example.ORG.", "example.org", false},
		{"=?utf-8?q?a=40b.example?= <joe@example.org>", "example.org", false},
		{"Jürgen <j@bücher.example>", "xn--bcher-kva.example", false},
		{"<@a.example,@b.example:joe@example.org>", "example.org", false},
		{"<@a.example:joe@example.org>, x@example.net", "example.org example.net", false},
		{"a@example.org, b@example.org", "example.org", false},
		{"a@example.org,, ,b@example.net,", "example.org example.net", false},
		{"Friends: a@example.org, Bo <b@example.net>;", "example.org example.net", false},
		{"Friends: a@example.org;, c@example.com", "example.org example.com", false},
		{"undisclosed:;", "", false},

		{"", "", true},
		{"Joe", "", true},
		{"joe@", "", true},
		{"@example.org", "example.org", true},
		{"<joe@example.org", "example.org", true},
		{"joe@example.org>", "example.org", true},
		{"a@b.example <joe@example.org>", "b.example example.org", true},
		{"<a@b.example> <joe@example.org>", "b.example example.org", true},
		{"<a@b.example <joe@example.org>>", "b.example example.org", true},
		{"<joe@example.org> a@b.example", "example.org b.example", true},
		{"a@b.example@example.org", "b.example example.org", true},
		{"a@example.org b@example.net", "example.org example.net", true},
		{`"open <joe@example.org>`, "", true},
		{"joe@example.org (open", "example.org", true},
		{"joe@[192.0.2.1]", "", true},
		{"joe@[192.0.2.1], a@example.org", "example.org", true},
		{"joe@exa..mple", "", true},
		{"Friends: a@example.org", "example.org", true},
		{"a@example.org; b@example.net", "example.org example.net", true},
		{"joe@example.org\x00", "example.org", true},
	} {
		got := parse("From: " + c.from)
		if strings.Join(got.Domains, " ") != c.want || got.Malformed != c.malformed {
			t.Errorf("%q: %q malformed=%v, want %q %v", c.from, got.Domains, got.Malformed, c.want, c.malformed)
		}
	}
	if got := parse("from : a@example.org", "FROM: b@example.net"); got.Fields != 2 || len(got.Domains) != 2 {
		t.Errorf("two fields: %+v", got)
	}
}

// TestManyAuthors: eight times the list may cost at most 30 times the CPU,
// where quadratic code would cost 64 times as much.
func TestManyAuthors(t *testing.T) {
	for _, unit := range []string{"a@b.example, ", "a@b.example", "<", "(", "a: ", `"x" `, "@", " . ", "x@(c)y."} {
		field := func(size int) string { return "From: " + strings.Repeat(unit, size/len(unit)) }
		a, b := leastCPU(field(1<<15)), leastCPU(field(1<<18))
		if b > 30*max(a, time.Millisecond) {
			t.Errorf("%q: 32 KB cost %s, 256 KB %s", unit, a, b)
		}
		if n := len(parse(field(1 << 16)).Domains); n > maxAuthors {
			t.Errorf("%d domains", n)
		}
	}
}

// leastCPU is the processor time of the cheapest of three runs: other work on
// the machine must not fail the test.
func leastCPU(field string) time.Duration {
	least := time.Hour
	for range 3 {
		start := cpu()
		parse(field)
		least = min(least, cpu()-start)
	}
	return least
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func FuzzAuthors(f *testing.F) {
	for _, s := range []string{"Joe <joe@example.org>", `"a\"" <@x,@y:b@c>, g: d@e;`, "(a(b)c)x@y.(z)example", "a@b@c", "<<>>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a := parse("From: " + s)
		for _, d := range a.Domains {
			if mail.CanonicalDomain(d) != d || d == "" {
				t.Errorf("domain %q is not canonical", d)
			}
		}
		if n := len(a.Domains); n > maxAuthors || !slices.Equal(a.Domains, slices.Compact(slices.Clone(a.Domains))) {
			t.Errorf("%q", a.Domains)
		}
		if !a.Malformed && len(a.Domains) == 0 && !strings.Contains(s, ":") {
			t.Errorf("%q is well-formed but has no author", s)
		}
	})
}

package vip

import (
	"context"
	"strings"
	"testing"

	"mailweir/filter"
	"mailweir/filter/content"
	"mailweir/mail"
)

var people = []Person{
	{
		Names: []string{"Dr. Jane Doe", "Jane Smith-Doe"}, Addresses: []string{"jane.doe@example.org", "jane@home.example"},
		Domains: []string{"service.example"}, Scope: &filter.Scope{Domains: []string{"example.org"}},
	},
	{Names: []string{"Jörg Müller"}},
	{Names: []string{"Иван Петров"}},
	{Names: []string{"王伟"}},
	{Names: []string{"Managing Director"}},
	{Names: []string{"J. O'Neill"}},
}

// message is what a From and a Reply-To field become.
func message(from, replyTo string) *filter.Facts {
	f := &filter.Facts{Client: filter.ClientFacts{Address: "192.0.2.1"}}
	f.Header.From = content.ParseAddresses(from)
	f.Header.ReplyTo = content.ParseAddresses(replyTo)
	return f
}

func run(f *filter.Facts) []filter.Symbol {
	return NewCheck(people, []string{"example.org"}).Run(context.Background(), &filter.Transaction{Facts: f, Client: &mail.Client{}}).Symbols
}

// TestNames: what a reader takes for a listed person, from an address of no one.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		name string
		want string // whom it shows
	}{
		{`Jane Doe`, "Dr. Jane Doe"},
		{`JANE   DOE`, "Dr. Jane Doe"},
		{`"Doe, Jane"`, "Dr. Jane Doe"},
		{`"Doe,Jane"`, "Dr. Jane Doe"},
		{`Doe Jane`, "Dr. Jane Doe"},
		{`JaneDoe`, "Dr. Jane Doe"},
		{`jane.doe`, "Dr. Jane Doe"},
		{`jane_doe`, "Dr. Jane Doe"},
		{`"Prof. Dr. Jane Doe, PhD"`, "Dr. Jane Doe"},
		{`Jane Doe CEO`, "Dr. Jane Doe"},
		{`CEO - Jane Doe`, "Dr. Jane Doe"},
		{`"Jane Doe (CEO, Example Ltd)"`, "Dr. Jane Doe"},
		{`"Jane Doe | Example Ltd"`, "Dr. Jane Doe"},
		{`Jane Doe - Example Ltd`, "Dr. Jane Doe"},
		{`Jane M. Doe`, "Dr. Jane Doe"},
		{`Jane Smith Doe`, "Dr. Jane Doe"},
		{`"Jane Doe <jane.doe@example.org>"`, "Dr. Jane Doe"},
		{`"jane.doe@example.org"`, "Dr. Jane Doe"},
		{`"Jane+x@home.example"`, "Dr. Jane Doe"},
		{`"Jane Doe jane.doe@example.com"`, "Dr. Jane Doe"},
		{`=?utf-8?q?Jane_Doe?=`, "Dr. Jane Doe"},
		{`"=?utf-8?B?SmFuZSBEb2U=?="`, "Dr. Jane Doe"},
		{`=?utf-8?q?Ja?= =?utf-8?q?ne_Doe?=`, "Dr. Jane Doe"},
		{`Jаnе Dое`, "Dr. Jane Doe"},                 // Cyrillic
		{`Jáne Döe`, "Dr. Jane Doe"},                 // accents
		{`Ja` + "\u200b" + `ne Doe`, "Dr. Jane Doe"}, // no width
		{`Jane` + "\u00a0\u3000" + `Doe`, "Dr. Jane Doe"},
		{`𝐉𝐚𝐧𝐞 𝐃𝐨𝐞`, "Dr. Jane Doe"}, // mathematical
		{`Ｊａｎｅ Ｄｏｅ`, "Dr. Jane Doe"}, // fullwidth
		{`Jane D0e`, "Dr. Jane Doe"},
		{`' Jane Doe '`, "Dr. Jane Doe"},
		{`Jorg Muller`, "Jörg Müller"},
		{`Joerg Mueller`, "Jörg Müller"},
		{`Herr Müller, Jörg`, "Jörg Müller"}, // two mailboxes, as it stands
		{`"Müller, Herr Jörg"`, "Jörg Müller"},
		{`ИВАН ПЕТРОВ`, "Иван Петров"},
		{`Петров Иван`, "Иван Петров"},
		{`王 伟`, "王伟"},
		{`Managing Director`, "Managing Director"},
		{`J O'Neill`, "J. O'Neill"},
		{`J. O’Neill`, "J. O'Neill"},

		{`Jane`, ""}, {`Doe`, ""}, {`John Doe`, ""}, {`Jane Doerr`, ""}, {`Director`, ""}, {``, ""}, {`Dr.`, ""},
		{`J. Doe`, ""}, {`Jane and John Doe`, ""}, {`Jane Doe via Service`, ""}, {`"Jane Doe (via Service)"`, ""},
		{`Jane Doe Foundation`, ""}, {`O'Neill`, ""}, {`"@"`, ""}, {`"a@b"`, ""},
	} {
		list := run(message(c.name+` <x@evil.example>`, ""))
		got := ""
		if len(list) == 1 {
			got = strings.TrimSuffix(strings.TrimPrefix(list[0].Detail, "From shows "), ", the address is x@evil.example")
		} else if len(list) > 1 {
			got = "several"
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestAddresses: who may show the name.
func TestAddresses(t *testing.T) {
	pass := func(f *filter.Facts) { f.DMARC.Result = "pass" }
	fail := func(f *filter.Facts) { f.DMARC.Result = "fail" }
	for _, c := range []struct {
		name, from, replyTo string
		change              func(*filter.Facts)
		want                bool
	}{
		{"another", "Jane Doe <jane@evil.example>", "", nil, true},
		{"another that is proved", "Jane Doe <jane@evil.example>", "", pass, true},
		{"his", "Jane Doe <jane@home.example>", "", nil, false},
		{"his with a tag", "Jane Doe <Jane+x@HOME.example>", "", nil, false},
		{"his, known to be forged", "Jane Doe <jane@home.example>", "", fail, true},
		{"his, forwarded", "Jane Doe <jane@home.example>", "", func(f *filter.Facts) {
			f.DMARC.Result, f.DMARC.Override = "fail", "forwarded"
		}, false},
		{"his in our domain, not proved", "Jane Doe <jane.doe@example.org>", "", nil, true},
		{"his in our domain", "Jane Doe <jane.doe@example.org>", "", pass, false},
		{"ours, own client", "Jane Doe <printer@example.org>", "", func(f *filter.Facts) { f.Client.Own = true }, false},
		{"a namesake of ours", "Jane Doe <jane2@mail.example.org>", "", pass, false},
		{"ours by SPF", "Jane Doe <jane2@example.org>", "", func(f *filter.Facts) {
			f.SPF = filter.SPFFacts{Result: "pass", Identity: "mailfrom", Domain: "example.org"}
		}, false},
		{"SPF of another", "Jane Doe <jane2@example.org>", "", func(f *filter.Facts) {
			f.SPF = filter.SPFFacts{Result: "pass", Identity: "mailfrom", Domain: "evil.example"}
		}, true},
		{"a service", "Jane Doe <no-reply@mail.service.example>", "", pass, false},
		{"a service, not proved", "Jane Doe <no-reply@service.example>", "", nil, true},
		{"two authors", "Jane Doe <jane@example.org>, x <x@evil.example>", "", pass, true},
		{"the second", "x <x@evil.example>, Jane Doe <y@evil.example>", "", pass, true},
		{"name without address", "Jane Doe, <x@evil.example>", "", pass, true},
		{"old form", "x@evil.example (Jane Doe)", "", nil, true},
		{"no address at all", "Jane Doe", "", nil, true},
		{"replies", "x <x@shop.example>", "Jane Doe <x@evil.example>", pass, true},
		{"replies home", "x <x@shop.example>", "Jane Doe <jane@home.example>", pass, false},
		{"his replies elsewhere", "Jane Doe <jane.doe@example.org>", "Jane Doe <jane@new.example>", pass, false},
		{"forged, replies elsewhere", "Jane Doe <jane.doe@example.org>", "Jane Doe <jane@new.example>", nil, true},
	} {
		f := message(c.from, c.replyTo)
		if c.change != nil {
			c.change(f)
		}
		list := run(f)
		if got := len(list) == 1 && list[0].Name == SymFromVIP && list[0].Scope == people[0].Scope; got != c.want || len(list) > 1 {
			t.Errorf("%s: %+v", c.name, list)
		}
	}
}

// FuzzNames: any name is looked at in a time that does not depend on how many
// persons there are, and never panics; what is added that cannot be seen changes
// nothing.
func FuzzNames(f *testing.F) {
	f.Add("Jane Doe", 3)
	f.Add("\xff@\xfe(Jane", 0)
	l := newList(people)
	f.Fuzz(func(t *testing.T, name string, at int) {
		found := l.shown(name)
		if at < 0 || at > len(name) || len(name) > maxName-8 || !strings.HasPrefix(strings.ToValidUTF8(name[at:], "?"), name[at:]) || !strings.HasSuffix(name[:at], strings.ToValidUTF8(name[:at], "?")) {
			return
		}
		if more := l.shown(name[:at] + "\u200b" + name[at:]); len(more) != len(found) && !strings.ContainsAny(name, "@(") {
			t.Errorf("%q: %v, and %v", name, found, more)
		}
	})
}

func BenchmarkNobody(b *testing.B) {
	c := NewCheck(people, []string{"example.org"})
	tx := &filter.Transaction{Facts: message("John Public (Sales) <john@elsewhere.example>", "John <john@elsewhere.example>"), Client: &mail.Client{}}
	b.ReportAllocs()
	for b.Loop() {
		c.Run(context.Background(), tx)
	}
}

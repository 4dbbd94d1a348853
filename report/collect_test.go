package report

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailweir/filter"
)

var update = flag.Bool("update", false, "rewrite the golden file")

// TestReport sums up a day and holds the XML against the golden file and the
// schema: two policy domains, what is counted together and what is not, what is
// told of what we did, and all that is left out.
func TestReport(t *testing.T) {
	passed := verdict{
		from: "d.example", client: "192.0.2.1", mailFrom: "a@d.example", record: asks, result: "pass", policy: "reject",
		spf: "d.example", dkim: "d.example", action: filter.Accept, reply: "250 2.0.0 Ok",
		signatures: []filter.DKIMFacts{
			{Result: "fail", Domain: "list.example", Selector: "l"}, {Result: "pass", Domain: "other.example", Selector: "o"},
			{Result: "pass", Domain: "d.example", Selector: "s"}, {Result: "permerror"},
		},
	}
	failed := verdict{
		from: "d.example", client: "2001:db8::1", mailFrom: "x@bad.example", record: asks, result: "fail", policy: "reject",
		action: filter.Reject, reply: "550 5.7.1 No",
	}
	with := func(v verdict, change func(*verdict)) verdict { change(&v); return v }
	list := []verdict{
		passed, passed, passed, failed, failed,
		with(failed, func(v *verdict) { v.action, v.reply = filter.Quarantine, "250 2.0.0 Ok" }),
		with(failed, func(v *verdict) { v.action, v.reply, v.testing = filter.Tag, "250 2.0.0 Ok", true }),
		with(failed, func(v *verdict) { v.mailFrom = "" }),
		with(failed, func(v *verdict) { v.from, v.domain = "sub.d.example", "d.example" }),
		// Rejected for what it says: no more than its policy asked for.
		with(failed, func(v *verdict) { v.policy, v.client = "none", "198.51.100.1" }),
		with(failed, func(v *verdict) { v.policy, v.client = "quarantine", "198.51.100.2" }),
		with(passed, func(v *verdict) { v.policy, v.client = "none", "198.51.100.3" }),
		with(passed, func(v *verdict) {
			v.from, v.record = "e.example", "v=DMARC1; p=none; sp=quarantine; adkim=s; aspf=s; t=y; rua=mailto:r@e.example"
		}),
		// In no report.
		with(failed, func(v *verdict) { v.reply = "451 4.7.0 Later" }),
		with(failed, func(v *verdict) { v.from, v.record = "silent.example", "" }),
		with(failed, func(v *verdict) { v.from, v.record = "silent.example", "v=DMARC1; p=reject" }),
		with(failed, func(v *verdict) { v.result = "temperror" }),
		with(failed, func(v *verdict) { v.client = "" }),
		with(failed, func(v *verdict) { v.own = true }),
		with(failed, func(v *verdict) { v.rcpt = "joe@hidden.example" }),
	}
	reports := collect(t, func(domain string, own bool) bool { return own || domain == "hidden.example" }, list...)
	if len(reports) != 2 || reports[0].Messages != 12 || reports[1].Messages != 1 {
		t.Fatalf("%d reports %s", len(reports), show(reports))
	}
	var all strings.Builder
	for _, r := range reports {
		xml := xmlOf(t, r)
		t.Run("schema", func(t *testing.T) { validate(t, xml) })
		all.Write(xml)
	}
	const golden = "testdata/report.xml"
	if *update {
		if err := os.WriteFile(golden, []byte(all.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), all.String()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestReportLimits: a domain of which everything differs fills its report to
// the limit, with what came most, and says so.
func TestReportLimits(t *testing.T) {
	common := verdict{from: "d.example", client: "192.0.2.1", record: asks, result: "fail", policy: "reject", action: filter.Reject}
	list := []verdict{common, common}
	for i := range maxRows + 5 {
		v := common
		v.client = fmt.Sprintf("198.51.%d.%d", i>>8, i&255)
		list = append(list, v)
	}
	r := collect(t, nobody, list...)[0]
	if len(r.Rows) != maxRows || r.Rows[0].Count != 2 || r.Left != 6 || r.Messages != len(list) {
		t.Errorf("%d rows, the first with %d, %d left of %d", len(r.Rows), r.Rows[0].Count, r.Left, r.Messages)
	}
	t.Run("schema", func(t *testing.T) { validate(t, xmlOf(t, r)) })
	b, err := r.compress(&submitter)
	if err != nil || len(b) > 1<<20 {
		t.Errorf("the largest report has %d octets, %v", len(b), err)
	}
}

// TestHostileNames: what strangers wrote cannot break the XML.
func TestHostileNames(t *testing.T) {
	v := verdict{
		from: "d.example", client: "192.0.2.1", mailFrom: "a@d.example", record: asks, result: "fail", policy: "reject",
		signatures: []filter.DKIMFacts{{Result: "fail", Domain: "</domain>&\x01\ufffe\"", Selector: "]]>\xff"}},
	}
	reports := collect(t, nobody, v)
	validate(t, xmlOf(t, reports[0]))
}

// FuzzEvent: no line of a history makes the reader panic, nor a report that the
// encoder cannot write.
func FuzzEvent(f *testing.F) {
	r := verdict{from: "d.example", client: "192.0.2.1", record: asks, result: "fail", policy: "reject", action: filter.Tag}.line(noon)
	f.Add([]byte(`{"id":"x","kind":"verdict","data":` + show(r) + `}`))
	f.Add([]byte(`{"kind":"verdict","data":{"client":"::1","facts":{"dmarc":{"record":"v=DMARC1; rua=mailto:a@b","domain":"\u0000","result":"fail"}}}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, ok := parseEvent(line)
		if !ok {
			return
		}
		c := &collection{day: testDay, hidden: nobody, domains: map[string]*sums{}}
		e.hidden(c.hidden)
		c.add(e)
		for _, r := range c.reports("mx.example.org") {
			xmlOf(t, r)
		}
	})
}

func BenchmarkCollect(b *testing.B) {
	dir := b.TempDir()
	var list []verdict
	for i := range 2000 {
		v := verdict{from: fmt.Sprintf("d%d.example", i%50), client: "192.0.2.1", mailFrom: "a@d.example", record: asks, result: "fail", policy: "reject", action: filter.Reject}
		if i%4 > 0 {
			v.record = ""
		}
		list = append(list, v)
	}
	writeDay(b, dir, noon, list...)
	for b.Loop() {
		if r, err := Collect(dir, nil, "mx.example.org", testDay, nobody); err != nil || len(r) == 0 {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/verdict")
}

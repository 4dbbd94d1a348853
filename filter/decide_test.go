package filter

import (
	"math"
	"reflect"
	"testing"

	"mailweir/mail"
)

func policy(edit func(*DomainPolicy)) *DomainPolicy {
	p := &DomainPolicy{
		Tag: 5, Reject: 15, DMARCReject: "corroborated",
		DNSOnError: Accept, ScannerOnError: Defer, OnOversize: Tag,
	}
	if edit != nil {
		edit(p)
	}
	return p
}

func TestDecide(t *testing.T) {
	spam := func(score float64) []Symbol {
		return []Symbol{{Name: "A", Score: score / 2}, {Name: "B", Score: score / 2}}
	}
	with := func(s []Symbol, names ...string) []Symbol {
		for _, n := range names {
			s = append(s, Symbol{Name: n})
		}
		return s
	}
	grey := func(p *DomainPolicy) { p.Greylist = GreylistPolicy{From: 3, To: 10} }
	do := func(a Action) []Symbol { return []Symbol{{Name: "R", Do: &Act{Action: a}}} }
	engines := func(p *DomainPolicy) { p.OnState = map[string]Action{"RSPAMD_TIMEOUT": Defer, "SA_ERROR": Quarantine} }
	tagMode := func(p *DomainPolicy) { p.TagMode = true }
	for _, c := range []struct {
		name    string
		symbols []Symbol
		edit    func(*DomainPolicy)
		action  Action
		reason  Reason
	}{
		{"nothing", nil, nil, Accept, ReasonNone},
		{"below", spam(4.9), nil, Accept, ReasonNone},
		{"tag", spam(5), nil, Tag, ReasonSpam},
		{"reject", spam(15), nil, Reject, ReasonSpam},
		{"what is shown to reach it reaches it", []Symbol{{Name: "A", Score: 0.7}, {Name: "B", Score: 0.1}},
			func(p *DomainPolicy) { p.Tag = 0.8 }, Tag, ReasonSpam},
		{"quarantine off", spam(10), nil, Tag, ReasonSpam},
		{"quarantine", spam(10), func(p *DomainPolicy) { p.Quarantine = 8 }, Quarantine, ReasonSpam},
		{"allowed spam", with(spam(20), SymAllowed), nil, Accept, ReasonAllowed},
		{"virus", with(nil, SymVirus), nil, Reject, ReasonVirus},
		{"allowed virus", with(nil, SymVirus, SymAllowed), nil, Reject, ReasonVirus},
		{"virus in tag mode", with(nil, SymVirus), tagMode, Tag, ReasonVirus},
		{"spam in tag mode", spam(20), tagMode, Tag, ReasonSpam},
		{"scanner", with(nil, SymScannerTimeout), nil, Defer, ReasonScanner},
		{"scanner in tag mode", with(nil, SymScannerError), tagMode, Defer, ReasonScanner},
		{"scanner accept tags", with(nil, SymScannerError), func(p *DomainPolicy) { p.ScannerOnError = Accept }, Tag, ReasonScanner},
		{"scanner quarantine", with(nil, SymScannerError), func(p *DomainPolicy) { p.ScannerOnError = Quarantine }, Quarantine, ReasonScanner},
		{"reject needs no scanner", with(spam(15), SymScannerError), nil, Reject, ReasonSpam},
		{"greylisted", with(spam(4), SymGreylistNew), grey, Defer, ReasonGreylist},
		{"back too early", with(spam(6), SymGreylistWait), grey, Defer, ReasonGreylist},
		{"back in time", with(spam(6), SymGreylistRetried), grey, Tag, ReasonSpam},
		{"known", with(spam(4), SymGreylistKnown), grey, Accept, ReasonNone},
		{"too good to be greylisted", with(spam(2.9), SymGreylistNew), grey, Accept, ReasonNone},
		{"too bad to be greylisted", with(spam(10), SymGreylistNew), grey, Tag, ReasonSpam},
		{"no greylisting here", with(spam(4), SymGreylistNew), nil, Accept, ReasonNone},
		{"allowed and new", with(spam(4), SymGreylistNew, SymAllowed), grey, Accept, ReasonAllowed},
		{"virus and new", with(spam(4), SymGreylistNew, SymVirus), grey, Reject, ReasonVirus},
		{"new in tag mode", with(spam(4), SymGreylistNew), func(p *DomainPolicy) { grey(p); p.TagMode = true }, Accept, ReasonNone},
		{"new to postmaster", with(spam(4), SymGreylistNew), func(p *DomainPolicy) { grey(p); p.Postmaster = true }, Accept, ReasonNone},
		{"engine", with(nil, "RSPAMD_TIMEOUT"), engines, Defer, ReasonScanner},
		{"engine quarantine", with(nil, "SA_ERROR"), engines, Quarantine, ReasonScanner},
		{"engines, the gravest", with(nil, "SA_ERROR", "RSPAMD_TIMEOUT"), engines, Defer, ReasonScanner},
		{"engine accept", with(spam(5), "RSPAMD_TIMEOUT"), nil, Tag, ReasonSpam},
		{"engine in tag mode", with(nil, "RSPAMD_TIMEOUT"), func(p *DomainPolicy) { engines(p); p.TagMode = true }, Defer, ReasonScanner},
		{"oversize", with(nil, SymOversize), nil, Tag, ReasonOversize},
		{"oversize reject", with(nil, SymOversize), func(p *DomainPolicy) { p.OnOversize = Reject }, Reject, ReasonOversize},
		{"no From", with(nil, SymFromMissing), nil, Reject, ReasonStructure},
		{"several From", with(nil, SymFromMultiple), nil, Reject, ReasonStructure},
		{"NUL", with(nil, SymHeaderNUL), nil, Reject, ReasonStructure},
		{"space before the colon", with(nil, SymKeyFieldSpace), nil, Reject, ReasonStructure},
		{"space before the colon elsewhere", with(nil, "HEADER_SPACE_BEFORE_COLON"), nil, Accept, ReasonNone},
		{"structure before spam", with(spam(20), SymFromMissing), nil, Reject, ReasonStructure},
		{"virus before structure", with(nil, SymFromMissing, SymVirus), nil, Reject, ReasonVirus},
		{"structure needs no scanner", with(nil, SymFromMissing, SymScannerError), nil, Reject, ReasonStructure},
		{"structure allowed", with(nil, SymFromMissing, SymAllowed), nil, Accept, ReasonAllowed},
		{"structure in tag mode", with(nil, SymFromMissing), tagMode, Tag, ReasonStructure},
		{"structure for postmaster", with(nil, SymFromMissing), func(p *DomainPolicy) { p.Postmaster = true }, Tag, ReasonStructure},
		{"dmarc alone", with(nil, SymDMARCReject), nil, Quarantine, ReasonDMARC},
		{"dmarc corroborated", with(spam(5), SymDMARCReject), nil, Reject, ReasonDMARC},
		{"dmarc's own score does not corroborate", []Symbol{{Name: SymDMARCReject, Score: 6}}, nil, Quarantine, ReasonDMARC},
		{"dmarc always", with(nil, SymDMARCReject), func(p *DomainPolicy) { p.DMARCReject = "always" }, Reject, ReasonDMARC},
		{"dmarc never", with(spam(6), SymDMARCReject), func(p *DomainPolicy) { p.DMARCReject = "never" }, Quarantine, ReasonDMARC},
		{"dmarc quarantine", with(spam(6), SymDMARCQuarantine), nil, Quarantine, ReasonDMARC},
		{"dmarc allowed", with(nil, SymDMARCReject, SymAllowed), nil, Accept, ReasonAllowed},
		{"dns accept", with(nil, SymSPFTempError), nil, Accept, ReasonNone},
		{"dns defer", with(nil, SymSPFTempError), func(p *DomainPolicy) { p.DNSOnError = Defer }, Defer, ReasonDNS},
		{"dns defer, but dmarc passed", with(nil, SymSPFTempError, SymDMARCPass), func(p *DomainPolicy) { p.DNSOnError = Defer }, Accept, ReasonNone},
		{"dns defer, but reject decides", with(spam(15), SymSPFTempError), func(p *DomainPolicy) { p.DNSOnError = Defer }, Reject, ReasonSpam},
		{"postmaster spam", spam(20), func(p *DomainPolicy) { p.Postmaster = true }, Tag, ReasonSpam},
		{"a rule rejects", do(Reject), nil, Reject, ReasonRule},
		{"a rule's words before those for spam", append(spam(20), do(Reject)...), nil, Reject, ReasonRule},
		{"a virus before a rule", with(do(Reject), SymVirus), nil, Reject, ReasonVirus},
		{"a rule defers", append(spam(6), do(Defer)...), nil, Defer, ReasonRule},
		{"spam is refused, not deferred", append(spam(20), do(Defer)...), nil, Reject, ReasonSpam},
		{"a rule discards", append(spam(6), do(Discard)...), nil, Discard, ReasonRule},
		{"the gravest rule", append(do(Tag), do(Quarantine)...), nil, Quarantine, ReasonRule},
		{"a rule in tag mode", do(Discard), tagMode, Tag, ReasonRule},
		{"a rule that defers in tag mode", do(Defer), tagMode, Defer, ReasonRule},
		{"a rule for postmaster", do(Discard), func(p *DomainPolicy) { p.Postmaster = true }, Tag, ReasonRule},
		{"a rule, allowed", with(do(Reject), SymAllowed), nil, Accept, ReasonAllowed},
		{"a rule in shadow", []Symbol{{Name: "R", WouldDo: &Act{Action: Reject}}}, nil, Accept, ReasonNone},
		{"blocked", with(nil, SymBlocked), nil, Reject, ReasonBlocked},
		{"blocked and allowed", with(nil, SymBlocked, SymAllowed), nil, Reject, ReasonBlocked},
		{"blocked in tag mode", with(nil, SymBlocked), tagMode, Tag, ReasonBlocked},
		{"postmaster virus", with(nil, SymVirus), func(p *DomainPolicy) { p.Postmaster = true }, Quarantine, ReasonVirus},
	} {
		v := Decide(c.symbols, policy(c.edit))
		if v.Action != c.action || v.Reason != c.reason {
			t.Errorf("%s: %s (%s), want %s (%s)", c.name, v.Action, v.Reason, c.action, c.reason)
		}
		var sum float64
		for _, s := range c.symbols {
			sum += s.Score
		}
		if math.Abs(v.Score-sum) > 1e-9 || v.Required != policy(c.edit).Tag {
			t.Errorf("%s: score %v of %v, want %v", c.name, v.Score, v.Required, sum)
		}
	}
}

func TestDecideListed(t *testing.T) {
	lists := []Listing{{Zone: "a.example", Score: 5}, {Zone: "b.example", Score: 12}, {Zone: "white.example", Score: -1}}
	if v, ok := decideListed(lists, policy(nil)); !ok || v.Detail != "b.example" || v.Reason != ReasonListed {
		t.Errorf("listed: %+v %v", v, ok)
	}
	if _, ok := decideListed(lists[:1], policy(nil)); ok {
		t.Error("a score below the threshold rejects")
	}
}

func TestCombine(t *testing.T) {
	v := func(a Action, r Reason) Verdict { return Verdict{Action: a, Reason: r, Required: 5} }
	for _, c := range []struct {
		name       string
		in         []Verdict
		action     Action
		reason     Reason
		recipients []Action
		mixed      []bool
	}{
		{"one", []Verdict{v(Accept, "")}, Accept, "", []Action{Accept}, []bool{false}},
		{"all reject", []Verdict{v(Reject, ReasonSpam), v(Reject, ReasonVirus)}, Reject, ReasonSpam,
			[]Action{Reject, Reject}, []bool{false, false}},
		{"any defer", []Verdict{v(Accept, ""), v(Defer, ReasonScanner), v(Reject, ReasonSpam)}, Defer, ReasonScanner,
			[]Action{Defer, Defer, Defer}, []bool{false, false, false}},
		{"mixed", []Verdict{v(Reject, ReasonSpam), v(Accept, "")}, Quarantine, ReasonSpam,
			[]Action{Quarantine, Accept}, []bool{true, false}},
		{"tag and accept", []Verdict{v(Accept, ""), v(Tag, ReasonSpam)}, Tag, ReasonSpam,
			[]Action{Accept, Tag}, []bool{false, false}},
		{"discard and reject", []Verdict{v(Discard, ReasonRule), v(Reject, ReasonSpam)}, Discard, ReasonRule,
			[]Action{Discard, Quarantine}, []bool{false, true}},
	} {
		d := Combine(c.in)
		if d.Verdict.Action != c.action || d.Verdict.Reason != c.reason ||
			!reflect.DeepEqual(d.Recipients, c.recipients) || !reflect.DeepEqual(d.Mixed, c.mixed) {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

// What rules want done goes with the verdict, whatever decides.
func TestActs(t *testing.T) {
	reply := &mail.Reply{Code: 550, Text: "no"}
	symbols := []Symbol{
		{Name: "A", Do: &Act{Copy: []mail.Path{"a@x.example"}}},
		{Name: "B", Do: &Act{Action: Reject, Reply: reply}},
		{Name: "C", WouldDo: &Act{Copy: []mail.Path{"c@x.example"}}},
	}
	v := Decide(symbols, policy(nil))
	if v.Reply != reply || v.Symbol != "B" || len(v.Acts) != 2 || v.Acts[0].Symbol != "A" {
		t.Errorf("%+v", v)
	}
	if p := Pivots(symbols, policy(nil)); len(p) != 1 || p[0].Symbol != "B" || p[0].Action != Accept {
		t.Errorf("%+v", p)
	}
}

// classes weighs by the domain alone, and counts how often.
type classes struct{ evals int }

func (c *classes) Hash() string { return "" }
func (c *classes) Class(_ *Facts, rcpt mail.Path) string {
	return Class(rcpt, &Scope{Domains: []string{"b.example"}}, &Scope{Recipients: []string{"x@c.example"}})
}
func (c *classes) Eval(_ *Facts, class string) []Symbol {
	c.evals++
	list := []Symbol{{Name: "ALL"}}
	for n, name := range []string{"B", "C"} {
		if InClass(class, n) {
			list = append(list, Symbol{Name: name})
		}
	}
	return list
}

// TestWeigh: each recipient gets what is for him, and each class is weighed once.
func TestWeigh(t *testing.T) {
	var rcpts []mail.Recipient
	for _, p := range []mail.Path{"a@a.example", "a@B.example", "b@a.example", "X+tag@C.example", "c@b.example", "postmaster", "y@c.example"} {
		rcpts = append(rcpts, mail.Recipient{Path: p})
	}
	c := &classes{}
	j := Weigh(c, &Facts{}, rcpts)
	for k, want := range []string{"", "B", "", "C", "B", "", ""} {
		got := j.For(k)
		if len(got) == 1 && want == "" || len(got) == 2 && got[1].Name == want {
			continue
		}
		t.Errorf("%s: %v, want %s", rcpts[k].Path, got, want)
	}
	if c.evals != 3 || len(j.Views) != 3 || j.View(1) != j.View(4) || j.View(0) != 0 {
		t.Errorf("%d evaluations, %d views", c.evals, len(j.Views))
	}
	if j := Weigh(c, &Facts{}, nil); len(j.Symbols) != 1 {
		t.Errorf("without recipients: %v", j.Symbols)
	}
}

func BenchmarkDecide(b *testing.B) {
	p := &DomainPolicy{Tag: 5, Reject: 15}
	b.ReportAllocs()
	for b.Loop() {
		Decide(nil, p)
	}
}

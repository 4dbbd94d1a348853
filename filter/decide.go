package filter

import (
	"cmp"
	"math"
	"strings"
)

// Decide turns weighed symbols into the verdict of one recipient class. It is
// pure: the same symbols and policy always give the same verdict, which is
// what makes replay and `gateway check` honest.
//
// The gravest answer wins: reject before defer before quarantine before tag.
// A temporary DNS failure decides only when nothing else does.
func Decide(symbols []Symbol, p *DomainPolicy) Verdict {
	f := sum(symbols)
	v := Verdict{Action: Accept, Score: f.score, Required: p.Tag, Acts: f.acts}
	for _, judge := range []func(*findings, *DomainPolicy) Verdict{
		byVirus, byBlocked, byStructure, byRules, byParts, byAttachments, byScore, byDMARC, byOversize, byScanner, byEngines,
		byGreylist,
	} {
		v.take(judge(f, p))
	}
	if p.DNSOnError == Defer && !f.allowed && f.dnsFailure != "" && (v.Action == Accept || v.Action == Tag) {
		v.take(Verdict{Action: Defer, Reason: ReasonDNS, Symbol: f.dnsFailure})
	}
	if v.Action == Accept && f.allowed {
		v.Reason, v.Symbol = ReasonAllowed, SymAllowed
	}
	return v.soften(p)
}

// findings is one pass over the symbols.
type findings struct {
	score         float64
	sansDMARC     float64 // the score without DMARC's own symbols
	allowed       bool
	blocked       bool
	acts          []RuleAct // of rules, in their order
	virus         string    // the signature
	structure     string    // the symbol of a header section that may deceive
	ambiguous     bool      // clients could disagree about a part that may be executed
	limit         string    // the symbol of a limit of the examination that is exceeded
	oversize      bool
	attachments   []string // the symbols that have a class
	scanner       string   // the symbol of a scanner that did not answer
	authenticated bool     // DMARC passed
	dmarc         string   // SymDMARCReject or SymDMARCQuarantine
	dnsFailure    string   // the symbol of a DNS failure that left authentication open
	greylist      Symbol   // what tells that the sender is not known, or not yet
	symbols       []Symbol // all of them
	top           Symbol   // the symbol of the highest score
}

func sum(symbols []Symbol) *findings {
	f := &findings{symbols: symbols}
	var all, sansDMARC int64
	for _, s := range symbols {
		all += milli(s.Score)
		if !strings.HasPrefix(s.Name, "DMARC_") {
			sansDMARC += milli(s.Score)
		}
		if s.Score > f.top.Score {
			f.top = s
		}
		if s.Do != nil {
			f.acts = append(f.acts, RuleAct{s.Name, s.Do})
		}
		f.note(s)
	}
	f.score, f.sansDMARC = float64(all)/1000, float64(sansDMARC)/1000
	if f.authenticated {
		f.dnsFailure = "" // DMARC passed on what could be looked up
	}
	return f
}

// note takes what a symbol says besides its score. Of several that say the same
// of structure, limits and DNS the first one is named.
func (f *findings) note(s Symbol) {
	if ClassOf(s.Name) != "" {
		f.attachments = append(f.attachments, s.Name)
	}
	if strings.HasPrefix(s.Name, SymMIMELimits) {
		f.limit = cmp.Or(f.limit, s.Name)
	}
	switch s.Name {
	case SymAllowed:
		f.allowed = true
	case SymBlocked:
		f.blocked = true
	case SymVirus:
		f.virus = cmp.Or(s.Detail, SymVirus)
	case SymFromMissing, SymFromMultiple, SymHeaderNUL, SymKeyFieldSpace:
		f.structure = cmp.Or(f.structure, s.Name)
	case SymOversize:
		f.oversize = true
	case SymAmbiguous:
		f.ambiguous = true
	case SymGreylistNew, SymGreylistWait:
		f.greylist = s
	case SymScannerError, SymScannerTimeout, "MIME_ERROR", "MIME_TIMEOUT":
		f.scanner = s.Name
	case SymDMARCReject, SymDMARCQuarantine:
		f.dmarc = s.Name
	case SymDMARCPass:
		f.authenticated = true
	case SymSPFTempError, SymDKIMTempError, SymDMARCTempError,
		"SPF_TIMEOUT", "SPF_ERROR", "DKIM_TIMEOUT", "DKIM_ERROR", "DMARC_TIMEOUT", "DMARC_ERROR":
		f.dnsFailure = cmp.Or(f.dnsFailure, s.Name)
	}
}

// milli is a score in thousandths: what is shown to add up to the threshold
// must reach it, and 0.7 + 0.1 is less than 0.8 in binary fractions.
func milli(score float64) int64 { return int64(math.Round(score * 1000)) }

func byVirus(f *findings, _ *DomainPolicy) Verdict {
	if f.virus == "" {
		return Verdict{Action: Accept}
	}
	return Verdict{Action: Reject, Reason: ReasonVirus, Symbol: SymVirus, Detail: f.virus}
}

// byBlocked: whom an admin has blocked is not let in by an [[allow]] entry.
func byBlocked(f *findings, _ *DomainPolicy) Verdict {
	if !f.blocked {
		return Verdict{Action: Accept}
	}
	return Verdict{Action: Reject, Reason: ReasonBlocked, Symbol: SymBlocked}
}

// byRules takes what rules say themselves, and their words for it.
func byRules(f *findings, _ *DomainPolicy) Verdict {
	v := Verdict{Action: Accept}
	if f.allowed {
		return v
	}
	for _, a := range f.acts {
		v.take(Verdict{Action: a.Action, Reason: ReasonRule, Symbol: a.Symbol, Reply: a.Reply})
	}
	return v
}

// byStructure refuses what every check may have read in another way than the
// recipient's mail program will: whatever was verified says nothing then.
func byStructure(f *findings, _ *DomainPolicy) Verdict {
	if f.allowed || f.structure == "" {
		return Verdict{Action: Accept}
	}
	return Verdict{Action: Reject, Reason: ReasonStructure, Symbol: f.structure}
}

// byParts judges a structure that may hide a part: whatever was scanned, a
// client could find something else, or more of it.
func byParts(f *findings, p *DomainPolicy) Verdict {
	v := Verdict{Action: Accept}
	if f.limit != "" {
		v.take(Verdict{Action: orReject(p.OnLimit), Reason: ReasonStructure, Symbol: f.limit})
	}
	if f.ambiguous && !f.allowed {
		v.take(Verdict{Action: orReject(p.OnAmbiguous), Reason: ReasonStructure, Symbol: SymAmbiguous})
	}
	return v
}

func orReject(a Action) Action {
	if a == "" {
		return Reject
	}
	return a
}

func byScore(f *findings, p *DomainPolicy) Verdict {
	v := Verdict{Action: Accept, Reason: ReasonSpam, Symbol: f.top.Name}
	switch {
	case f.allowed:
	case f.score >= p.Reject:
		v.Action = Reject
	case p.Quarantine > 0 && f.score >= p.Quarantine:
		v.Action = Quarantine
	case f.score >= p.Tag:
		v.Action = Tag
	}
	return v
}

// byDMARC applies RFC 9989 section 7.4: a failure alone is no ground to reject
// a message whose domain owner asks for it, since forwarding and mailing lists
// break authentication too; something else must speak against it.
func byDMARC(f *findings, p *DomainPolicy) Verdict {
	v := Verdict{Action: Accept, Reason: ReasonDMARC, Symbol: f.dmarc}
	switch {
	case f.allowed || f.dmarc == "":
	case f.dmarc == SymDMARCReject && p.DMARCReject == "always",
		f.dmarc == SymDMARCReject && p.DMARCReject == "corroborated" && f.sansDMARC >= p.Tag:
		v.Action = Reject
	default:
		v.Action = Quarantine
	}
	return v
}

func byOversize(f *findings, p *DomainPolicy) Verdict {
	if !f.oversize {
		return Verdict{Action: Accept}
	}
	return Verdict{Action: p.OnOversize, Reason: ReasonOversize, Symbol: SymOversize}
}

// byScanner never lets an unscanned message pass as clean: even accept tags.
func byScanner(f *findings, p *DomainPolicy) Verdict {
	if f.scanner == "" {
		return Verdict{Action: Accept}
	}
	action := p.ScannerOnError
	if action == Accept {
		action = Tag
	}
	return Verdict{Action: action, Reason: ReasonScanner, Symbol: f.scanner}
}

// byEngines is for filters that are asked besides. One that gives no answer tags
// nothing by itself: what is ours has been found all the same.
func byEngines(f *findings, p *DomainPolicy) Verdict {
	v := Verdict{Action: Accept}
	if len(p.OnState) == 0 {
		return v
	}
	for i := range f.symbols {
		name := f.symbols[i].Name
		if action, ok := p.OnState[name]; ok {
			v.take(Verdict{Action: action, Reason: ReasonScanner, Symbol: name})
		}
	}
	return v
}

// byGreylist has doubtful mail of unknown senders come again: who sends spam
// mostly does not, and until then lists and signatures have learned of it.
// Postmaster is for those who ask why.
func byGreylist(f *findings, p *DomainPolicy) Verdict {
	if f.greylist.Name == "" || f.allowed || p.TagMode || p.Postmaster || !p.Greylist.doubtful(f.score) {
		return Verdict{Action: Accept}
	}
	return Verdict{Action: Defer, Reason: ReasonGreylist, Symbol: f.greylist.Name, Detail: f.greylist.Detail}
}

// decideListed is the decision at RCPT: the connect phase alone.
func decideListed(listings []Listing, p *DomainPolicy) (Verdict, bool) {
	var sum int64
	var worst Listing
	for _, l := range listings {
		sum += milli(l.Score)
		if l.Score > worst.Score {
			worst = l
		}
	}
	score := float64(sum) / 1000
	if worst.Zone == "" || score < p.Reject {
		return Verdict{}, false
	}
	return Verdict{
		Action: Reject, Reason: ReasonListed, Detail: worst.Zone, Score: score, Required: p.Tag,
	}, true
}

// severity orders actions; discard never comes out of a sum.
func severity(a Action) int {
	switch a {
	case Tag:
		return 1
	case Strip:
		return 2
	case Quarantine:
		return 3
	case Discard:
		return 4
	case Defer:
		return 5
	case Reject:
		return 6
	}
	return 0 // Accept
}

// Graver tells whether a is worse for the message than b.
func Graver(a, b Action) bool { return severity(a) > severity(b) }

// take replaces the decision by w when w is graver, and keeps the arithmetic.
func (v *Verdict) take(w Verdict) {
	if severity(w.Action) > severity(v.Action) {
		v.Action, v.Reason, v.Symbol, v.Detail, v.Reply = w.Action, w.Reason, w.Symbol, w.Detail, w.Reply
	}
}

// soften applies tag mode, and the exemption of postmaster.
func (v Verdict) soften(p *DomainPolicy) Verdict {
	switch {
	case p.TagMode && (v.Action == Reject || v.Action == Quarantine || v.Action == Discard || v.Action == Strip):
		v.Action = Tag
	case p.Postmaster && v.Action == Reject && v.Reason == ReasonVirus:
		v.Action = Quarantine
	case p.Postmaster && (v.Action == Reject || v.Action == Discard):
		v.Action = Tag
	}
	return v
}

// Decision is the one reply to a message, and what becomes of each recipient.
type Decision struct {
	Verdict    Verdict  // the one that the reply is made of
	By         int      // the recipient whose verdict that is
	Recipients []Action // in the order of the envelope; all alike unless Verdict accepts
	// Mixed marks recipients that were judged reject while others were not:
	// they are held, neither dropped nor bounced.
	Mixed []bool
}

// Combine makes one reply of the verdicts of several recipients: all reject,
// the worst reply; else any defer, 451 for all; else 250, and those judged
// reject are quarantined.
func Combine(verdicts []Verdict) Decision {
	d := Decision{Recipients: make([]Action, len(verdicts)), Mixed: make([]bool, len(verdicts))}
	if len(verdicts) == 0 {
		d.Verdict.Action = Accept
		return d
	}
	mildest := Reject
	for _, v := range verdicts {
		if severity(v.Action) < severity(mildest) {
			mildest = v.Action
		}
	}
	d.By = gravest(verdicts, Reject)
	if mildest != Reject {
		if k := gravest(verdicts, Defer); k >= 0 && verdicts[k].Action == Defer {
			d.By = k
		} else {
			d.mixed(verdicts)
			return d
		}
	}
	d.Verdict = verdicts[d.By]
	for k := range d.Recipients {
		d.Recipients[k] = d.Verdict.Action
	}
	return d
}

// mixed is a decision to accept: who refuses is held instead.
func (d *Decision) mixed(verdicts []Verdict) {
	d.By = gravest(verdicts, Discard)
	d.Verdict = verdicts[d.By]
	for k, v := range verdicts {
		d.Recipients[k] = v.Action
		if v.Action == Reject {
			d.Recipients[k], d.Mixed[k] = Quarantine, true
			if v.Action = Quarantine; Graver(v.Action, d.Verdict.Action) {
				d.Verdict, d.By = v, k
			}
		}
	}
}

// gravest is the first verdict of the gravest action not above limit; -1 when
// all are.
func gravest(verdicts []Verdict, limit Action) int {
	best := -1
	for k, v := range verdicts {
		if severity(v.Action) <= severity(limit) && (best < 0 || Graver(v.Action, verdicts[best].Action)) {
			best = k
		}
	}
	return best
}

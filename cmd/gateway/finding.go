package main

import (
	"context"
	"fmt"

	"mailweir/filter"
	"mailweir/filter/effect"
	"mailweir/filter/privacy"
	"mailweir/internal/recipients"
	"mailweir/mail"
	"mailweir/smtpd"

	"github.com/emersion/go-smtp"
)

// finding is the JSON of one message; its names are a public interface.
type finding struct {
	File       string          `json:"file"`
	TraceID    string          `json:"trace_id"`
	Action     filter.Action   `json:"action"`
	Reason     filter.Reason   `json:"-"` // the keys are a public interface; the text names it
	Score      float64         `json:"score"`
	Required   float64         `json:"required"`
	Reply      replyJSON       `json:"reply"`
	Recipients []recipientJSON `json:"recipients"`
	SPF        resultJSON      `json:"spf"`
	DKIM       []dkimJSON      `json:"dkim"`
	DMARC      dmarcJSON       `json:"dmarc"`
	ARC        resultJSON      `json:"arc"`
	Symbols    []symbolJSON    `json:"symbols"`
	Stages     []stageJSON     `json:"stages"`
	RulesHash  string          `json:"rules_hash"`
	Structure  structureJSON   `json:"structure"`
	// Greylist is the reply to a sender who is not known: what is remembered of
	// senders is not looked at here.
	Greylist string `json:"greylist,omitempty"`
	// Attachments are the files that were examined, each followed by what lies
	// in it; with their names, since the message is at hand.
	Attachments []attachmentJSON `json:"attachments,omitempty"`
	Privacy     []privacy.Edit   `json:"privacy,omitempty"`        // fields removed, redacted, or kept since they are signed
	Steps       []stepJSON       `json:"authentication,omitempty"` // with --explain
	Origins     []originJSON     `json:"rules,omitempty"`          // with --explain: beside Symbols
	Pivots      []filter.Pivot   `json:"pivots,omitempty"`         // with --explain, for the first recipient
	Learned     learnedJSON      `json:"learned,omitempty"`        // with --explain, where the learned filter judged
	Error       string           `json:"error,omitempty"`
}

// symbolJSON is a filter.Symbol with all its keys.
type symbolJSON struct {
	Name   string  `json:"name"`
	Score  float64 `json:"score"`
	Detail string  `json:"detail"`
	Would  float64 `json:"would_score,omitempty"` // of a rule in shadow
	// Do is what its rule does besides the score, WouldDo what one in shadow
	// would; Scope is whom a check's finding is for.
	Do      *filter.Act   `json:"do,omitempty"`
	WouldDo *filter.Act   `json:"would_do,omitempty"`
	Scope   *filter.Scope `json:"scope,omitempty"`
}

// stageJSON is a filter.CheckResult with no more keys than promised.
type stageJSON struct {
	Name     string       `json:"name"`
	State    filter.State `json:"state"`
	Cause    string       `json:"-"`
	Start    int64        `json:"start_us"`
	Duration int64        `json:"duration_us"`
}

// attachmentJSON is a filter.AttachmentFacts with the name.
type attachmentJSON struct {
	Depth   int      `json:"depth"`
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Size    int64    `json:"size"` // -1 where not all was read
	Symbols []string `json:"symbols"`
}

type replyJSON struct {
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced"`
	Text     string `json:"text"`
}

type recipientJSON struct {
	Address string          `json:"address"`
	Action  filter.Action   `json:"action"`
	Score   *float64        `json:"score,omitempty"`   // where it is another than the message's
	Effects []effect.Effect `json:"rules,omitempty"`   // what rules would do
	Symbols []symbolJSON    `json:"symbols,omitempty"` // where they are others than the message's
}

type resultJSON struct {
	Result string `json:"result"`
}

type dkimJSON struct {
	Result   string `json:"result"`
	Domain   string `json:"domain"`
	Selector string `json:"selector"`
}

type dmarcJSON struct {
	Result string `json:"result"`
	Policy string `json:"policy"`
	Domain string `json:"domain"`
}

func exitFor(a filter.Action) int {
	switch a {
	case filter.Tag, filter.Strip, filter.Quarantine:
		return 10
	case filter.Defer:
		return 20
	case filter.Reject, filter.Discard:
		return 30
	}
	return exitOK
}

func newFinding() *finding {
	return &finding{
		Recipients: []recipientJSON{}, DKIM: []dkimJSON{}, Symbols: []symbolJSON{}, Structure: structureOf(&filter.Facts{}), Stages: []stageJSON{},
		SPF: resultJSON{"skipped"}, DMARC: dmarcJSON{Result: "skipped"}, ARC: resultJSON{"skipped"},
	}
}

// refused is a message that SMTP refuses before anybody judges it.
func (c *checker) refused(env *mail.Envelope, reply *smtp.SMTPError) *finding {
	f := newFinding()
	f.Required, f.RulesHash = c.policyFor(env.Recipients[0].Path).Tag, c.rules.Hash()
	f.TraceID, f.Action, f.Reply = env.ID.String(), filter.Reject, newReply(reply)
	for _, r := range env.Recipients {
		f.Recipients = append(f.Recipients, recipientJSON{Address: string(r.Path), Action: filter.Reject})
	}
	return f
}

func newReply(e *smtp.SMTPError) replyJSON {
	return replyJSON{e.Code, fmt.Sprintf("%d.%d.%d", e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2]), e.Message}
}

// finding puts together what was found and what it means.
func (c *checker) finding(ctx context.Context, i *filter.Inspection, j *filter.Judgement, env *mail.Envelope) *finding {
	d, by, list := c.decide(ctx, i, j, env)
	reply := smtpd.ReplyFor(d, env.ID)
	if j.Header.Count("Received") > c.set.MaxHops {
		reply = smtpd.TooManyHops(env.ID)
		d.Action, d.Reason = filter.Reject, "loop"
	}
	f := newFinding()
	f.TraceID, f.Action, f.Reason, f.Reply = env.ID.String(), d.Action, d.Reason, newReply(reply)
	f.Score, f.Required, f.RulesHash = d.Score, d.Required, j.Rules
	f.SPF.Result, f.ARC.Result = or(j.Facts.SPF.Result, "skipped"), or(j.Facts.ARC.Result, "skipped")
	f.DMARC = dmarcJSON{or(j.Facts.DMARC.Result, "skipped"), j.Facts.DMARC.Policy, j.Facts.DMARC.Domain}
	f.Structure = structureOf(j.Facts)
	symbols := j.For(by)
	f.Symbols = append(f.Symbols, symbolsJSON(symbols)...)
	for _, s := range j.Facts.Checks {
		f.Stages = append(f.Stages, stageJSON(s))
	}
	for _, a := range j.Facts.Attachments {
		f.Attachments = append(f.Attachments, attachmentJSON{a.Depth, a.Shown, a.Type, a.Size, append([]string{}, a.Symbols...)})
	}
	for _, s := range j.Facts.DKIM {
		f.DKIM = append(f.DKIM, dkimJSON{s.Result, s.Domain, s.Selector})
	}
	f.Recipients = list
	f.Greylist = c.greylisted(ctx, i, j, env)
	f.Privacy = c.edits(j, env)
	if c.o.explain {
		f.Origins = origins(c.rules, j.Facts, symbols)
		f.Pivots = filter.Pivots(symbols, c.policyFor(env.Recipients[by].Path))
		f.Learned = c.bayes.Evidence(env, j.Facts)
	}
	return f
}

// greylisted is what the message would hear from greylisting if the sender were
// new; "" where it is not doubtful.
func (c *checker) greylisted(ctx context.Context, i *filter.Inspection, j *filter.Judgement, env *mail.Envelope) string {
	if c.delay == 0 || env.Client.Own {
		return ""
	}
	first := j.With(filter.Symbol{Name: filter.SymGreylistNew, Detail: filter.InWords(c.delay)})
	v, _, _ := c.decide(ctx, i, first, env)
	if v.Reason != filter.ReasonGreylist {
		return ""
	}
	r := newReply(smtpd.ReplyFor(v, env.ID))
	return fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text)
}

func symbolsJSON(list []filter.Symbol) []symbolJSON {
	out := make([]symbolJSON, len(list))
	for k, s := range list {
		out[k] = symbolJSON(s)
	}
	return out
}

// decide makes the verdict of the message, the number of the recipient whose
// verdict that is, and what becomes of each. Those that RCPT refuses have no say
// in the others' verdict.
func (c *checker) decide(ctx context.Context, i *filter.Inspection, j *filter.Judgement, env *mail.Envelope) (filter.Verdict, int, []recipientJSON) {
	list := make([]recipientJSON, len(env.Recipients))
	var refused filter.Verdict
	var judged []int
	var verdicts []filter.Verdict
	for k, r := range env.Recipients {
		list[k] = recipientJSON{Address: string(r.Path), Action: filter.Reject}
		d := c.set.Domains[mail.CanonicalDomain(r.Path.Domain())]
		if v := c.atRcpt(ctx, d, i, env, r.Path); v.Action == filter.Reject {
			refused = v
			continue
		}
		judged = append(judged, k)
		verdicts = append(verdicts, filter.Decide(j.For(k), d.PolicyFor(r.Path)))
	}
	if len(judged) == 0 {
		// The score is shown all the same: it is what tuning looks for.
		sum := filter.Decide(j.Symbols, c.policyFor(env.Recipients[0].Path))
		refused.Score, refused.Required = sum.Score, sum.Required
		return refused, 0, list
	}
	d := filter.Combine(verdicts)
	for n, k := range judged {
		list[k].Action = d.Recipients[n]
		if v := verdicts[n]; j.View(k) != j.View(judged[d.By]) {
			list[k].Score, list[k].Symbols = &v.Score, symbolsJSON(j.For(k))
		}
		if smtpd.ReplyFor(d.Verdict, env.ID).Code == 250 {
			list[k].Effects = c.effects(j, env, env.Recipients[k], verdicts[n], d.Recipients[n])
		}
	}
	return d.Verdict, judged[d.By], list
}

// effects are what rules would do with the message for a recipient.
func (c *checker) effects(j *filter.Judgement, env *mail.Envelope, r mail.Recipient, v filter.Verdict, action filter.Action) []effect.Effect {
	if len(v.Acts) == 0 || action == filter.Discard {
		return nil
	}
	routed, _ := c.set.Effects(j, env, r, v, action)
	edited := effect.Edit(j.Header, j.Header, j.Facts.DKIM, j.Facts.Header.Subject, v.Acts)
	return append(edited.Effects, routed.Effects...)
}

// atRcpt is what RCPT would have said.
func (c *checker) atRcpt(ctx context.Context, d *smtpd.Domain, i *filter.Inspection, env *mail.Envelope, p mail.Path) filter.Verdict {
	if d == nil {
		return filter.Verdict{Action: filter.Reject, Reason: filter.ReasonRelayDenied}
	}
	if v, refused := c.set.Refused(i, d, env.ReversePath, p); refused {
		return v
	}
	if c.verify && d.Recipients != nil && !p.IsPostmaster() && d.Recipients.Verify(ctx, p) == recipients.Unknown {
		return filter.Verdict{Action: filter.Reject, Reason: filter.ReasonUnknownRecipient}
	}
	return filter.Verdict{}
}

// policyFor is the policy of a recipient's domain, or of the first domain.
func (c *checker) policyFor(p mail.Path) *filter.DomainPolicy {
	if d := c.set.Domains[mail.CanonicalDomain(p.Domain())]; d != nil {
		return d.PolicyFor(p)
	}
	return c.set.Domains[""].Policy
}

// edits are what redaction would do for the first recipient that is served.
func (c *checker) edits(j *filter.Judgement, env *mail.Envelope) []privacy.Edit {
	for _, r := range env.Recipients {
		if d := c.set.Domains[mail.CanonicalDomain(r.Path.Domain())]; d != nil {
			return privacy.Redact(j.Header, j.Facts.DKIM, c.set.Redaction(d.Redact, d.SignedFields, &env.Client)).Edits
		}
	}
	return nil
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

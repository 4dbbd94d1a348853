package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"

	"mailweir/filter"
	"mailweir/mail"
	"mailweir/smtpd"
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
	Error      string          `json:"error,omitempty"`
}

// symbolJSON is a filter.Symbol with all its keys.
type symbolJSON struct {
	Name   string  `json:"name"`
	Score  float64 `json:"score"`
	Detail string  `json:"detail"`
}

// stageJSON is a filter.CheckResult with no more keys than promised.
type stageJSON struct {
	Name     string       `json:"name"`
	State    filter.State `json:"state"`
	Cause    string       `json:"-"`
	Start    int64        `json:"start_us"`
	Duration int64        `json:"duration_us"`
}

type replyJSON struct {
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced"`
	Text     string `json:"text"`
}

type recipientJSON struct {
	Address string        `json:"address"`
	Action  filter.Action `json:"action"`
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
	case filter.Tag, filter.Quarantine:
		return 10
	case filter.Defer:
		return 20
	case filter.Reject, filter.Discard:
		return 30
	}
	return exitOK
}

func (c *checker) finding(i *filter.Inspection, j *filter.Judgement, env *mail.Envelope) *finding {
	verdicts := make([]filter.Verdict, len(env.Recipients))
	for k, r := range env.Recipients {
		d := c.set.Domains[mail.CanonicalDomain(r.Path.Domain())]
		verdicts[k] = filter.Decide(j.Symbols, d.PolicyFor(r.Path))
		if v, listed := i.Listed(d.Policy); listed { // refused at RCPT already
			v.Score = verdicts[k].Score
			verdicts[k] = v
		}
	}
	d := filter.Combine(verdicts)
	reply := smtpd.ReplyFor(d.Verdict, env.ID)
	if j.Header.Count("Received") > c.set.MaxHops {
		reply = smtpd.TooManyHops(env.ID)
		d.Verdict.Action, d.Verdict.Reason = filter.Reject, "loop"
	}
	f := &finding{
		TraceID: env.ID.String(), Action: d.Verdict.Action, Reason: d.Verdict.Reason,
		Score: verdicts[0].Score, Required: verdicts[0].Required,
		Reply: replyJSON{reply.Code, fmt.Sprintf("%d.%d.%d", reply.EnhancedCode[0], reply.EnhancedCode[1], reply.EnhancedCode[2]), reply.Message},
		SPF:   resultJSON{or(j.Facts.SPF.Result, "skipped")},
		DMARC: dmarcJSON{or(j.Facts.DMARC.Result, "skipped"), j.Facts.DMARC.Policy, j.Facts.DMARC.Domain},
		ARC:   resultJSON{or(j.Facts.ARC.Result, "skipped")},
		DKIM:  []dkimJSON{}, Symbols: []symbolJSON{}, Stages: []stageJSON{}, RulesHash: j.Rules,
	}
	for _, s := range j.Symbols {
		f.Symbols = append(f.Symbols, symbolJSON(s))
	}
	for _, s := range j.Facts.Checks {
		f.Stages = append(f.Stages, stageJSON(s))
	}
	for _, s := range j.Facts.DKIM {
		f.DKIM = append(f.DKIM, dkimJSON{s.Result, s.Domain, s.Selector})
	}
	for k, r := range env.Recipients {
		f.Recipients = append(f.Recipients, recipientJSON{string(r.Path), d.Recipients[k]})
	}
	return f
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func (c *checker) print(w io.Writer, f *finding, several bool) {
	if c.o.json {
		b, err := json.Marshal(f)
		if err != nil { // NaN scores and the like cannot occur in checked rules
			b, _ = json.Marshal(finding{File: f.File, Error: err.Error()})
		}
		fmt.Fprintf(w, "%s\n", b)
		return
	}
	if f.Error != "" {
		fmt.Fprintf(w, "%s: %s\n", f.File, f.Error)
		return
	}
	if several {
		fmt.Fprintf(w, "%-10s %6.2f  %s\n", f.Action, f.Score, f.File)
		return
	}
	f.explain(w)
}

// explain is the long form: what was found, what it added up to, how long each
// stage took.
func (f *finding) explain(w io.Writer) {
	fmt.Fprintf(w, "%s: %s", f.File, f.Action)
	if f.Reason != "" {
		fmt.Fprintf(w, " (%s)", f.Reason)
	}
	fmt.Fprintf(w, "\nreply      %d %s %s\n", f.Reply.Code, f.Reply.Enhanced, f.Reply.Text)
	for _, r := range f.Recipients {
		fmt.Fprintf(w, "recipient  %s: %s\n", r.Address, r.Action)
	}
	fmt.Fprintf(w, "spf        %s\n", f.SPF.Result)
	for _, s := range f.DKIM {
		fmt.Fprintf(w, "dkim       %s %s (selector %s)\n", s.Result, s.Domain, s.Selector)
	}
	fmt.Fprintf(w, "dmarc      %s %s %s\n", f.DMARC.Result, f.DMARC.Policy, f.DMARC.Domain)
	fmt.Fprintln(w, "\nsymbols")
	for _, s := range f.Symbols {
		fmt.Fprintf(w, "  %7.2f  %-28s %s\n", s.Score, s.Name, s.Detail)
	}
	fmt.Fprintf(w, "  %7.2f  = score, tagged from %.2f (rules %s)\n", f.Score, f.Required, f.RulesHash)
	fmt.Fprintln(w, "\nstages                     start       took")
	stages := slices.Clone(f.Stages)
	sort.SliceStable(stages, func(a, b int) bool { return stages[a].Start < stages[b].Start })
	for _, s := range stages {
		fmt.Fprintf(w, "  %-14s %-8s %6.1f ms  %6.1f ms  %s\n",
			s.Name, s.State, float64(s.Start)/1000, float64(s.Duration)/1000, s.Cause)
	}
}

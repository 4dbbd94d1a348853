package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"mailweir/filter"
	"mailweir/filter/effect"
	"mailweir/filter/rules"
	"mailweir/internal/config"
	"mailweir/mail"
)

const replayHelp = `
gateway replay --config FILE [--since 7d] [--rules FILE...] [--domain D] [--json]

Weighs the facts that were recorded with past verdicts by other rules: those of
--rules, or without it those in force now. It lists the recipients who would
have got another action, or whose mail rules would have edited, sent elsewhere or
answered in another way, mail that is known to be good first: of own clients, of
[[allow]] entries, or released from the quarantine. No message is read and no
DNS asked; policies and thresholds are those of the config.

Facts say which patterns matched, and hold no text. So a pattern that is new or
changed counts as not matched, and is named.

exit status: 0 when nothing would change; 10 when something would; 20 when mail
that is known to be good would fare worse; 1 error, 2 wrong arguments.
`

// Exit codes of replay.
const (
	exitChanges = 10
	exitWorse   = 20
)

func replayCommand(_ context.Context, std stdio, args []string) (int, error) {
	a := rulesArgs{since: duration(week)}
	fs := flags(std, "replay", replayHelp)
	fs.StringVar(&a.config, "config", "", "config `FILE`")
	fs.Var(&a.since, "since", "how far to look back, a `DURATION` (12h, 7d)")
	fs.Var(&a.rules, "rules", "rules `FILE` of the draft, may be repeated; all of the set, in order")
	fs.StringVar(&a.domain, "domain", "", "mail for recipients in this `DOMAIN` only")
	fs.BoolVar(&a.json, "json", false, "print one JSON object a line, the last one a summary")
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) > 0 || a.config == "" {
		return 0, errUsage
	}
	inForce, cfg, err := a.set(nil)
	if err != nil {
		return exitError, err
	}
	draft, _, err := a.set(a.rules)
	if err != nil {
		return exitError, err
	}
	r := &replay{draft: draft, policies: policiesOf(cfg), inForce: inForce.Hash(), unseen: draft.Unseen(inForce)}
	if err := r.run(cfg, &a); err != nil {
		return exitError, err
	}
	if err := r.print(std.out, a.json); err != nil {
		return exitError, err
	}
	return r.exit(), nil
}

// change is a recipient who would have got another action.
type change struct {
	ID        string        `json:"id"`
	At        time.Time     `json:"at"`
	From      string        `json:"reverse_path"`
	Recipient string        `json:"recipient"`
	Domain    string        `json:"domain"`
	Was       filter.Action `json:"was"`
	Would     filter.Action `json:"would"`
	Score     float64       `json:"score"`
	NewScore  float64       `json:"new_score"`
	Did       []string      `json:"did,omitempty"`        // of what rules did, what would not be done
	WouldDo   []string      `json:"would_do,omitempty"`   // and what would be done besides
	Good      string        `json:"known_good,omitempty"` // why it is
	Worse     bool          `json:"worse"`
	Symbols   []weightDelta `json:"symbols"` // that count differently, the weightiest first
}

// weightDelta is a symbol with the difference that it makes.
type weightDelta struct {
	Name   string  `json:"name"`
	Change float64 `json:"change"`
}

// replay is one run over the past.
type replay struct {
	draft    *rules.Rules
	policies policies
	inForce  string
	unseen   []string

	verdicts int // messages that were weighed again
	others   int // of them, those judged by rules that are not in force now
	changes  []change
}

func (r *replay) run(cfg *config.Config, a *rulesArgs) error {
	released, err := eachVerdict(cfg, a, func(v *pastVerdict) error {
		r.weigh(v)
		return nil
	})
	for k := range r.changes {
		if c := &r.changes[k]; c.Good == "" && released[c.ID] {
			c.Good = "released"
		}
	}
	slices.SortStableFunc(r.changes, func(x, y change) int {
		return cmp.Or(-compareBool(x.Good != "" && x.Worse, y.Good != "" && y.Worse),
			-compareBool(x.Good != "", y.Good != ""), -compareBool(x.Worse, y.Worse), x.At.Compare(y.At))
	})
	return err
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// weigh judges one message again.
func (r *replay) weigh(v *pastVerdict) {
	r.verdicts++
	if v.Rules != r.inForce {
		r.others++
	}
	j := filter.Weigh(r.draft, v.Facts, v.recipients())
	verdicts := make([]filter.Verdict, 0, len(v.Accepted))
	for k, rcpt := range v.Accepted {
		p := r.policies.of(mail.Path(rcpt.Address))
		if p == nil { // of a domain that is not ours any more
			return
		}
		verdicts = append(verdicts, filter.Decide(j.For(k), p))
	}
	d := filter.Combine(verdicts)
	for k, rcpt := range v.Accepted {
		verdicts[k].Action = d.Recipients[k]
		did, would := happened(rcpt.Effects), wanted(verdicts[k])
		if d.Recipients[k] == rcpt.Action && slices.Equal(did, would) || !v.concerns(rcpt.Address) {
			continue
		}
		old := v.Symbols
		if rcpt.Symbols != nil {
			old = rcpt.Symbols
		}
		r.changes = append(r.changes, change{
			ID: v.id.String(), At: v.at, From: v.ReversePath, Recipient: rcpt.Address,
			Domain: mail.CanonicalDomain(mail.Path(rcpt.Address).Domain()),
			Was:    rcpt.Action, Would: d.Recipients[k], Score: scoreOf(old), NewScore: verdicts[k].Score,
			Did: without(did, would), WouldDo: without(would, did),
			Good: knownGood(v.Facts), Worse: filter.Graver(d.Recipients[k], rcpt.Action),
			Symbols: weightDeltas(old, j.For(k)),
		})
	}
}

// wanted are what rules do with a message that is accepted, beside the decision,
// in an order of their own.
func wanted(v filter.Verdict) (list []string) {
	if v.Action == filter.Reject || v.Action == filter.Defer || v.Action == filter.Discard {
		return nil
	}
	hop := false
	for _, a := range v.Acts {
		effects := filter.Act{Edits: a.Edits, Redirect: a.Redirect, Copy: a.Copy, AutoReply: a.AutoReply}
		if !hop {
			effects.NextHop = a.NextHop
		}
		hop = hop || a.NextHop != ""
		list = append(list, effects.Wants()...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// happened are the same of a past verdict, also where it could not be done: that
// was no matter of the rules.
func happened(effects []effect.Effect) (list []string) {
	for i := range effects {
		list = append(list, effects[i].Does)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// without is what of a list is not in another one.
func without(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) })
}

func scoreOf(symbols []filter.Symbol) (sum float64) {
	for _, s := range symbols {
		sum += s.Score
	}
	return math.Round(sum*1000) / 1000
}

// knownGood tells of mail that nobody wants to lose.
func knownGood(f *filter.Facts) string {
	if f.Client.Own {
		return "own client"
	}
	if slices.ContainsFunc(f.Symbols, func(s filter.Symbol) bool { return s.Name == filter.SymAllowed }) {
		return "allowed"
	}
	return ""
}

// weightDeltas compares two sets of symbols.
func weightDeltas(old, now []filter.Symbol) []weightDelta {
	var deltas []weightDelta
	add := func(name string, change float64) {
		k := slices.IndexFunc(deltas, func(d weightDelta) bool { return d.Name == name })
		if k < 0 {
			deltas = append(deltas, weightDelta{Name: name})
			k = len(deltas) - 1
		}
		deltas[k].Change += change
	}
	for _, s := range old {
		add(s.Name, -s.Score)
	}
	for _, s := range now {
		add(s.Name, s.Score)
	}
	deltas = slices.DeleteFunc(deltas, func(d weightDelta) bool { return math.Abs(d.Change) < 0.0005 })
	slices.SortStableFunc(deltas, func(a, b weightDelta) int { return cmp.Compare(math.Abs(b.Change), math.Abs(a.Change)) })
	return deltas
}

func (r *replay) exit() int {
	code := exitOK
	for _, c := range r.changes {
		code = max(code, exitChanges)
		if c.Good != "" && c.Worse {
			code = exitWorse
		}
	}
	return code
}

// replaySummary is the last object of --json.
type replaySummary struct {
	Draft    string        `json:"draft"`
	InForce  string        `json:"in_force"`
	Verdicts int           `json:"verdicts"`
	Others   int           `json:"judged_by_other_rules"`
	Changes  int           `json:"changes"`
	Unseen   []string      `json:"patterns_not_looked_for"`
	Groups   []changeGroup `json:"groups"`
}

// changeGroup counts changes that are alike.
type changeGroup struct {
	Was    filter.Action `json:"was"`
	Would  filter.Action `json:"would"`
	Domain string        `json:"domain"`
	Symbol string        `json:"symbol"`           // that makes the largest difference
	Effect string        `json:"effect,omitempty"` // the first one that differs, where the action does not
	Count  int           `json:"count"`
}

func (r *replay) groups() []changeGroup {
	var groups []changeGroup
	for _, c := range r.changes {
		g := changeGroup{Was: c.Was, Would: c.Would, Domain: c.Domain}
		switch {
		case c.Was == c.Would && len(c.WouldDo) > 0:
			g.Effect = "would: " + c.WouldDo[0]
		case c.Was == c.Would && len(c.Did) > 0:
			g.Effect = "would not: " + c.Did[0]
		case len(c.Symbols) > 0:
			g.Symbol = c.Symbols[0].Name
		}
		k := slices.IndexFunc(groups, func(o changeGroup) bool { o.Count = 0; return o == g })
		if k < 0 {
			groups = append(groups, g)
			k = len(groups) - 1
		}
		groups[k].Count++
	}
	slices.SortStableFunc(groups, func(a, b changeGroup) int { return cmp.Compare(b.Count, a.Count) })
	return groups
}

func (r *replay) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return r.printJSON(w)
	}
	fmt.Fprintf(w, "%d messages weighed again by %s (in force: %s), %d recipients would be treated differently\n",
		r.verdicts, r.draft.Hash(), r.inForce, len(r.changes))
	if r.others > 0 {
		fmt.Fprintf(w, "%d of them were judged by other rules than those in force now\n", r.others)
	}
	if len(r.unseen) > 0 {
		fmt.Fprintf(w, "not looked for when this mail came, taken as not matched: %s\n", strings.Join(r.unseen, ", "))
	}
	for _, g := range r.groups() {
		fmt.Fprintf(w, "%6d  %s -> %s  %s  %s\n", g.Count, g.Was, g.Would, g.Domain, g.Symbol+g.Effect)
	}
	for _, c := range r.changes {
		if err := c.print(w); err != nil {
			return err
		}
	}
	return nil
}

func (r *replay) printJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	for _, c := range r.changes {
		if err := e.Encode(c); err != nil {
			return err
		}
	}
	return e.Encode(map[string]replaySummary{"summary": {
		Draft: r.draft.Hash(), InForce: r.inForce, Verdicts: r.verdicts, Others: r.others,
		Changes: len(r.changes), Unseen: append([]string{}, r.unseen...), Groups: append([]changeGroup{}, r.groups()...),
	}})
}

func (c *change) print(w io.Writer) error {
	good := ""
	if c.Good != "" {
		good = "  KNOWN GOOD (" + c.Good + ")"
	}
	var why []string
	for _, d := range c.Symbols[:min(len(c.Symbols), 4)] {
		why = append(why, fmt.Sprintf("%s %+.2f", d.Name, d.Change))
	}
	_, err := fmt.Fprintf(w, "\n%s  %s  <%s> -> <%s>%s\n    %s %.2f -> %s %.2f   %s\n", c.At.UTC().Format(time.DateTime), c.ID, c.From, c.Recipient, good,
		c.Was, c.Score, c.Would, c.NewScore, strings.Join(why, ", "))
	for _, s := range c.Did {
		fmt.Fprintf(w, "    would not: %s\n", s)
	}
	for _, s := range c.WouldDo {
		fmt.Fprintf(w, "    would: %s\n", s)
	}
	return err
}

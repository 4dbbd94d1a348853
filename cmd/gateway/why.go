package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"mailweir/filter"
	"mailweir/filter/rules"
	"mailweir/internal/config"
	"mailweir/internal/history"
	"mailweir/mail"
	"mailweir/queue"
	"mailweir/smtpd"
)

const whyHelp = `
gateway why --config FILE ID [--json]

Explains what became of a message, refused ones too: ID is the one in the reply
to the client, in the log and in our Received field. Verdicts are kept for
history.keep (7 days). While the gateway runs and has the message in its queue
the last line says why ('gateway queue why' reads a stopped spool too); in JSON
it is an event of the kind "queue".

exit status: 0, or 1 when nothing is known of the ID.
`

func whyCommand(ctx context.Context, std stdio, args []string) (int, error) {
	fs := flags(std, "why", whyHelp)
	path := fs.String("config", "", "config `FILE`")
	asJSON := fs.Bool("json", false, "print one JSON object for each event")
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) != 1 || *path == "" {
		return 0, errUsage
	}
	id, err := mail.ParseID(rest[0])
	if err != nil {
		return exitError, err
	}
	cfg, err := loadConfig(*path)
	if err != nil {
		return exitError, err
	}
	events, err := findEvents(cfg, id)
	if err != nil {
		return exitError, err
	}
	// A message that is still here may have outlived its history.
	here, err := stillHere(ctx, cfg, id)
	if err != nil {
		return exitError, err
	}
	if len(events) == 0 && here == nil {
		return exitError, fmt.Errorf(
			"nothing is known of %s; verdicts are kept for %s, and a connection that began no transaction is only in the log", id, config.FormatDuration(cfg.History.Keep))
	}
	x := newExplainer(cfg)
	for _, e := range events {
		if *asJSON {
			err = json.NewEncoder(std.out).Encode(e)
		} else {
			err = x.event(std.out, e)
		}
		if err != nil {
			return exitError, err
		}
	}
	if here != nil {
		err = explainHere(std.out, here, *asJSON)
	}
	return exitOK, err
}

// stillHere asks the running gateway why the message is in its queue; nil when
// it is not, or nobody runs.
func stillHere(ctx context.Context, cfg *config.Config, id mail.ID) (*queue.Why, error) {
	why, err := newControl(ctx, cfg).why(id)
	switch {
	case err == nil:
		return &why, nil
	case errors.Is(err, queue.ErrNotFound), errors.Is(err, errNotRunning), errors.Is(err, fs.ErrPermission):
		return nil, nil // the history may be readable where the socket is not
	}
	return nil, err
}

func explainHere(w io.Writer, why *queue.Why, asJSON bool) error {
	now := time.Now().UTC()
	if !asJSON {
		return explainWait(w, now.Format(time.DateTime), why)
	}
	data, err := json.Marshal(why)
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(history.Entry{ID: why.ID, Kind: "queue", At: now, Data: data})
}

// findEvents waits a moment for an ID that is not there: the history is
// written in batches, and a reply that was just given is asked for at once.
func findEvents(cfg *config.Config, id mail.ID) ([]history.Entry, error) {
	keys, err := historyKeys(cfg)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(historyDelay); ; time.Sleep(100 * time.Millisecond) {
		events, err := history.Find(historyDir(cfg), keys, id)
		if err != nil || len(events) > 0 || time.Since(id.Time()) > time.Hour || time.Now().After(deadline) {
			// The verdict comes first, also when the delivery was recorded
			// in the same moment.
			slices.SortStableFunc(events, func(a, b history.Entry) int {
				if v := b.Kind == "verdict"; v != (a.Kind == "verdict") {
					if v {
						return 1
					}
					return -1
				}
				return a.At.Compare(b.At)
			})
			return events, err
		}
	}
}

// historyDelay is longer than the history holds entries back.
const historyDelay = 2500 * time.Millisecond

func (x *explainer) event(w io.Writer, e history.Entry) error {
	at := e.At.Format(time.DateTime)
	switch e.Kind {
	case "verdict":
		var r smtpd.Record
		if err := json.Unmarshal(e.Data, &r); err != nil {
			return err
		}
		x.verdict(w, at, &r)
	case "attempt":
		var a attemptRecord
		if err := json.Unmarshal(e.Data, &a); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s  delivery to <%s>: %s by %s: %s\n", at, a.Recipient, a.Result, or(a.NextHop, "nobody"), a.Reply)
		if a.Next != nil {
			fmt.Fprintf(w, "    next attempt %s\n", a.Next.Format(time.DateTime))
		}
	case "flush", "hold", "release", "delete", "bounce", "reroute":
		var a actionRecord
		if err := json.Unmarshal(e.Data, &a); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s  %s by an admin (user %d)", at, e.Kind, a.UID)
		if a.To != "" {
			fmt.Fprintf(w, ": to %s", a.To)
		}
		fmt.Fprintln(w)
	case "answer":
		var a answerRecord
		if err := json.Unmarshal(e.Data, &a); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s  answer of %s to <%s>: %s\n", at, a.Rule, a.To, or(a.Result, "sent as "+a.Sent))
	case "stripped":
		var s smtpd.Stripped
		if err := json.Unmarshal(e.Data, &s); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s  made of %s by taking attachments out\n", at, s.From)
	default:
		return errors.New("unknown kind of event: " + e.Kind)
	}
	return nil
}

// recipient tells what rules did for him, and what counts for him alone.
func (x *explainer) recipient(w io.Writer, r *smtpd.Record, rcpt *smtpd.RecipientVerdict) {
	set := x.rulesOf(r)
	for k := range rcpt.Effects {
		e := &rcpt.Effects[k]
		fmt.Fprintf(w, "        %s by %s%s\n", e, e.Rule, placeOf(set, e.Rule))
	}
	if rcpt.Symbols == nil {
		return
	}
	for _, d := range weightDeltas(r.Symbols, rcpt.Symbols) {
		fmt.Fprintf(w, "        for him %s counts %+.2f%s\n", d.Name, d.Change, placeOf(set, d.Name))
	}
}

// placeOf is where a rule stands, in brackets; "" when that is not known.
func placeOf(set *rules.Rules, symbol string) string {
	if set == nil {
		return ""
	}
	info, ok := set.Info(symbol)
	if !ok {
		return ""
	}
	return fmt.Sprintf(" (%s:%d)", info.File, info.Line)
}

// ended says in words how a check ended that did not end well.
func ended(s filter.State) string {
	if s == filter.Skipped {
		return "was skipped"
	}
	return "ended in " + string(s)
}

func (x *explainer) verdict(w io.Writer, at string, r *smtpd.Record) {
	fmt.Fprintf(w, "%s  from <%s>, client %s (%s)\n", at, r.ReversePath, or(r.Client, "unknown"), or(r.Helo, "no HELO"))
	for _, rcpt := range r.Refused {
		fmt.Fprintf(w, "    refused <%s>: %s\n", rcpt.Address, rcpt.Reply)
	}
	for _, rcpt := range r.Accepted {
		fmt.Fprintf(w, "    recipient <%s>: %s\n", rcpt.Address, or(string(rcpt.Action), "no message was judged"))
		x.recipient(w, r, &rcpt)
	}
	if r.Reply != "" {
		fmt.Fprintf(w, "    reply %s\n", r.Reply)
	}
	if r.Reason != "" {
		fmt.Fprintf(w, "    because of %s\n", strings.TrimSpace(r.Reason+" "+r.Symbol))
	}
	if r.Facts == nil {
		return
	}
	set := x.rulesOf(r)
	from := origins(set, r.Facts, r.Symbols)
	for k, s := range r.Symbols {
		printSymbol(w, "    ", s, from[k])
	}
	fmt.Fprintf(w, "    %7.2f  = score, tagged from %.2f (rules %s)\n", r.Score, r.Required, r.Rules)
	if set == nil {
		fmt.Fprintln(w, "             other rules are in force now: where these symbols come from is not known")
	}
	printPivots(w, "    ", x.pivots(r))
	for _, c := range r.Facts.Checks {
		if c.State != "ok" {
			fmt.Fprintf(w, "    %s %s: %s\n", c.Name, ended(c.State), c.Cause)
		}
	}
	if r.StrippedAs != "" {
		fmt.Fprintf(w, "    relayed without the attachment as %s; this one is held\n", r.StrippedAs)
	}
	for _, e := range r.Edits {
		fmt.Fprintf(w, "    privacy: %s %s\n", e.Name, e.Kind)
	}
	for _, name := range r.Signed {
		fmt.Fprintf(w, "    signed: %s\n", name)
	}
}

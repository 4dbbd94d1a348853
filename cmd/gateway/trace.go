package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"mailweir/internal/config"
	"mailweir/internal/events"
	"mailweir/mail"
)

const traceHelp = `
gateway trace --config FILE [--id ID] [--from ADDRESS] [--to ADDRESS]
              [--domain DOMAIN] [--since TIME] [--until TIME] [--limit N] [--json]

Tells what became of messages, newest first: one line a recipient. Several
options narrow down. --domain is the domain of sender or recipient, and so all
that the admin of a domain may see. TIME is how long ago (2h, 3d), or a day or
moment in UTC (2026-11-28, 2026-11-28T21:00:00Z). Events are kept for
events.keep (30 days); 'gateway why ID' has the whole verdict.

exit status: 0, or 1 when nothing was found.
`

// traceLimit is how many lines are printed when nothing else is said.
const traceLimit = 1000

func traceCommand(_ context.Context, std stdio, args []string) (int, error) {
	fs := flags(std, "trace", traceHelp)
	path := fs.String("config", "", "config `FILE`")
	id := fs.String("id", "", "the message with this `ID`")
	var q events.Query
	fs.StringVar(&q.From, "from", "", "messages from this `ADDRESS`")
	fs.StringVar(&q.To, "to", "", "messages to this `ADDRESS`")
	fs.StringVar(&q.Domain, "domain", "", "messages from or to this `DOMAIN`")
	since := fs.String("since", "", "messages after this `TIME`")
	until := fs.String("until", "", "messages before this `TIME`")
	fs.IntVar(&q.Limit, "limit", traceLimit, "at most `N` lines; 0: all")
	asJSON := fs.Bool("json", false, "print one JSON object a line")
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) > 0 || *path == "" {
		return 0, errUsage
	}
	if *id != "" {
		if q.ID, err = mail.ParseID(*id); err != nil {
			return exitError, err
		}
	}
	now := time.Now()
	if q.Since, err = parseMoment(*since, now); err != nil {
		return exitUsage, fmt.Errorf("--since: %w", err)
	}
	if q.Until, err = parseMoment(*until, now); err != nil {
		return exitUsage, fmt.Errorf("--until: %w", err)
	}
	cfg, err := loadConfig(*path)
	if err != nil {
		return exitError, err
	}
	found := 0
	err = events.Find(eventsDir(cfg), q, func(e *events.Event) error {
		found++
		if *asJSON {
			return json.NewEncoder(std.out).Encode(e)
		}
		return printEvent(std.out, e)
	})
	if err == nil && found == 0 {
		err = errNothing
	}
	return exitOK, err
}

// errNothing is what a search that found nothing says. Events are written in
// batches: who has just sent a message looks again.
var errNothing = errors.New("nothing was found (events are written once a second)")

// parseMoment reads a duration before now, a day, or a moment; "" is none.
func parseMoment(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339, time.DateTime} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	if d, err := config.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2h, 3d, 2026-11-28 or 2026-11-28T21:00:00Z", s)
}

func printEvent(w io.Writer, e *events.Event) error {
	_, err := fmt.Fprintf(w, "%s  %s  <%s> to <%s>  %s %s  %s %s\n", e.At.Format(time.DateTime), e.ID, e.Sender, e.Recipient,
		or(e.Action, "-"), e.Reason, e.State, e.Reply)
	return err
}

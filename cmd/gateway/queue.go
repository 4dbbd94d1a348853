package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"mailweir/internal/config"
	"mailweir/internal/fsx"
	"mailweir/queue"
)

const queueHelp = `
gateway queue list    --config FILE [--state S] [--domain D] [--json]
gateway queue show    --config FILE ID... [--json] [--message]
gateway queue flush   --config FILE [ID...]     try now (without IDs: everything)
gateway queue hold    --config FILE ID...       keep from being relayed
gateway queue release --config FILE ID...       relay what is held or quarantined
gateway queue delete  --config FILE ID...       drop for good

list and show also read the spool of a gateway that is not running; the others
need the running one. States: queued, active, deferred, held.

exit status: 0, or 1 when something could not be done.
`

// queueArgs are the flags of all queue commands.
type queueArgs struct {
	config, state, domain string
	json, message         bool
}

func queueCommand(ctx context.Context, std stdio, args []string) (int, error) {
	var a queueArgs
	fs := flags(std, "queue", queueHelp)
	fs.StringVar(&a.config, "config", "", "config `FILE`")
	fs.StringVar(&a.state, "state", "", "list only messages in this `STATE`")
	fs.StringVar(&a.domain, "domain", "", "list only messages with a recipient in this `DOMAIN`")
	fs.BoolVar(&a.json, "json", false, "print one JSON object a line")
	fs.BoolVar(&a.message, "message", false, "show: print the message itself")
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) == 0 || a.config == "" {
		return 0, errUsage
	}
	cfg, err := loadConfig(a.config)
	if err != nil {
		return exitError, err
	}
	verb, ids := rest[0], rest[1:]
	switch verb {
	case "list":
		return listQueue(ctx, std.out, cfg, &a)
	case "show":
		return showQueue(ctx, std, cfg, ids, &a)
	case "flush", "hold", "release", "delete":
		return actOnQueue(ctx, std, cfg, verb, ids, a.json)
	}
	return 0, errUsage
}

func listQueue(ctx context.Context, w io.Writer, cfg *config.Config, a *queueArgs) (int, error) {
	n := 0
	each := func(i queue.Item) error {
		n++
		return printItem(w, &i, a.json)
	}
	query := url.Values{"state": {a.state}, "domain": {a.domain}}
	body, err := newControl(cfg).get(ctx, "/queue?"+query.Encode())
	switch {
	case errors.Is(err, errNotRunning):
		err = eachStopped(cfg, queueFilter(query), each)
	case err == nil:
		err = lines(body, each)
	}
	if err != nil {
		return exitError, err
	}
	if !a.json {
		fmt.Fprintf(w, "%d messages\n", n)
	}
	return exitOK, nil
}

// eachStopped reads the spool of a gateway that does not run.
func eachStopped(cfg *config.Config, f queue.Filter, each func(queue.Item) error) error {
	items, err := queue.Inspect(fsx.OS{}, spoolDir(cfg), f)
	if err != nil {
		return err
	}
	for _, i := range items {
		if err := each(i); err != nil {
			return err
		}
	}
	return nil
}

func printItem(w io.Writer, i *queue.Item, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(i)
	}
	state := string(i.State)
	if i.Reason != "" {
		state += " (" + i.Reason + ")"
	}
	_, err := fmt.Fprintf(w, "%s  %s  %8d  %s\n    from <%s>", i.ID, i.Arrived.Format(time.DateTime), i.Size, state, i.ReversePath)
	if i.NextAttempt != nil {
		fmt.Fprintf(w, ", next attempt %s, %d so far", i.NextAttempt.Format(time.DateTime), i.Attempts)
	}
	fmt.Fprintln(w)
	for _, r := range i.Recipients {
		fmt.Fprintf(w, "    to <%s> %s %s %s\n", r.Address, r.State, r.NextHop, r.Reply)
	}
	return err
}

func showQueue(ctx context.Context, std stdio, cfg *config.Config, ids []string, a *queueArgs) (int, error) {
	if len(ids) == 0 {
		return 0, errUsage
	}
	code := exitOK
	for _, id := range ids {
		if err := showOne(ctx, std.out, cfg, id, a); err != nil {
			fmt.Fprintf(std.err, "%s: %v\n", id, err)
			code = exitError
		}
	}
	return code, nil
}

func showOne(ctx context.Context, w io.Writer, cfg *config.Config, id string, a *queueArgs) error {
	c := newControl(cfg)
	if a.message {
		body, err := c.get(ctx, "/queue/"+url.PathEscape(id)+"/message")
		if err != nil {
			return err
		}
		defer body.Close()
		_, err = io.Copy(w, body)
		return err
	}
	show := func(i queue.Item) error { return printItem(w, &i, a.json) }
	body, err := c.get(ctx, "/queue/"+url.PathEscape(id))
	if !errors.Is(err, errNotRunning) {
		if err != nil {
			return err
		}
		return lines(body, show)
	}
	found := false
	err = eachStopped(cfg, queue.Filter{}, func(i queue.Item) error {
		if i.ID.String() != id {
			return nil
		}
		found = true
		return show(i)
	})
	if err == nil && !found {
		err = queue.ErrNotFound
	}
	return err
}

func actOnQueue(ctx context.Context, std stdio, cfg *config.Config, verb string, ids []string, asJSON bool) (int, error) {
	if len(ids) == 0 && verb != "flush" {
		return 0, errUsage
	}
	body, err := newControl(cfg).post(ctx, "/queue/"+verb, ids)
	if err != nil {
		return exitError, err
	}
	code := exitOK
	err = lines(body, func(r actionResult) error {
		if !r.OK {
			code = exitError
		}
		switch {
		case asJSON:
			return json.NewEncoder(std.out).Encode(r)
		case r.OK:
			fmt.Fprintf(std.out, "%s: %s\n", r.ID, map[string]string{
				"flush": "due now", "hold": "held", "release": "released", "delete": "deleted"}[verb])
		default:
			fmt.Fprintf(std.err, "%s: %s\n", r.ID, r.Error)
		}
		return nil
	})
	return code, err
}

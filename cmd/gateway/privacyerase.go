package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"mailweir/internal/events"
	"mailweir/internal/logfile"
	"mailweir/queue"
)

// erase says what went, and what stays. Messages go first: their end is an event,
// which must not come after the others were erased.
func (p *person) erase(ctx context.Context, w io.Writer) (int, error) {
	stays, err := p.eraseMessages(ctx, w)
	if err != nil {
		return exitError, err
	}
	if err := newControl(ctx, p.cfg).settle(); err != nil {
		return exitError, err
	}
	n, err := events.Erase(eventsDir(p.cfg), p.address)
	if err != nil {
		return exitError, err
	}
	fmt.Fprintf(w, "events: %d erased\n", n)
	if err := p.eraseLines(w); err != nil {
		return exitError, err
	}
	lessons, damaged, err := p.eraseLessons(ctx)
	if err != nil {
		return exitError, err
	}
	fmt.Fprintf(w, "learned: %d messages forgotten\n", lessons)
	more, err := p.elsewhere()
	if err != nil {
		return exitError, err
	}
	stays = slices.Concat(stays, damaged, more)
	for _, s := range stays {
		fmt.Fprintln(w, "stays:", s)
	}
	if len(stays) > 0 {
		return exitError, nil
	}
	return exitOK, nil
}

func (p *person) eraseLines(w io.Writer) error {
	files, err := p.files()
	if err != nil {
		return err
	}
	for _, class := range []string{"history", "log", "report"} {
		do, total := logfile.Erase, 0
		if class == "report" {
			do = logfile.Mask // a report whose line is gone would be sent again
		}
		for _, f := range files[class] {
			n, err := do(f.path, f.mentions)
			if total += n; err != nil {
				return err
			}
		}
		fmt.Fprintf(w, "%s: %d lines erased\n", class, total)
	}
	return nil
}

// eraseMessages ends what is held for the address alone or from it, and makes
// it unreadable, with all else that is over.
func (p *person) eraseMessages(ctx context.Context, w io.Writer) (stays []string, err error) {
	var ids []string
	err = p.messages(ctx, func(i *queue.Item) error {
		switch {
		case i.State != queue.Held:
			stays = append(stays, fmt.Sprintf("message %s, which is on its way (%s)", i.ID, i.State))
		case !p.owns(i):
			stays = append(stays, fmt.Sprintf("message %s, which is held for others, too", i.ID))
		default:
			ids = append(ids, i.ID.String())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	e, err := newControl(ctx, p.cfg).erase(p.address, ids)
	if errors.Is(err, errNotRunning) {
		n, err := p.eraseAnswers()
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(w, "answers: %d erased\n", n)
		if len(ids) > 0 {
			stays = append(stays, fmt.Sprintf("%d held messages: the gateway, which erases them, is not running", len(ids)))
		}
		return append(stays, "the text of messages that are over, in the spool: the gateway, which makes it unreadable, is not running"), nil
	}
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(w, "answers: %d erased\nmessages: %d erased\n", e.answers, e.messages)
	if len(e.stays) == 0 {
		fmt.Fprintf(w, "spool: what is over, these included, can be read with no key\n")
	}
	return append(stays, e.stays...), nil
}

// owns reports a message that nobody else has a part in, or that the address
// has sent.
func (p *person) owns(i *queue.Item) bool {
	if strings.EqualFold(string(i.ReversePath), p.address) {
		return true
	}
	return !slices.ContainsFunc(i.Recipients, func(r queue.ItemRecipient) bool {
		return r.State == queue.Pending && !strings.EqualFold(string(r.Address), p.address)
	})
}

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"io"

	"mailweir/filter/bayes"
	"mailweir/internal/events"
	"mailweir/internal/logfile"
	"mailweir/mail"
	"mailweir/queue"
)

// exported is a line of an export.
type exported struct {
	Class string `json:"class"`
	Data  any    `json:"data"`
}

func (p *person) export(ctx context.Context, w io.Writer) (int, error) {
	found := 0
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	print := func(class string, data any) error {
		found++
		return out.Encode(exported{class, data})
	}
	for _, part := range []func(context.Context, func(string, any) error) error{p.exportEvents, p.exportLines, p.exportMessages, p.exportHashed, p.exportEntries} {
		if err := part(ctx, print); err != nil {
			return exitError, err
		}
	}
	if found == 0 {
		return exitError, nil
	}
	return exitOK, nil
}

func (p *person) exportEvents(_ context.Context, print func(string, any) error) error {
	type row struct{ id, recipient string }
	seen := map[row]bool{}
	for _, q := range []events.Query{{From: p.address}, {To: p.address}, {Told: p.address}} {
		err := events.Find(eventsDir(p.cfg), q, func(e *events.Event) error {
			r := row{e.ID.String(), e.Recipient}
			if seen[r] {
				return nil
			}
			seen[r] = true
			return print("event", e)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *person) exportLines(_ context.Context, print func(string, any) error) error {
	files, err := p.files()
	if err != nil {
		return err
	}
	for _, class := range []string{"history", "log", "report"} {
		for _, f := range files[class] {
			err := logfile.Each(f.path, f.mentions, func(line []byte) error {
				if json.Valid(line) {
					return print(class, json.RawMessage(line))
				}
				return print(class, string(line))
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *person) exportMessages(ctx context.Context, print func(string, any) error) error {
	return p.messages(ctx, func(i *queue.Item) error { return print("queue", i) })
}

func (p *person) exportHashed(ctx context.Context, print func(string, any) error) error {
	err := p.lessons(ctx, func(s *bayes.Store) error {
		for _, r := range s.By(p.address) {
			if err := print("learned", r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	answers, err := p.answers()
	if err != nil {
		return err
	}
	for _, a := range answers {
		if err := print("answer", a); err != nil {
			return err
		}
	}
	if !mail.ValidDomain(p.domain(), false) { // an address literal has no reputation
		return nil
	}
	r, known, err := lookReputation(p.cfg, p.domain())
	if err != nil || !known {
		return err
	}
	return print("reputation", r)
}

func (p *person) exportEntries(_ context.Context, print func(string, any) error) error {
	entries, err := p.entries()
	for _, e := range entries {
		err = cmp.Or(err, print("access", e))
	}
	return err
}

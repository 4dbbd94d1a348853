package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"mailweir/filter/access"
	"mailweir/internal/config"
	"mailweir/internal/events"
	"mailweir/internal/history"
	"mailweir/internal/logfile"
	"mailweir/internal/pseudonym"
	"mailweir/mail"
	"mailweir/queue"
)

const privacyHelp = `
gateway privacy export --config FILE ADDRESS
gateway privacy erase  --config FILE ADDRESS [--yes]

export prints all that is kept of a mail address, one JSON object a line: its
class ("event", "history", "log", "queue", "access") and what there is. Messages are named,
not printed: 'gateway queue show --message ID' prints one.

erase removes it: events and lines of history and log at once, whoever else they
tell of; and messages that are held for the address alone, or from it, with the
DSNs that tell of these. It asks first; --yes answers. Twice is as good as once:
what the running gateway had not written yet is found by the second time. Where
the spool is encrypted the keys of all messages that are over are destroyed, so
that none of them can be read any more; this takes a while when many wait in the
queue, which are sealed anew. What cannot be erased is named: messages on their
way, or held for others too; [[allow]] and [[block]] entries, which an admin has
made and can remove; and the text of messages that are over in a spool
that is not encrypted.

exit status: export: 0, or 1 when there is nothing. erase: 0 when nothing of the
address is left, 1 when something stays, or was not confirmed.
`

func privacyCommand(ctx context.Context, std stdio, args []string) (int, error) {
	fs := flags(std, "privacy", privacyHelp)
	path := fs.String("config", "", "config `FILE`")
	yes := fs.Bool("yes", false, "do not ask")
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) != 2 || *path == "" {
		return 0, errUsage
	}
	address, err := parseAddress(rest[1])
	if err != nil || !strings.Contains(string(address), "@") {
		return exitError, fmt.Errorf("%q is no mail address", rest[1])
	}
	cfg, err := loadConfig(*path)
	if err != nil {
		return exitError, err
	}
	p, err := newPerson(cfg, string(address))
	if err != nil {
		return exitError, err
	}
	switch rest[0] {
	case "export":
		return p.export(ctx, std.out)
	case "erase":
		if !*yes && (!isTerminal(std.in) || !ask(std.in, std.err, "erase what is kept of %s?", address)) {
			return exitError, errors.New("not confirmed, nothing was done: add --yes")
		}
		return p.erase(ctx, std.out)
	}
	return 0, errUsage
}

// person is an address, and how the files that are kept spell it.
type person struct {
	cfg      *config.Config
	address  string
	mentions *logfile.Mentions
}

func newPerson(cfg *config.Config, address string) (*person, error) {
	names, err := pseudonym.All(logKeys(cfg), pseudonym.Mail, address)
	if err != nil {
		return nil, err
	}
	words := []string{address}
	for _, name := range names {
		words = append(words, name)
	}
	return &person{cfg, address, logfile.NewMentions(words...)}, nil
}

// lineFile is a file with a line for each thing kept, and how lines in it
// mention the address.
type lineFile struct {
	path     string
	mentions *logfile.Mentions
}

// files are those of lines, by class.
func (p *person) files() (map[string][]lineFile, error) {
	all := map[string][]lineFile{}
	days, err := history.Days(historyDir(p.cfg))
	if err != nil {
		return nil, err
	}
	keys, err := historyKeys(p.cfg)
	if err != nil {
		return nil, err
	}
	for _, path := range slices.Sorted(maps.Keys(days)) {
		all["history"] = append(all["history"], lineFile{path, p.mentions.Through(history.Opener(keys, days[path]))})
	}
	logs, err := logfile.Files(string(p.cfg.Log.Dir))
	for _, f := range logs {
		all["log"] = append(all["log"], lineFile{f.Path, p.mentions})
	}
	return all, err
}

// messages are those in the queue that are from or for the address.
func (p *person) messages(ctx context.Context, each func(*queue.Item) error) error {
	seen := map[mail.ID]bool{}
	return readQueue(ctx, p.cfg, func(q queueReader) error {
		for _, f := range []queue.Filter{{Reverse: mail.Path(p.address)}, {Recipient: mail.Path(p.address)}} {
			err := q.list(f, func(i queue.Item) error {
				if seen[i.ID] {
					return nil
				}
				seen[i.ID] = true
				return each(&i)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// entries are those of both lists that are about the address, or for it.
func (p *person) entries() (list []*accessJSON, err error) {
	about, err := access.Parse(p.address)
	if err != nil {
		return nil, err
	}
	for _, kind := range []access.Kind{access.Allow, access.Block} {
		all, err := accessJSONs(p.cfg, kind)
		if err != nil {
			return nil, err
		}
		for _, e := range all {
			if e.What == about.What() || slices.Contains(strings.Split(e.For, ", "), about.What()) {
				list = append(list, e)
			}
		}
	}
	return list, nil
}

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
	for _, q := range []events.Query{{From: p.address}, {To: p.address}} {
		err := events.Find(eventsDir(p.cfg), q, func(e *events.Event) error { return print("event", e) })
		if err != nil {
			return exitError, err
		}
	}
	files, err := p.files()
	if err != nil {
		return exitError, err
	}
	for _, class := range []string{"history", "log"} {
		for _, f := range files[class] {
			err := logfile.Each(f.path, f.mentions, func(line []byte) error {
				if json.Valid(line) {
					return print(class, json.RawMessage(line))
				}
				return print(class, string(line))
			})
			if err != nil {
				return exitError, err
			}
		}
	}
	if err := p.messages(ctx, func(i *queue.Item) error { return print("queue", i) }); err != nil {
		return exitError, err
	}
	entries, err := p.entries()
	if err != nil {
		return exitError, err
	}
	for _, e := range entries {
		if err := print("access", e); err != nil {
			return exitError, err
		}
	}
	if found == 0 {
		return exitError, nil
	}
	return exitOK, nil
}

// erase says what went, and what stays.
func (p *person) erase(ctx context.Context, w io.Writer) (int, error) {
	n, err := events.Erase(eventsDir(p.cfg), p.address)
	if err != nil {
		return exitError, err
	}
	fmt.Fprintf(w, "events: %d erased\n", n)
	files, err := p.files()
	if err != nil {
		return exitError, err
	}
	for _, class := range []string{"history", "log"} {
		total := 0
		for _, f := range files[class] {
			n, err := logfile.Erase(f.path, f.mentions)
			if total += n; err != nil {
				return exitError, err
			}
		}
		fmt.Fprintf(w, "%s: %d lines erased\n", class, total)
	}
	stays, err := p.eraseMessages(ctx, w)
	if err != nil {
		return exitError, err
	}
	entries, err := p.entries()
	if err != nil {
		return exitError, err
	}
	for _, e := range entries {
		how := fmt.Sprintf("gateway %s remove %s", e.List, e.What)
		if e.From == "config" {
			how = "it is in the config"
		}
		stays = append(stays, fmt.Sprintf("%s entry about %s: %s", e.List, e.What, how))
	}
	for _, s := range stays {
		fmt.Fprintln(w, "stays:", s)
	}
	if len(stays) > 0 {
		return exitError, nil
	}
	return exitOK, nil
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
	erased, left, err := newControl(ctx, p.cfg).erase(ids)
	if errors.Is(err, errNotRunning) {
		if len(ids) > 0 {
			stays = append(stays, fmt.Sprintf("%d held messages: the gateway, which erases them, is not running", len(ids)))
		}
		return append(stays, "the text of messages that are over, in the spool: the gateway, which makes it unreadable, is not running"), nil
	}
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(w, "messages: %d erased\n", erased)
	if len(left) == 0 {
		fmt.Fprintf(w, "spool: what is over, these included, can be read with no key\n")
	}
	return append(stays, left...), nil
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

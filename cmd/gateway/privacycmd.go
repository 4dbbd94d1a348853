package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mailweir/filter/access"
	"mailweir/internal/config"
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
class ("event", "history", "log", "report", "queue", "learned", "answer",
"reputation", "access") and what there is. Messages are named, not printed:
'gateway queue show --message ID' prints one. Messages that were learned are named
by the day, since no text of them is kept. "reputation" is of the whole domain.

erase removes it: events and lines of history and log at once, whoever else they
tell of, also those that the running gateway has not written yet; the address
from journals of DMARC reports; what was learned from messages whose author it
is; that it was answered; and messages that are held for it alone, or from it,
with the DSNs that tell of these. It asks first; --yes answers. Twice is as good
as once. Where the spool is encrypted the keys of all messages that are over are
destroyed, so that none of them can be read any more; this takes a while when
many wait in the queue, which are sealed anew.

The reputation of its domain is of all who send from there, and is kept. What
cannot be erased is named: messages on their way, or held for others too; the
text of messages that are over in a spool that is not encrypted, and what damage
has put aside there; a log on standard error with addresses as they are; and
what an admin has made and can remove: users who may log in, [[allow]] and
[[block]] entries.

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
		if err := newControl(ctx, cfg).settle(); err != nil {
			return exitError, err
		}
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
	if err != nil {
		return nil, err
	}
	all["report"], err = p.reports()
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

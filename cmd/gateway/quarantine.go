package main

import (
	"context"
	"errors"

	"mailweir/queue"
)

const quarantineHelp = `
gateway quarantine list    [FILTER...] [--json]      what is held, and why
gateway quarantine show    ID... [--json] [--message]
gateway quarantine release ID...|FILTER...           relay it; a message that has been
                                                     released already is not relayed twice
gateway quarantine delete  ID...|FILTER...           drop it for good, nobody is told

All take --config FILE. It is 'gateway queue' for messages in the state held:
quarantined by the policy (quarantine:SYMBOL), held since nobody could be told of
a failure (undeliverable), or held by hand. FILTER and --yes are those of 'gateway
queue', without --state. What is held goes after queue.quarantine (30
days).

'gateway why ID' tells which rules and checks held a message.

exit status: 0 all was done, or there was nothing to do; 1 something could not be
done, was not confirmed, or is not held; 2 wrong arguments.
`

// quarantineVerbs are those of the queue that make sense for held messages.
var quarantineVerbs = map[string]bool{"list": true, "show": true, "release": true, "delete": true}

func quarantineCommand(ctx context.Context, std stdio, args []string) (int, error) {
	var a queueArgs
	fs := flags(std, "quarantine", quarantineHelp)
	fs.StringVar(&a.config, "config", "", "config `FILE`")
	fs.BoolVar(&a.json, "json", false, "print one JSON object a line")
	fs.BoolVar(&a.message, "message", false, "show: print the message itself")
	fs.BoolVar(&a.yes, "yes", false, "do not ask")
	defineFilter(fs)
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) == 0 || a.config == "" || !quarantineVerbs[rest[0]] {
		return 0, errUsage
	}
	a.verb, a.ids = rest[0], rest[1:]
	if err := a.check(fs); err != nil {
		return exitUsage, err
	}
	if a.filter.State != "" {
		return exitUsage, errors.New("--state is always held here")
	}
	a.filter.State = queue.Held
	cfg, err := loadConfig(a.config)
	if err != nil {
		return exitError, err
	}
	return queueVerbs[a.verb](ctx, std, cfg, &a)
}

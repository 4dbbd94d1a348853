package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"mailweir/internal/config"
	"mailweir/mail"
	"mailweir/queue"
)

const queueHelp = `
gateway queue list    [FILTER...] [--json]      what is in the queue (mailq, postqueue -p, -j)
gateway queue summary [FILTER...] [--json]      recipients by domain and age (qshape)
gateway queue show    ID... [--json] [--message]
                                                one message, or its text (postcat -q)
gateway queue why     ID... [--json]            why it is still here
gateway queue flush   [ID...|FILTER...]         try now; without arguments everything
                                                (postqueue -f, -i ID, -s DOMAIN)
gateway queue hold    ID...|FILTER...           keep from being relayed (postsuper -h)
gateway queue release ID...|FILTER...           relay what is held or quarantined (postsuper -H)
gateway queue delete  ID...|FILTER...           drop for good, nobody is told (postsuper -d)
gateway queue bounce  ID...|FILTER...           fail now, with a DSN where one may go; where
                                                not it is held as undeliverable
gateway queue reroute ID...|FILTER... --to HOST:PORT
                                                send to another next hop from now on, over
                                                restarts too; --to config ends that
gateway queue key     new FILE | rotate         make, or change, the key of an encrypted spool
                                                (gateway queue key --help)

All but key new take --config FILE. A FILTER is --state, --domain,
--reverse-path, --recipient, --older-than or --all; several narrow down. Verbs
act on whole messages, also on recipients that no filter named. "-" in place of
IDs reads them from standard input, one a line.

A verb with a filter (but flush) tells how many messages it found and asks
before it acts; delete and bounce, which cannot be undone, ask for named IDs too.
--yes answers; without a terminal to ask on it is needed. What a filter no longer
selects when its turn comes is left alone.

list, show, why and summary also read the spool of a gateway that is not
running, and key rotate changes it; the others need the running one. States:
queued, active, deferred, held. --json prints one object a line. Each act leaves
a line in the log, with the user who asked, and an event that 'gateway why ID'
shows.

exit status: 0 all was done, or there was nothing to do; 1 something could not
be done, or was not confirmed; 2 wrong arguments.
`

// queueArgs are the arguments of all queue commands.
type queueArgs struct {
	config, to         string
	json, message, yes bool

	verb   string
	ids    []string
	filter queue.Filter
	given  bool // a filter
}

// queueVerbs says how each verb is run.
var queueVerbs = map[string]func(context.Context, stdio, *config.Config, *queueArgs) (int, error){
	"list": listQueue, "summary": summarizeQueue, "show": showQueue, "why": whyQueue,
	"flush": actOnQueue, "hold": actOnQueue, "release": actOnQueue,
	"delete": actOnQueue, "bounce": actOnQueue, "reroute": actOnQueue,
}

func queueCommand(ctx context.Context, std stdio, args []string) (int, error) {
	if len(args) > 0 && args[0] == "key" {
		return keyCommand(ctx, std, args[1:])
	}
	var a queueArgs
	fs := flags(std, "queue", queueHelp)
	fs.StringVar(&a.config, "config", "", "config `FILE`")
	fs.BoolVar(&a.json, "json", false, "print one JSON object a line")
	fs.BoolVar(&a.message, "message", false, "show: print the message itself")
	fs.BoolVar(&a.yes, "yes", false, "do not ask")
	fs.StringVar(&a.to, "to", "", "reroute: the next hop, `HOST:PORT`")
	defineFilter(fs)
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) == 0 || a.config == "" {
		return 0, errUsage
	}
	a.verb, a.ids = rest[0], rest[1:]
	run := queueVerbs[a.verb]
	if run == nil {
		return 0, errUsage
	}
	if err := a.check(fs); err != nil {
		return exitUsage, err
	}
	cfg, err := loadConfig(a.config)
	if err != nil {
		return exitError, err
	}
	return run(ctx, std, cfg, &a)
}

// check refuses arguments that make no sense together: what was meant is not
// guessed.
func (a *queueArgs) check(fs *flag.FlagSet) (err error) {
	if a.filter, a.given, err = filterOf(fs); err != nil {
		return err
	}
	named := len(a.ids) > 0
	switch a.verb {
	case "list", "summary":
		if named {
			return fmt.Errorf("%s takes no IDs: `queue show` does", a.verb)
		}
	case "show", "why":
		if !named || a.given {
			return fmt.Errorf("%s takes IDs, and no filter", a.verb)
		}
	case "flush":
	default:
		if !named && !a.given {
			return fmt.Errorf("%s what? IDs, a filter, or --all", a.verb)
		}
	}
	if named && a.given {
		return errors.New("either IDs or a filter, not both")
	}
	if a.message && a.verb != "show" {
		return errors.New("--message belongs to show")
	}
	if (a.verb == "reroute") != (a.to != "") {
		return errors.New("reroute, and only reroute, takes --to HOST:PORT")
	}
	if a.to != "" {
		_, err = nextHop(a.to)
	}
	return err
}

// messages is a number of them.
func messages(n int) string {
	if n == 1 {
		return "1 message"
	}
	return fmt.Sprintf("%d messages", n)
}

// eachID calls f with each ID; what fails is said, and the others go on.
func eachID(std stdio, ids []string, f func(mail.ID) error) int {
	code := exitOK
	for _, s := range ids {
		id, err := mail.ParseID(s)
		if err == nil {
			err = f(id)
		}
		if err != nil {
			fmt.Fprintf(std.err, "%s: %v\n", s, err)
			code = exitError
		}
	}
	return code
}

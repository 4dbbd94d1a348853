// Command gateway is Mailweir: a mail gateway that judges messages while they
// arrive, makes them durable before it says so, and relays them.
//
// This package only wires the others together; see docs/flow.md for the way of
// one message.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"mailweir/filter/access"
)

// version is set by the linker (-X main.version=...).
var version = "devel"

// Exit codes beside those of `check`, which its help lists.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// command is one subcommand. run returns the exit code; an error is printed
// and means exitError.
type command struct {
	name, args, summary string
	run                 func(ctx context.Context, std stdio, args []string) (int, error)
}

// stdio is what a command reads and writes, so that tests can look.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// errUsage tells main that the arguments were wrong and the usage is printed.
var errUsage = errors.New("usage")

func commands() []command {
	return []command{
		{"run", "--config FILE", "run the gateway", runCommand},
		{"check", "--config FILE FILE|DIR|-...", "judge messages without delivering them", checkCommand},
		{"eval", "[--config FILE] --spam DIR --ham DIR", "tell how good the verdicts on known mail are", evalCommand},
		{"learn", "--config FILE --spam|--ham|--forget FILE|DIR|-...", "teach the learned filter what is spam and what is ham", learnCommand},
		{"auth", "trace --config FILE DOMAIN", "show SPF, DKIM and DMARC of a domain, and what is wrong with them", authCommand},
		{"dkim", "keygen --domain DOMAIN --selector NAME | check --config FILE", "make a key to sign mail with; compare keys with DNS", dkimCommand},
		{"dmarc", "reports list|show|send --config FILE [--day DAY] [DOMAIN...]", "look at DMARC aggregate reports, and send them", dmarcCommand},
		{"demo", "[--serve]", "gateway and sink on loopback, with a few messages sent through", demoCommand},
		{"config", "check|show --config FILE", "test a config file, or show what it comes to", configCommand},
		{"queue", "list|summary|show|why|flush|hold|release|delete|bounce|reroute --config FILE [ID...|FILTER...]", "look at the queue and work on it", queueCommand},
		{"quarantine", "list|show|release|delete --config FILE [ID...|FILTER...]", "look at what is held, and let it go or drop it", quarantineCommand},
		{"privacy", "export|erase --config FILE ADDRESS", "show or erase what is kept of a mail address", privacyCommand},
		{"stats", "--config FILE [--since TIME] [--threshold K] [--json]", "count mail by hour, domain and action, without telling of anybody", statsCommand},
		{"trace", "--config FILE [--id ID] [--from|--to ADDRESS] [--domain DOMAIN] [--since TIME]", "find out what became of messages", traceCommand},
		{"rules", "check|show|test|hits [--config FILE] [FILE|SYMBOL|CASE...]", "test rules, and see what they do", rulesCommand},
		{"reputation", "show|forget --config FILE DOMAIN|ADDRESS", "tell, or drop, what is remembered of a sender", reputationCommand},
		{"allow", accessArguments, "exempt a network, or an authenticated author, from rejection", accessCommand(access.Allow)},
		{"block", accessArguments, "have mail of a network, or of an authenticated author, refused", accessCommand(access.Block)},
		{"replay", "--config FILE [--since 7d] [--rules FILE...]", "tell what other rules would have done to recent mail", replayCommand},
		{"why", "--config FILE ID", "explain what became of a message", whyCommand},
		{"log", "find|verify-retention --config FILE [--address ADDRESS]", "find an address in the log, or prove that nothing is kept too long", logCommand},
		{"passwd", "USER", "make a line for the file of those who may send mail", passwdCommand},
		{"version", "", "print the version", versionCommand},
	}
}

func main() {
	// SIGTERM and SIGINT end every command in order; `run` handles SIGHUP.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := dispatch(ctx, stdio{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}

func dispatch(ctx context.Context, std stdio, args []string) int {
	if len(args) == 0 {
		usage(std.err)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		usage(std.out)
		return exitOK
	case "-version", "--version":
		args[0] = "version"
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.call(ctx, std, args[1:])
		}
	}
	fmt.Fprintf(std.err, "gateway: no command %q\n\n", args[0])
	usage(std.err)
	return exitUsage
}

func (c command) call(ctx context.Context, std stdio, args []string) int {
	code, err := c.run(ctx, std, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errUsage):
		fmt.Fprintf(std.err, "usage: gateway %s\n'gateway %s --help' tells more\n", strings.TrimSpace(c.name+" "+c.args), c.name)
		return exitUsage
	case err != nil:
		fmt.Fprintf(std.err, "gateway %s: %v\n", c.name, err)
		return max(code, exitError)
	}
	return code
}

func usage(w io.Writer) {
	fmt.Fprint(w, "Mailweir, a mail gateway.\n\nusage: gateway COMMAND [FLAG...]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s  %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "\n'gateway COMMAND --help' tells more; 'gateway demo' shows it at work.\n")
}

// flags makes a command's flag set: text is what --help says above the flags.
func flags(std stdio, name, text string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(std.err)
	fs.Usage = func() {
		fs.SetOutput(std.out)
		fmt.Fprintln(std.out, strings.TrimSpace(text))
		fmt.Fprintln(std.out, "\nflags:")
		fs.PrintDefaults()
	}
	return fs
}

// parse reads flags that may stand before or behind the arguments, and returns
// the arguments.
func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	var rest []string
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, errUsage // flag has printed what is wrong
		}
		if fs.NArg() == 0 {
			return rest, nil
		}
		// "-" is standard input, and what follows "--" is no flag.
		used := len(args) - fs.NArg()
		if used > 0 && args[used-1] == "--" {
			return append(rest, fs.Args()...), nil
		}
		rest = append(rest, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

func versionCommand(_ context.Context, std stdio, args []string) (int, error) {
	fs := flags(std, "version", "gateway version prints the version of the program.")
	if _, err := parse(fs, args); err != nil {
		return 0, err
	}
	fmt.Fprintln(std.out, "mailweir", version)
	return exitOK, nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

const (
	exitError = 1
	exitUsage = 2
)

// errUsage: the arguments were wrong, and the flag package has said how.
var errUsage = errors.New("usage")

const mainHelp = `
usage: go run ./bench [report] [FLAG...]   measure the gateway of this tree
       go run ./bench source [FLAG...]     load generator, to any SMTP server
       go run ./bench sink [FLAG...]       next hop that takes everything
       go run ./bench message [FLAG...]    write the signed message that is sent
       go run ./bench -peers DIR           beside other mail systems

'go run ./bench COMMAND --help' tells more; no command means report.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := dispatch(ctx, os.Stdout, os.Stderr, os.Args[1:])
	stop()
	os.Exit(code)
}

// dispatch runs one command and returns the exit code.
func dispatch(ctx context.Context, out, errs io.Writer, args []string) int {
	name, run := "report", reportCommand
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	switch name {
	case "report":
	case "source":
		run = sourceCommand
	case "sink":
		run = sinkCommand
	case "message":
		run = messageCommand
	case "help":
		fmt.Fprint(out, strings.TrimLeft(mainHelp, "\n"))
		return 0
	default:
		fmt.Fprintf(errs, "bench: no command %q\n%s", name, mainHelp)
		return exitUsage
	}
	err := run(ctx, out, errs, args)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintf(errs, "'bench %s --help' tells more\n", name)
		return exitUsage
	}
	fmt.Fprintf(errs, "bench %s: %v\n", name, err)
	return exitError
}

// flags makes a command's flag set; text is what --help says above the flags.
func flags(out, errs io.Writer, name, text string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(errs)
	fs.Usage = func() {
		fs.SetOutput(out)
		fmt.Fprintf(out, "%s\n\nflags:\n", strings.TrimSpace(text))
		fs.PrintDefaults()
	}
	return fs
}

// parse takes flags only: no command here has other arguments.
func parse(fs *flag.FlagSet, errs io.Writer, args []string) error {
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(errs, "bench: unexpected argument %q\n", fs.Arg(0))
		return errUsage
	}
	return nil
}

// wrong reports a flag value that the flag package could not know to be wrong.
func wrong(errs io.Writer, format string, args ...any) error {
	fmt.Fprintf(errs, "bench: "+format+"\n", args...)
	return errUsage
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

package main

import (
	"context"
	"fmt"
)

const configHelp = `
gateway config check --config FILE    test the file: all faults at once, each with its line
gateway config show  --config FILE    print every setting in force, and where it comes from

exit status: 0 when the file is right, 1 when it is not.
`

func configCommand(_ context.Context, std stdio, args []string) (int, error) {
	fs := flags(std, "config", configHelp)
	path := fs.String("config", "", "config `FILE`")
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) != 1 || *path == "" || rest[0] != "check" && rest[0] != "show" {
		return 0, errUsage
	}
	cfg, err := loadConfig(*path)
	if err != nil {
		fmt.Fprintln(std.err, err)
		return exitError, nil
	}
	if _, err := loadRules(cfg); err != nil {
		fmt.Fprintln(std.err, err)
		return exitError, nil
	}
	if rest[0] == "show" {
		cfg.Show(std.out)
		return exitOK, nil
	}
	for _, notice := range cfg.Notices() {
		fmt.Fprintln(std.out, "note:", notice)
	}
	fmt.Fprintf(std.out, "%s: ok\n", *path)
	return exitOK, nil
}

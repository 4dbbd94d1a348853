package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mailweir/internal/config"
	"mailweir/smtpd"
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
	if err := checkFiles(cfg); err != nil {
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

// checkFiles reads the files that the config names, as `run` would.
func checkFiles(cfg *config.Config) error {
	_, err := loadRules(cfg)
	errs := []error{err}
	v := newVerifiers(slog.New(slog.DiscardHandler))
	for k := range cfg.Domains {
		_, err := v.make(cfg, &cfg.Domains[k])
		errs = append(errs, err)
	}
	_, err = loadSigner(cfg)
	errs = append(errs, err)
	if cfg.TLS.Certificate != "" {
		_, err := smtpd.LoadCertificates(string(cfg.TLS.Certificate), string(cfg.TLS.Key), nil)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"mailweir/filter"
	"mailweir/internal/config"
)

// ruleCase is a message and what the rules are to find in it.
type ruleCase struct {
	file string // the message
	want ruleWant
}

// ruleWant is the file beside it.
type ruleWant struct {
	Symbols  []string      `toml:"symbols"` // are there, in shadow too
	Absent   []string      `toml:"absent"`
	Action   filter.Action `toml:"action"` // "": any
	Does     []string      `toml:"does"`   // what rules do for the recipient, and no more; absent: anything
	ClientIP string        `toml:"client_ip"`
	Helo     string        `toml:"helo"`
	MailFrom string        `toml:"mail_from"`
	Rcpt     string        `toml:"rcpt"`
}

// caseJSON is what became of a case.
type caseJSON struct {
	File   string   `json:"file"`
	OK     bool     `json:"ok"`
	Faults []string `json:"faults,omitempty"`
}

func testRules(ctx context.Context, std stdio, a *rulesArgs) (int, error) {
	if len(a.rest) == 0 {
		return 0, errUsage
	}
	_, cfg, err := a.set(a.rules)
	if err == nil {
		err = readable(a.rest)
	}
	if err != nil {
		return exitError, err
	}
	cases, err := findCases(a.rest)
	if err != nil {
		return exitError, err
	}
	failed := 0
	for _, c := range cases {
		faults, err := c.run(ctx, cfg)
		if err != nil {
			return exitError, fmt.Errorf("%s: %w", c.file, err)
		}
		if len(faults) > 0 {
			failed++
		}
		if err := a.tellCase(std, caseJSON{c.file, len(faults) == 0, faults}); err != nil {
			return exitError, err
		}
	}
	if !a.json {
		fmt.Fprintf(std.out, "%d passed, %d failed\n", len(cases)-failed, failed)
	}
	if failed > 0 {
		return exitError, nil
	}
	return exitOK, nil
}

func (a *rulesArgs) tellCase(std stdio, c caseJSON) (err error) {
	switch {
	case a.json:
		return json.NewEncoder(std.out).Encode(c)
	case c.OK:
		_, err = fmt.Fprintf(std.out, "ok    %s\n", c.File)
	default:
		_, err = fmt.Fprintf(std.out, "FAIL  %s\n      %s\n", c.File, strings.Join(c.Faults, "\n      "))
	}
	return err
}

// findCases finds the messages that have a .want file; a file that was named
// must have one.
func findCases(args []string) ([]ruleCase, error) {
	var cases []ruleCase
	for _, arg := range args {
		err := filepath.WalkDir(arg, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(path, ".eml") {
				return err
			}
			c, err := readCase(path)
			if errors.Is(err, fs.ErrNotExist) && path != arg {
				return nil
			}
			cases = append(cases, c)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("no NAME.eml with a NAME.want in %s", strings.Join(args, ", "))
	}
	return cases, nil
}

func readCase(path string) (ruleCase, error) {
	c := ruleCase{file: path}
	name := strings.TrimSuffix(path, ".eml") + ".want"
	f, err := os.Open(name)
	if err != nil {
		return c, err
	}
	defer f.Close()
	if err := toml.NewDecoder(f).DisallowUnknownFields().Decode(&c.want); err != nil {
		if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok {
			err = errors.New(unknown.String())
		}
		return c, fmt.Errorf("%s: %w", name, err)
	}
	if err := c.want.check(); err != nil {
		return c, fmt.Errorf("%s: %w", name, err)
	}
	return c, nil
}

// check refuses what no message could fail, and what none could fulfil.
func (w *ruleWant) check() error {
	if len(w.Symbols)+len(w.Absent) == 0 && w.Action == "" && w.Does == nil {
		return errors.New("it expects nothing: write symbols, absent, action or does")
	}
	if all := []filter.Action{filter.Accept, filter.Tag, filter.Strip, filter.Quarantine, filter.Discard, filter.Defer, filter.Reject}; w.Action != "" && !slices.Contains(all, w.Action) {
		return fmt.Errorf("action = %q: want one of %v", w.Action, all)
	}
	return nil
}

// run judges the message and compares.
func (c *ruleCase) run(ctx context.Context, cfg *config.Config) (faults []string, err error) {
	o := &checkOptions{clientIP: c.want.ClientIP, helo: c.want.Helo, mailFrom: c.want.MailFrom, noDNS: true}
	if c.want.Rcpt != "" {
		o.rcpts = stringList{c.want.Rcpt}
	}
	checker, err := newChecker(ctx, cfg, o)
	if err != nil {
		return nil, err
	}
	defer checker.close()
	f := checker.file(ctx, nil, stored{path: c.file})
	if f.Error != "" {
		return nil, errors.New(f.Error)
	}
	has := func(name string) bool {
		return slices.ContainsFunc(f.Symbols, func(s symbolJSON) bool { return s.Name == name })
	}
	for _, name := range c.want.Symbols {
		if !has(name) {
			faults = append(faults, name+" was not found")
		}
	}
	for _, name := range c.want.Absent {
		if has(name) {
			faults = append(faults, name+" was found")
		}
	}
	if c.want.Action != "" && f.Action != c.want.Action {
		faults = append(faults, fmt.Sprintf("action is %s (score %.2f), want %s", f.Action, f.Score, c.want.Action))
	}
	if c.want.Does != nil {
		var does []string
		for k := range f.Recipients[0].Effects {
			does = append(does, f.Recipients[0].Effects[k].String())
		}
		for _, s := range without(c.want.Does, does) {
			faults = append(faults, "was not done: "+s)
		}
		for _, s := range without(does, c.want.Does) {
			faults = append(faults, "was done: "+s)
		}
	}
	return faults, nil
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"mailweir/filter"
	"mailweir/filter/rules"
	"mailweir/internal/config"
	"mailweir/mail"
)

const rulesHelp = `
gateway rules check [FILE...]         compile a set, and look for what is mostly a mistake
gateway rules show  [SYMBOL...]       every symbol of a set: score, place, what it means
gateway rules test  CASE|DIR...       messages with what the rules are to find in them
gateway rules hits  [--since 7d]      what the rules in force did to recent mail

Without --config and without files the shipped rules are meant; with --config
those that it names. hits needs --config, for the verdicts in its data_dir.

check reports every fault with its file and line: a set with one is not used.
It warns of a symbol that reaches the threshold alone, of a score that lowers
for what any sender can write, of a condition that is the same for all mail, of a
fact that is compared with what it never is, of rules whom no mail ever meets, of
actions that never happen, and, with --config, of recipients and addresses that
nothing is accepted for or leads to; --strict makes warnings faults.

A test case is NAME.eml with NAME.want beside it, in TOML: symbols = [...] that
must be found, absent = [...] that must not, action = "tag", does = [...] what
rules do with it, and no more ("redirect team@example.org"), and how the message
came: client_ip, helo, mail_from, rcpt. No DNS is asked.

hits counts for each symbol how often it was found, how often it alone decided
(without it the action would be another), for how many recipients its rule did
something besides, and what its condition costs.

exit status: 0; 1 when something is wrong or a case fails; 2 wrong arguments.
`

// rulesArgs are the arguments of all rules commands.
type rulesArgs struct {
	config, domain string
	since          duration
	json, strict   bool
	rules          stringList
	rest           []string
}

// duration is a flag in the config's own spelling: "36h", "7d".
type duration time.Duration

func (d *duration) String() string { return time.Duration(*d).String() }

func (d *duration) Set(s string) error {
	v, err := config.ParseDuration(s)
	if err == nil && v <= 0 {
		err = fmt.Errorf("%q is no time to look back", s)
	}
	*d = duration(v)
	return err
}

const week = 7 * 24 * time.Hour

var rulesVerbs = map[string]func(context.Context, stdio, *rulesArgs) (int, error){
	"check": checkRules, "show": showRules, "test": testRules, "hits": hitsOfRules,
}

func rulesCommand(ctx context.Context, std stdio, args []string) (int, error) {
	a := rulesArgs{since: duration(week)}
	fs := flags(std, "rules", rulesHelp)
	fs.StringVar(&a.config, "config", "", "config `FILE`")
	fs.Var(&a.since, "since", "hits: how far to look back, a `DURATION` (12h, 7d)")
	fs.StringVar(&a.domain, "domain", "", "hits: mail for recipients in this `DOMAIN` only")
	fs.Var(&a.rules, "rules", "test, show: rules `FILE` to use instead; may be repeated")
	fs.BoolVar(&a.strict, "strict", false, "check: warnings are faults")
	fs.BoolVar(&a.json, "json", false, "print one JSON object a line")
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) == 0 || rulesVerbs[rest[0]] == nil {
		return 0, errUsage
	}
	a.rest = rest[1:]
	return rulesVerbs[rest[0]](ctx, std, &a)
}

// set compiles files; without any those of the config, or the shipped ones.
func (a *rulesArgs) set(files []string) (*rules.Rules, *config.Config, error) {
	cfg, err := a.loadConfig()
	if err != nil {
		return nil, nil, err
	}
	if len(files) > 0 {
		cfg.Rules.Files = nil
		for _, f := range files {
			cfg.Rules.Files = append(cfg.Rules.Files, config.Path(f))
		}
	}
	r, err := loadRules(cfg)
	return r, cfg, err
}

// loadConfig is the config, or without one the shipped settings.
func (a *rulesArgs) loadConfig() (*config.Config, error) {
	if a.config != "" {
		return loadConfig(a.config)
	}
	return shippedConfig()
}

func checkRules(_ context.Context, std stdio, a *rulesArgs) (int, error) {
	set, cfg, err := a.set(a.rest)
	if err != nil {
		fmt.Fprintln(std.err, err)
		return exitError, nil
	}
	warnings := set.Lint(a.gateway(cfg))
	for _, w := range warnings {
		if a.json {
			err = json.NewEncoder(std.out).Encode(map[string]any{"file": w.File, "line": w.Line, "warning": w.What})
		} else {
			_, err = fmt.Fprintln(std.out, "warning:", w.Error())
		}
		if err != nil {
			return exitError, err
		}
	}
	if !a.json {
		fmt.Fprintf(std.out, "%d symbols, %d warnings, set %s\n", len(set.Symbols()), len(warnings), set.Hash())
	}
	if a.strict && len(warnings) > 0 {
		return exitError, nil
	}
	return exitOK, nil
}

// gateway is what Lint has to know of the config; without one nothing is said
// about domains and routes.
func (a *rulesArgs) gateway(cfg *config.Config) rules.Gateway {
	g := rules.Gateway{Tag: cfg.Domains[0].Score.Tag, Outbound: true}
	for _, d := range cfg.Domains {
		g.Tag = min(g.Tag, d.Score.Tag)
	}
	if a.config == "" {
		return g
	}
	g.Domains, g.Outbound = map[string]bool{}, cfg.Relay.Outbound != ""
	for _, d := range cfg.Domains {
		g.Domains[mail.CanonicalDomain(string(d.Name))] = d.Mode == "tag"
	}
	return g
}

// ruleJSON is a symbol of a set.
type ruleJSON struct {
	Symbol   string  `json:"symbol"`
	Score    float64 `json:"score"`
	Shadow   bool    `json:"shadow"`
	File     string  `json:"file"`
	Line     int     `json:"line"`
	Describe string  `json:"describe"`

	For  *filter.Scope `json:"for,omitempty"`  // absent: everybody
	Does []string      `json:"does,omitempty"` // besides the score
}

func showRules(_ context.Context, std stdio, a *rulesArgs) (int, error) {
	set, _, err := a.set(a.rules)
	if err != nil {
		return exitError, err
	}
	for _, name := range a.rest {
		if _, ok := set.Info(name); !ok {
			return exitError, fmt.Errorf("no symbol %s in this set", name)
		}
	}
	for _, s := range set.Symbols() {
		if len(a.rest) > 0 && !slices.Contains(a.rest, s.Name) {
			continue
		}
		if a.json {
			err = json.NewEncoder(std.out).Encode(newRuleJSON(&s))
		} else {
			_, err = fmt.Fprintf(std.out, "%7.2f%s  %-28s %s:%d  %s%s\n",
				s.Score, shadowMark(s.Shadow), s.Name, s.File, s.Line, s.Describe, actsOf(&s))
		}
		if err != nil {
			return exitError, err
		}
	}
	return exitOK, nil
}

func newRuleJSON(s *rules.SymbolInfo) ruleJSON {
	j := ruleJSON{Symbol: s.Name, Score: s.Score, Shadow: s.Shadow, File: s.File, Line: s.Line, Describe: s.Describe, For: s.Scope}
	if s.Act != nil {
		j.Does = s.Act.Wants()
	}
	return j
}

// actsOf is whom a rule is for and what it does, in brackets.
func actsOf(s *rules.SymbolInfo) string {
	whom, does := "", ""
	if s.Scope != nil {
		whom = "for " + s.Scope.String()
	}
	if s.Act != nil {
		does = strings.Join(s.Act.Wants(), ", ")
	}
	switch {
	case whom == "" && does == "":
		return ""
	case whom == "" || does == "":
		return "  [" + whom + does + "]"
	}
	return "  [" + whom + ": " + does + "]"
}

// shadowMark sets what does not count apart.
func shadowMark(shadow bool) string {
	if shadow {
		return "?"
	}
	return " "
}

// readable reports files that cannot be opened before anything is judged.
func readable(files []string) error {
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			return err
		}
	}
	return nil
}

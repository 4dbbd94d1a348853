package main

import (
	"context"
	"encoding/json"
	"time"

	"mailweir/filter"
	"mailweir/internal/config"
)

const evalHelp = `
gateway eval [--config FILE] --spam DIR --ham DIR [flags]

Judges stored mail of which is known what it is, as 'gateway check' would, and
says how good the verdicts are: how much spam is caught (any action but
accept), how much ham is lost, what another threshold would do, and the
costliest mistakes with their symbols. --spam and --ham may be repeated; each
folder is counted by itself too.

A folder may have a file envelopes.jsonl that says how each message came (see
'gateway check --help'). Without --config the shipped rules judge with shipped
settings, and no DNS is asked.

exit status: 0, or 1 when a message could not be judged.
`

// evalConfig is in force without --config: the shipped settings, one domain.
const evalConfig = `
hostname = "localhost.localdomain"
data_dir = "/nonexistent"
[[listener]]
address = "127.0.0.1:25"
[[domain]]
name = "example.org"
next_hops = ["192.0.2.1:25"]
`

type evalOptions struct {
	check     checkOptions
	spam, ham stringList
	mistakes  int
}

func evalCommand(ctx context.Context, std stdio, args []string) (int, error) {
	var o evalOptions
	fs := flags(std, "eval", evalHelp)
	fs.StringVar(&o.check.config, "config", "", "config `FILE`")
	fs.Var(&o.spam, "spam", "`DIR` of spam, or one message; may be repeated")
	fs.Var(&o.ham, "ham", "`DIR` of mail that is wanted; may be repeated")
	fs.BoolVar(&o.check.noDNS, "no-dns", false, "ask no DNS: checks that need it are skipped")
	fs.IntVar(&o.mistakes, "mistakes", 10, "how many mistakes of each kind are told, the costliest first")
	fs.BoolVar(&o.check.json, "json", false, "print one JSON object")
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) > 0 || len(o.spam) == 0 || len(o.ham) == 0 || o.mistakes < 0 {
		return 0, errUsage
	}
	cfg, err := o.config()
	if err != nil {
		return exitError, err
	}
	c, err := newChecker(ctx, cfg, &o.check)
	if err != nil {
		return exitError, err
	}
	defer c.close()
	e := newEvaluation(o.mistakes)
	if err := e.run(ctx, std, c, &o); err != nil {
		return exitError, err
	}
	report := e.report()
	if o.check.json {
		err = json.NewEncoder(std.out).Encode(report)
	} else {
		report.print(std.out)
	}
	if err == nil && len(report.Errors) > 0 {
		return exitError, nil
	}
	return exitOK, err
}

func (o *evalOptions) config() (*config.Config, error) {
	if o.check.config != "" {
		return loadConfig(o.check.config)
	}
	o.check.noDNS = true
	return shippedConfig()
}

func shippedConfig() (*config.Config, error) {
	return config.Parse("the shipped settings", []byte(evalConfig), config.Known{Checks: checkNames})
}

// evaluation collects what became of the messages.
type evaluation struct {
	folders  []evalFolder
	points   []point
	worst    [2]worst // lost ham, missed spam
	errors   []string
	begin    time.Time
	rules    string
	required float64
}

// point is what ROC needs of a message.
type point struct {
	score  float64
	spam   bool
	caught bool
}

func newEvaluation(mistakes int) *evaluation {
	e := &evaluation{begin: time.Now()}
	e.worst[0] = worst{limit: mistakes, sign: 1}
	e.worst[1] = worst{limit: mistakes, sign: -1}
	return e
}

// run judges all folders, as one list: so that there is one progress bar.
func (e *evaluation) run(ctx context.Context, std stdio, c *checker, o *evalOptions) error {
	var files []stored
	var in []int // the folder of each
	for _, class := range []struct {
		name string
		dirs []string
	}{{"spam", o.spam}, {"ham", o.ham}} {
		for _, dir := range class.dirs {
			list, err := expand([]string{dir})
			if err != nil {
				return err
			}
			for range list {
				in = append(in, len(e.folders))
			}
			files = append(files, list...)
			e.folders = append(e.folders, evalFolder{Folder: dir, Class: class.name})
		}
	}
	c.each(ctx, std, files, func(k int, f *finding) { e.add(&e.folders[in[k]], f) })
	return ctx.Err()
}

func (e *evaluation) add(in *evalFolder, f *finding) {
	if f.Error != "" {
		e.errors = append(e.errors, f.File+": "+f.Error)
		return
	}
	p := point{score: f.Score, spam: in.Class == "spam", caught: f.Action != filter.Accept}
	if p.caught && f.RulesHash == "" {
		p.score = refusedScore
	}
	in.Messages++
	if p.caught {
		in.Caught++
	}
	e.points = append(e.points, p)
	if f.RulesHash != "" {
		e.rules, e.required = f.RulesHash, f.Required
	}
	switch {
	case !p.spam && p.caught:
		e.worst[0].add(p.score, f)
	case p.spam && !p.caught:
		e.worst[1].add(p.score, f)
	}
}

// refusedScore is the score of a message that SMTP refuses for its form,
// before the rules see it: no threshold lets it pass.
const refusedScore = 1e6

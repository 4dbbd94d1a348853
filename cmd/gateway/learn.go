package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"mailweir/filter"
	"mailweir/filter/bayes"
	"mailweir/internal/config"
	"mailweir/internal/fsx"
)

const learnHelp = `
gateway learn --config FILE --spam|--ham FILE|DIR|- [...]   learn messages
gateway learn --config FILE --forget FILE|DIR|-             undo that
gateway learn --config FILE                                 what was learned
gateway learn --config FILE --erase                         forget everything

Teaches the learned filter what is spam and what is ham: single messages, mbox
files, or folders with everything below them. --spam, --ham and --forget may be repeated;
what stands behind them without a flag of its own belongs to the only one that
was given. A message that was learned already counts once; learned the other way
round, it changes sides. A running gateway follows within seconds, and need not
run.

The filter has a say when [learn] minimum messages of each kind were learned.
With --domain it is taught for mail to that domain alone, which from then on is
judged by its own lessons.

exit status: 0, or 1 when a message could not be read.
`

// learnOptions are what the command line says. Paths are classed by what is to
// be done with them.
type learnOptions struct {
	config, domain    string
	spam, ham, forget stringList
	erase, json       bool
}

func learnCommand(ctx context.Context, std stdio, args []string) (int, error) {
	var o learnOptions
	set := flags(std, "learn", learnHelp)
	set.StringVar(&o.config, "config", "", "config `FILE`")
	set.Var(&o.spam, "spam", "`FILE|DIR|-` that is spam")
	set.Var(&o.ham, "ham", "`FILE|DIR|-` that is wanted")
	set.Var(&o.forget, "forget", "`FILE|DIR|-` to be forgotten")
	set.StringVar(&o.domain, "domain", "", "learn for mail to `DOMAIN` alone")
	set.BoolVar(&o.erase, "erase", false, "forget everything that was learned in this scope")
	set.BoolVar(&o.json, "json", false, "print one JSON object")
	rest, err := parse(set, args)
	if err != nil {
		return 0, err
	}
	if o.config == "" || !o.takes(rest) {
		return 0, errUsage
	}
	cfg, err := loadConfig(o.config)
	if err != nil {
		return exitError, err
	}
	domain, err := ownDomain(cfg, o.domain)
	if err != nil {
		return exitError, err
	}
	dir := bayes.Dir(learnedDir(cfg), domain)
	if o.erase {
		err = bayes.EraseDamaged(ctx, fsx.OS{}, dir)
		return exitOK, errors.Join(err, sameOwner(string(cfg.DataDir), learnedDir(cfg)))
	}
	code, err := o.run(ctx, std, cfg, dir)
	return code, errors.Join(err, sameOwner(string(cfg.DataDir), learnedDir(cfg)))
}

// sameOwner gives all below dir to the owner of data: where root has learned,
// the gateway, which is somebody else, must be able to read it.
func sameOwner(data, dir string) error {
	info, err := os.Stat(data)
	if err != nil || os.Geteuid() != 0 {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	if owner.Uid == 0 {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
}

// takes gives the arguments without a flag to the only list there is.
func (o *learnOptions) takes(rest []string) bool {
	var given []*stringList
	for _, l := range []*stringList{&o.spam, &o.ham, &o.forget} {
		if len(*l) > 0 {
			given = append(given, l)
		}
	}
	if o.erase {
		return len(given) == 0 && len(rest) == 0
	}
	if len(rest) == 0 {
		return true
	}
	if len(given) != 1 {
		return false
	}
	*given[0] = append(*given[0], rest...)
	return true
}

// learnReport is the JSON of `gateway learn`; its names are a public interface.
type learnReport struct {
	Learned   int      `json:"learned"`
	Relearned int      `json:"relearned"` // had been learned the other way round
	Known     int      `json:"known"`     // were learned already
	Forgotten int      `json:"forgotten"`
	Unknown   int      `json:"unknown"` // were not there to be forgotten
	Spam      int      `json:"spam"`    // in the store now
	Ham       int      `json:"ham"`
	Minimum   int      `json:"minimum"`
	Seconds   float64  `json:"seconds"`
	Errors    []string `json:"errors"`
}

// run opens the store, learns everything in one go and trains once.
func (o *learnOptions) run(ctx context.Context, std stdio, cfg *config.Config, dir string) (int, error) {
	begin := time.Now()
	store, err := bayes.Open(ctx, fsx.OS{}, dir, cfg.Learn.Keep)
	if errors.Is(err, bayes.ErrDamaged) {
		return exitError, fmt.Errorf("%w; restore it from a backup, or begin anew with --erase", err)
	} else if err != nil {
		return exitError, err
	}
	r := &learnReport{Minimum: cfg.Learn.Minimum, Errors: []string{}}
	err = o.teach(ctx, std, store, r)
	if err == nil {
		err = store.Commit()
	}
	r.Spam, r.Ham = store.Count()
	if err = errors.Join(err, store.Close()); err != nil {
		return exitError, err
	}
	r.Seconds = time.Since(begin).Seconds()
	if o.json {
		err = json.NewEncoder(std.out).Encode(r)
	} else {
		r.print(std)
	}
	if err == nil && len(r.Errors) > 0 {
		return exitError, nil
	}
	return exitOK, err
}

// teach reads all messages in parallel and learns them in order.
func (o *learnOptions) teach(ctx context.Context, std stdio, store *bayes.Store, r *learnReport) error {
	var files []stored
	var learn []func(*filter.Facts) bayes.Result
	now := time.Now()
	for _, c := range []struct {
		paths []string
		do    func(*filter.Facts) bayes.Result
	}{
		{o.spam, func(f *filter.Facts) bayes.Result { return store.Learn(f, true, now) }},
		{o.ham, func(f *filter.Facts) bayes.Result { return store.Learn(f, false, now) }},
		{o.forget, store.Forget},
	} {
		if len(c.paths) == 0 {
			continue
		}
		list, err := expand(c.paths)
		if err != nil {
			return err
		}
		for range list {
			learn = append(learn, c.do)
		}
		files = append(files, list...)
	}
	type read struct {
		facts *filter.Facts
		err   error
	}
	reader := newLessonReader()
	progress := newProgress(std.err, len(files))
	defer progress.done()
	ordered(len(files), runtime.GOMAXPROCS(0), func(k int) (out read) {
		if out.err = ctx.Err(); out.err != nil {
			return out
		}
		var data []byte
		if data, out.err = files[k].read(std.in); out.err == nil {
			out.facts, out.err = reader.facts(data)
		}
		return out
	}, func(k int, m read) {
		progress.step()
		if m.err != nil {
			r.Errors = append(r.Errors, files[k].name()+": "+m.err.Error())
			return
		}
		r.count(learn[k](m.facts))
	})
	return ctx.Err() // interrupted: nothing is learned
}

func (r *learnReport) count(result bayes.Result) {
	switch result {
	case bayes.Learned:
		r.Learned++
	case bayes.Relearned:
		r.Relearned++
	case bayes.Known:
		r.Known++
	case bayes.Forgotten:
		r.Forgotten++
	case bayes.Unknown:
		r.Unknown++
	}
}

func (r *learnReport) print(std stdio) {
	for _, e := range r.Errors {
		fmt.Fprintln(std.err, e)
	}
	for _, c := range []struct {
		n    int
		what string
	}{
		{r.Learned, "learned"}, {r.Relearned, "changed sides"}, {r.Known, "known already"},
		{r.Forgotten, "forgotten"}, {r.Unknown, "not there to be forgotten"},
	} {
		if c.n > 0 {
			fmt.Fprintf(std.out, "%d %s\n", c.n, c.what)
		}
	}
	fmt.Fprintf(std.out, "%d spam and %d ham are learned in all", r.Spam, r.Ham)
	if r.Spam < r.Minimum || r.Ham < r.Minimum {
		fmt.Fprintf(std.out, "; the filter has a say from %d of each on", r.Minimum)
	}
	fmt.Fprintln(std.out)
}

package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailweir/internal/census"
	"mailweir/internal/config"
	"mailweir/internal/daykey"
	"mailweir/internal/events"
	"mailweir/internal/history"
	"mailweir/internal/logfile"
	"mailweir/internal/pseudonym"
	"mailweir/report"
)

const logHelp = `
gateway log find --config FILE --address ADDRESS
gateway log verify-retention --config FILE

find prints the lines of log.dir that tell of an IP address, a host name or a
mail address, whether they stand there as they are or as a pseudonym whose key
lives. Without log.dir it prints the pseudonyms instead, a day and a pseudonym a
line, to search another log for.

verify-retention looks at everything with a time to live: files of log.dir, keys
of pseudonyms and of the history, the history, events, statistics, journals of
DMARC reports. It names what is older than it may be, and files that it does not
know.

exit status: find: 0 when something was found, else 1. verify-retention: 0 when
nothing is too old, else 1.
`

func logCommand(_ context.Context, std stdio, args []string) (int, error) {
	fs := flags(std, "log", logHelp)
	path := fs.String("config", "", "config `FILE`")
	address := fs.String("address", "", "IP, host name or mail `ADDRESS` to find")
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) != 1 || *path == "" {
		return 0, errUsage
	}
	cfg, err := loadConfig(*path)
	if err != nil {
		return exitError, err
	}
	switch {
	case rest[0] == "find" && *address != "":
		return logFind(std.out, cfg, *address)
	case rest[0] == "verify-retention" && *address == "":
		return verifyRetention(std.out, cfg, time.Now())
	}
	return 0, errUsage
}

// kindOf is what an address is, and how a log spells it.
func kindOf(address string) (kind, spelled string) {
	if a, err := netip.ParseAddr(address); err == nil {
		return pseudonym.IP, a.Unmap().String()
	}
	if strings.Contains(address, "@") {
		return pseudonym.Mail, address
	}
	return pseudonym.Name, address
}

func logFind(out io.Writer, cfg *config.Config, address string) (int, error) {
	kind, value := kindOf(address)
	all, err := pseudonym.All(logKeys(cfg), kind, value)
	if err != nil {
		return exitError, err
	}
	if cfg.Log.Dir == "" {
		days := make([]time.Time, 0, len(all))
		for d := range all {
			days = append(days, d)
		}
		slices.SortFunc(days, time.Time.Compare)
		for _, d := range days {
			fmt.Fprintln(out, d.Format(time.DateOnly), all[d])
		}
		if len(days) == 0 {
			return exitError, nil
		}
		return exitOK, nil
	}
	files, err := logfile.Files(string(cfg.Log.Dir))
	if err != nil {
		return exitError, err
	}
	found := 0
	for _, f := range files {
		// The plain value is quoted as JSON strings are: no address is found
		// inside of a longer one.
		words := []string{`"` + value + `"`}
		for _, d := range []time.Time{f.Day, f.Day.AddDate(0, 0, -1)} { // a line of midnight
			if name := all[d]; name != "" {
				words = append(words, `"`+name+`"`)
			}
		}
		n, err := printLines(out, f.Path, words)
		if err != nil {
			return exitError, err
		}
		found += n
	}
	if found == 0 {
		return exitError, nil
	}
	return exitOK, nil
}

// printLines prints the lines of a file that have one of the words.
func printLines(out io.Writer, name string, words []string) (n int, err error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // dropped meanwhile
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		for _, w := range words {
			if strings.Contains(s.Text(), w) {
				fmt.Fprintln(out, s.Text())
				n++
				break
			}
		}
	}
	return n, s.Err()
}

// retentionSlack is how late a file may go: they are looked at once an hour.
const retentionSlack = time.Hour + time.Minute

// kept is a file with a time to live.
type kept struct {
	what, path string
	end        time.Time // of what is in it
	keep       time.Duration
}

func verifyRetention(out io.Writer, cfg *config.Config, now time.Time) (int, error) {
	list, unknown, err := retained(cfg)
	if err != nil {
		return exitError, err
	}
	code := exitOK
	oldest := map[string]kept{}
	count := map[string]int{}
	for _, k := range list {
		if now.Sub(k.end) > k.keep+retentionSlack {
			fmt.Fprintf(out, "TOO OLD  %s: %s ended %s, kept for %s\n", k.path, k.what, k.end.Format(time.DateTime), config.FormatDuration(k.keep))
			code = exitError
		}
		if o, ok := oldest[k.what]; !ok || k.end.Before(o.end) {
			oldest[k.what] = k
		}
		count[k.what]++
	}
	for _, path := range unknown {
		fmt.Fprintf(out, "UNKNOWN  %s: whatever is in it has no time to live\n", path)
		code = exitError
	}
	for _, what := range slices.Sorted(maps.Keys(count)) {
		o := oldest[what]
		fmt.Fprintf(out, "%-15s %4d files, the oldest of %s, kept for %s\n", what, count[what], o.end.AddDate(0, 0, -1).Format(time.DateOnly), config.FormatDuration(o.keep))
	}
	return code, nil
}

// retained is everything with a time to live, and what stands beside it.
func retained(cfg *config.Config) (list []kept, unknown []string, err error) {
	i := inventory{known: map[string]bool{}}
	if err := cmp.Or(i.logs(cfg), i.keys(cfg), i.history(cfg), i.events(cfg), i.statistics(cfg), i.reports(cfg)); err != nil {
		return nil, nil, err
	}
	for _, dir := range []string{string(cfg.Log.Dir), historyDir(cfg), eventsDir(cfg), logKeys(cfg), historyKeyDir(cfg)} {
		entries, _ := os.ReadDir(dir) // "" and absent folders have none
		for _, e := range entries {
			if path := filepath.Join(dir, e.Name()); dir != "" && !i.known[path] {
				unknown = append(unknown, path)
			}
		}
	}
	slices.SortFunc(i.list, func(a, b kept) int { return strings.Compare(a.path, b.path) })
	return i.list, unknown, nil
}

// inventory collects what has a time to live.
type inventory struct {
	list  []kept
	known map[string]bool // paths of these, and of what belongs to them
}

func (i *inventory) add(what, path string, end time.Time, keep time.Duration) {
	i.list = append(i.list, kept{what, path, end, keep})
	i.known[path] = true
}

func (i *inventory) logs(cfg *config.Config) error {
	files, err := logfile.Files(string(cfg.Log.Dir))
	keep := map[string]time.Duration{}
	for _, c := range logClasses(cfg) {
		keep[c.Name] = c.Keep
	}
	for _, f := range files {
		if d, ok := keep[f.Class]; ok {
			i.add(f.Class+" log", f.Path, f.End(), d)
		}
	}
	return err
}

func (i *inventory) keys(cfg *config.Config) error {
	for _, k := range []struct {
		what, dir string
		keep      time.Duration
	}{{"pseudonym keys", logKeys(cfg), cfg.Log.Keep}, {"history keys", historyKeyDir(cfg), cfg.History.Keep}} {
		keys := daykey.New(k.dir, k.keep)
		days, err := keys.Days()
		if err != nil {
			return err
		}
		for _, d := range days {
			i.add(k.what, keys.Path(d), d.AddDate(0, 0, 1), k.keep)
		}
	}
	return nil
}

func (i *inventory) history(cfg *config.Config) error {
	days, err := history.Days(historyDir(cfg))
	for path, end := range days {
		i.add("history", path, end, cfg.History.Keep)
	}
	return err
}

func (i *inventory) events(cfg *config.Config) error {
	days, err := events.Days(eventsDir(cfg))
	for _, d := range days {
		i.add("events", events.Path(eventsDir(cfg), d), d.AddDate(0, 0, 1), cfg.Events.Keep)
	}
	for _, path := range events.Beside(eventsDir(cfg), days) {
		i.known[path] = true
	}
	return err
}

func (i *inventory) statistics(cfg *config.Config) error {
	days, err := census.Days(censusDir(cfg))
	for path, end := range days {
		i.add("statistics", path, end, cfg.Stats.Keep)
	}
	return err
}

func (i *inventory) reports(cfg *config.Config) error {
	days, err := report.Journals(reportsDir(cfg))
	for path, d := range days {
		i.add("report journals", path, d.End(), report.KeepJournals)
	}
	return err
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"mailweir/internal/census"
	"mailweir/internal/events"
)

const statsHelp = `
gateway stats --config FILE [--since TIME] [--until TIME] [--threshold K] [--json]

Counts recipients and octets by hour, domain and action, and by TLS version,
from the events of 'gateway trace'; and messages by the software that wrote them
and, where stats.mmdb is set, by the country and network that they came from.
What would tell of few people is not shown: domains with fewer than K (10)
recipients of an action in an hour, and origins with fewer than K messages, are
counted together as "other", and where these are fewer than K, too, no number is
given.
Nothing leaves the machine. TIME is as for 'gateway trace'; without --since it is
the last 24 hours.

exit status: 0, or 1 when there is nothing to count.
`

func statsCommand(_ context.Context, std stdio, args []string) (int, error) {
	fs := flags(std, "stats", statsHelp)
	path := fs.String("config", "", "config `FILE`")
	since := fs.String("since", "24h", "count from this `TIME` on")
	until := fs.String("until", "", "count up to this `TIME`")
	k := fs.Int64("threshold", 10, "the smallest count `K` that is shown")
	asJSON := fs.Bool("json", false, "print one JSON object a line")
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) > 0 || *path == "" {
		return 0, errUsage
	}
	if *k < 1 {
		return exitUsage, errors.New("--threshold: at least 1")
	}
	now := time.Now()
	from, err := parseMoment(*since, now)
	if err != nil {
		return exitUsage, fmt.Errorf("--since: %w", err)
	}
	to, err := parseMoment(*until, now)
	if err != nil {
		return exitUsage, fmt.Errorf("--until: %w", err)
	}
	cfg, err := loadConfig(*path)
	if err != nil {
		return exitError, err
	}
	list, err := events.Stats(eventsDir(cfg), from, to, *k)
	if err != nil {
		return exitError, err
	}
	sources, err := census.Stats(censusDir(cfg), from, to, *k)
	if err != nil {
		return exitError, err
	}
	if len(list)+len(sources) == 0 {
		return exitError, errNothing
	}
	if err := printStats(std.out, list, *asJSON); err != nil {
		return exitError, err
	}
	return exitOK, printCensus(std.out, sources, *asJSON)
}

func printCensus(w io.Writer, list []census.Count, asJSON bool) error {
	for _, c := range list {
		var err error
		switch {
		case asJSON:
			err = json.NewEncoder(w).Encode(c)
		case c.FewerThan > 0:
			_, err = fmt.Fprintf(w, "%-16s %-43s %10s\n", "all hours", c.Kind+" "+c.Name, fmt.Sprintf("< %d", c.FewerThan))
		default:
			_, err = fmt.Fprintf(w, "%-16s %-43s %10d\n", "all hours", c.Kind+" "+c.Name, c.Messages)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func printStats(w io.Writer, list []events.Count, asJSON bool) error {
	if asJSON {
		for _, c := range list {
			if err := json.NewEncoder(w).Encode(c); err != nil {
				return err
			}
		}
		return nil
	}
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%-16s %-30s %-12s %10s %14s\n", "hour (UTC)", "domain", "action", "recipients", "octets")
	for _, c := range list {
		count := fmt.Sprintf("%10d %14d", c.Recipients, c.Bytes)
		if c.FewerThan > 0 {
			count = fmt.Sprintf("%10s", fmt.Sprintf("< %d", c.FewerThan))
		}
		if c.TLS != "" {
			fmt.Fprintf(b, "%-16s %-43s %s\n", "all hours", "TLS "+c.TLS, count)
			continue
		}
		fmt.Fprintf(b, "%-16s %-30s %-12s %s\n", c.Hour.Format("2006-01-02 15:04"), c.Domain, c.Action, count)
	}
	return b.Flush()
}

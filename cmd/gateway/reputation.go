package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"mailweir/filter/reputation"
	"mailweir/internal/config"
	"mailweir/internal/fsx"
	"mailweir/internal/memo"
)

const reputationHelp = `
gateway reputation show   --config FILE DOMAIN|ADDRESS [--json]
gateway reputation forget --config FILE DOMAIN|ADDRESS

show tells what is remembered of a sender: of a domain that SPF or DKIM vouched
for, or of the network of a client's IP address. The running gateway writes it
down within a second. Senders are kept as keyed hashes: nobody can list them.

forget drops it: the sender begins anew. A domain is forgotten by the greylist,
too, but for what that knows of the domain at a single network.

exit status: 0, or 1 when nothing is known.
`

// reputationJSON is what `show` prints; its names are a public interface.
type reputationJSON struct {
	Sender string `json:"sender"`
	reputation.Counts
	Symbol string  `json:"symbol"`
	Score  float64 `json:"score"`
}

func reputationCommand(ctx context.Context, std stdio, args []string) (int, error) {
	fs := flags(std, "reputation", reputationHelp)
	path := fs.String("config", "", "config `FILE`")
	asJSON := fs.Bool("json", false, "print a JSON object")
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) != 2 || *path == "" {
		return 0, errUsage
	}
	cfg, err := loadConfig(*path)
	if err != nil {
		return exitError, err
	}
	switch rest[0] {
	case "show":
		r, err := showReputation(cfg, rest[1])
		if err != nil {
			return exitError, err
		}
		if *asJSON {
			return exitOK, json.NewEncoder(std.out).Encode(r)
		}
		r.print(std)
		return exitOK, nil
	case "forget":
		s, known, err := forgetSender(ctx, cfg, rest[1])
		if err == nil && !known {
			err = fmt.Errorf("nothing is known of %s", s)
		}
		if err != nil {
			return exitError, err
		}
		fmt.Fprintf(std.out, "%s: forgotten\n", s)
		return exitOK, nil
	}
	return 0, errUsage
}

func (r *reputationJSON) print(std stdio) {
	fmt.Fprintf(std.out, "%s: %.1f good and %.1f bad messages, as they count now; the last one at %s\n",
		r.Sender, r.Good, r.Bad, r.Last.UTC().Format(time.DateTime))
	if r.Symbol == "" {
		fmt.Fprintln(std.out, "no symbol: they are too few, or of both kinds")
		return
	}
	fmt.Fprintf(std.out, "%7.2f  %s\n", r.Score, r.Symbol)
}

func showReputation(cfg *config.Config, sender string) (*reputationJSON, error) {
	r, known, err := lookReputation(cfg, sender)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, fmt.Errorf("nothing is known of %s", r.Sender)
	}
	return r, nil
}

func lookReputation(cfg *config.Config, name string) (r *reputationJSON, known bool, err error) {
	book, err := readReputation(cfg)
	if err != nil {
		return nil, false, err
	}
	s, err := parseSender(name)
	if err != nil {
		return nil, false, err
	}
	r = &reputationJSON{Sender: s.String()}
	if s.addr.IsValid() {
		r.Counts, known = book.Network(s.addr)
	} else {
		r.Counts, known = book.Domain(s.domain)
	}
	r.Good, r.Bad = math.Round(r.Good*10)/10, math.Round(r.Bad*10)/10
	if s, ok := book.Symbol(r.Counts, r.Sender); ok {
		r.Symbol, r.Score = s.Name, s.Score
	}
	return r, known, nil
}

func reputationOptions(cfg *config.Config) reputation.Options {
	r := &cfg.Reputation
	return reputation.Options{Good: r.Good, Bad: r.Bad, Minimum: float64(r.Minimum), HalfLife: r.HalfLife}
}

// readReputation reads the book beside a gateway that writes it.
func readReputation(cfg *config.Config) (*reputation.Book, error) {
	o := reputationOptions(cfg)
	t, err := memo.Read(fsx.OS{}, filepath.Join(memoDir(cfg), reputationTable), memo.Options{Most: reputation.Most, Keep: o.Keep()})
	if err != nil {
		return nil, err
	}
	return reputation.New(t, o), nil
}

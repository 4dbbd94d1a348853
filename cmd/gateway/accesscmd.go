package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"mailweir/filter/access"
	"mailweir/internal/config"
	"mailweir/internal/fsx"
)

const accessHelp = `
gateway allow|block add    --config FILE WHAT --reason TEXT [--for RECIPIENT...] [--expires 30d|2027-01-31]
gateway allow|block list   --config FILE [--json]
gateway allow|block remove --config FILE WHAT [--for RECIPIENT...]

What is allowed is not refused for its content (a virus is); what is blocked is
refused, whatever it says; where both lists have it, it is refused. WHAT is a
network or an address of clients (192.0.2.0/24), a domain with all below it
(partner.example), or an author (news@shop.example). A domain or an author count
only where SPF or DKIM passed and is aligned: a name alone, which everybody can
write, is nothing to go by. Mail that merely claims to be from somewhere is a
matter for a rule with a score.

add and remove work on the running gateway, at once, and survive a restart. An
entry about the same and for the same recipients is replaced. What the config has
is changed there.

--for is a domain or an address that mail is for; without it the entry is for
all. remove without it removes every entry about WHAT.

exit status: 0; 1 when something is wrong; 2 wrong arguments.
`

const accessArguments = "add|list|remove --config FILE [WHAT] [--reason TEXT] [--for RECIPIENT] [--expires 30d]"

// accessArgs are the arguments of both commands.
type accessArgs struct {
	kind            access.Kind
	config          string
	reason, expires string
	recipients      stringList
	json            bool
}

func accessCommand(kind access.Kind) func(context.Context, stdio, []string) (int, error) {
	return func(ctx context.Context, std stdio, args []string) (int, error) {
		a := accessArgs{kind: kind}
		fs := flags(std, string(kind), accessHelp)
		fs.StringVar(&a.config, "config", "", "config `FILE`")
		fs.StringVar(&a.reason, "reason", "", "add: why, a `TEXT` for whoever reads it later")
		fs.StringVar(&a.expires, "expires", "", "add: when it ends, a `DURATION` from now (12h, 30d) or a day (2027-01-31); default: never")
		fs.Var(&a.recipients, "for", "a domain or address of a `RECIPIENT` that it is for, may be repeated (default: all)")
		fs.BoolVar(&a.json, "json", false, "list: print one JSON object a line")
		rest, err := parse(fs, args)
		if err != nil {
			return 0, err
		}
		if len(rest) == 0 || a.config == "" {
			return 0, errUsage
		}
		cfg, err := loadConfig(a.config)
		if err != nil {
			return exitError, err
		}
		switch verb := rest[0]; {
		case verb == "list" && len(rest) == 1:
			return exitOK, a.list(std.out, cfg)
		case (verb == "add" || verb == "remove") && len(rest) == 2:
			return exitOK, a.change(ctx, std.out, cfg, verb, rest[1])
		}
		return 0, errUsage
	}
}

// change asks the running gateway.
func (a *accessArgs) change(ctx context.Context, w io.Writer, cfg *config.Config, verb, what string) error {
	r := accessRequest{What: what, For: a.recipients, Reason: a.reason}
	if a.expires != "" {
		var err error
		if r.Expires, err = expiry(a.expires, time.Now()); err != nil {
			return err
		}
	}
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	answer, err := newControl(ctx, cfg).do(http.MethodPost, "/access/"+string(a.kind)+"/"+verb, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Close()
	var entries []access.Entry
	if err := json.NewDecoder(answer).Decode(&entries); err != nil {
		return err
	}
	done := map[string]string{"add": "added: ", "remove": "removed: "}[verb]
	for k := range entries {
		fmt.Fprintln(w, done+describe(&entries[k]))
	}
	return nil
}

// expiry reads "30d" from now, or a day.
func expiry(s string, now time.Time) (time.Time, error) {
	if d, err := config.ParseDuration(s); err == nil && d > 0 {
		return now.Add(d).UTC().Truncate(time.Second), nil
	}
	var day config.Date
	if err := day.UnmarshalText([]byte(s)); err != nil {
		return time.Time{}, fmt.Errorf("--expires %q: want a duration (30d) or a day (2027-01-31)", s)
	}
	return day.Time(), nil
}

// accessJSON is an entry as `list --json` prints it.
type accessJSON struct {
	List    access.Kind `json:"list"`
	What    string      `json:"what"`
	For     string      `json:"for"`
	Reason  string      `json:"reason"`
	Expires *time.Time  `json:"expires"`
	Expired bool        `json:"expired"`
	From    string      `json:"from"` // "config" or "command"
	Added   *time.Time  `json:"added,omitempty"`
	UID     *int        `json:"uid,omitempty"`

	entry access.Entry
}

// accessJSONs are the entries of a list, those of the config first. It reads the
// file, which is there without a gateway, too.
func accessJSONs(cfg *config.Config, kind access.Kind) ([]*accessJSON, error) {
	store, err := access.OpenStore(fsx.OS{}, accessFile(cfg))
	if err != nil {
		return nil, err
	}
	of := accessEntries(map[access.Kind][]config.Access{access.Allow: cfg.Allow, access.Block: cfg.Block}[kind])
	n := len(of)
	of = append(of, store.Entries(kind)...)
	list := make([]*accessJSON, len(of))
	for k, e := range of {
		j := &accessJSON{List: kind, What: e.What(), For: e.Scope.String(), Reason: e.Reason, From: "config", entry: e}
		if !e.Expires.IsZero() {
			j.Expires, j.Expired = &e.Expires, !time.Now().Before(e.Expires)
		}
		if k >= n {
			j.From, j.Added, j.UID = "command", &e.Added, &e.UID
		}
		list[k] = j
	}
	return list, nil
}

func (a *accessArgs) list(w io.Writer, cfg *config.Config) error {
	list, err := accessJSONs(cfg, a.kind)
	if err != nil {
		return err
	}
	for _, j := range list {
		if a.json {
			err = json.NewEncoder(w).Encode(j)
		} else {
			where := "config"
			if j.Added != nil {
				where = fmt.Sprintf("added %s by user %d", j.Added.Format(time.DateOnly), *j.UID)
			}
			_, err = fmt.Fprintf(w, "%s  (%s)\n", describe(&j.entry), where)
		}
		if err != nil {
			return err
		}
	}
	if !a.json {
		fmt.Fprintf(w, "%d in all\n", len(list))
	}
	return nil
}

// describe is an entry on a line.
func describe(e *access.Entry) string {
	s := e.What()
	if e.Scope != nil {
		s += " for " + e.Scope.String()
	}
	s += ": " + e.Reason
	switch {
	case e.Expires.IsZero():
	case time.Now().Before(e.Expires):
		s += ", until " + e.Expires.UTC().Format(time.DateTime)
	default:
		s += ", EXPIRED " + e.Expires.UTC().Format(time.DateTime)
	}
	return s
}

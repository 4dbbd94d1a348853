package main

import (
	"flag"
	"fmt"
	"net/url"
	"strings"

	"mailweir/internal/config"
	"mailweir/mail"
	"mailweir/queue"
)

// The flags that select messages, and the keys of the same in a query of the
// control socket.
var filterFlags = map[string]string{
	"state": "state", "domain": "domain", "reverse-path": "reverse_path",
	"recipient": "recipient", "older-than": "older_than",
}

func defineFilter(fs *flag.FlagSet) {
	fs.String("state", "", "messages in this `STATE`: queued, active, deferred or held")
	fs.String("domain", "", "messages that wait for a recipient in this `DOMAIN`")
	fs.String("reverse-path", "", "messages from this `ADDRESS`; \"<>\" for DSNs")
	fs.String("recipient", "", "messages that wait for this recipient's `ADDRESS`")
	fs.String("older-than", "", "messages that arrived longer ago than this `DURATION` (30m, 12h, 5d)")
	fs.Bool("all", false, "all messages")
}

// filterOf reads the flags; given tells that there was one.
func filterOf(fs *flag.FlagSet) (f queue.Filter, given bool, err error) {
	query := url.Values{}
	fs.Visit(func(x *flag.Flag) {
		if key := filterFlags[x.Name]; key != "" {
			query.Set(key, x.Value.String())
			given = true
		} else if x.Name == "all" {
			given = given || x.Value.String() == "true"
		}
	})
	f, err = parseFilter(query)
	return f, given, err
}

// parseFilter reads the form that flags and queries have in common. A value
// that cannot select anything is an error: what a typing error would select is
// the wrong messages, or all.
func parseFilter(v url.Values) (f queue.Filter, err error) {
	for key, values := range v {
		value := values[0]
		if value == "" {
			return f, fmt.Errorf("%s: nothing to look for", key)
		}
		switch key {
		case "state":
			f.State = queue.State(value)
			switch f.State {
			case queue.Queued, queue.Active, queue.Deferred, queue.Held:
			default:
				return f, fmt.Errorf("no state %q: it is queued, active, deferred or held", value)
			}
		case "domain":
			f.Domain = value
		case "reverse_path":
			f.Reverse, err = parseAddress(value)
			if f.Reverse == "" {
				f.Reverse = queue.NullReverse
			}
		case "recipient":
			f.Recipient, err = parseAddress(value)
			if err == nil && f.Recipient == "" {
				err = mail.ErrPath
			}
		case "older_than":
			f.OlderThan, err = config.ParseDuration(value)
		default:
			return f, fmt.Errorf("no filter %q", key)
		}
		if err != nil {
			return f, fmt.Errorf("%s %q: %w", key, value, err)
		}
	}
	return f, nil
}

// parseAddress takes an address with or without angle brackets.
func parseAddress(s string) (mail.Path, error) {
	if inner, ok := strings.CutPrefix(s, "<"); ok && strings.HasSuffix(inner, ">") {
		s = inner[:len(inner)-1]
	}
	return mail.ParsePath(s, true)
}

func filterQuery(f queue.Filter) url.Values {
	v := url.Values{}
	set := func(key, value string) {
		if value != "" {
			v.Set(key, value)
		}
	}
	set("state", string(f.State))
	set("domain", f.Domain)
	set("reverse_path", string(f.Reverse))
	set("recipient", string(f.Recipient))
	if f.OlderThan > 0 {
		set("older_than", f.OlderThan.String())
	}
	return v
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"mailweir/internal/config"
)

// actOnQueue runs the verbs that change something.
func actOnQueue(ctx context.Context, std stdio, cfg *config.Config, a *queueArgs) (int, error) {
	// "-" takes standard input away from questions.
	terminal := isTerminal(std.in)
	if slices.Equal(a.ids, []string{"-"}) {
		var err error
		if a.ids, err = readIDs(std.in); err != nil {
			return exitError, err
		}
		terminal = false
		if len(a.ids) == 0 {
			return exitOK, nil
		}
	}
	c := newControl(ctx, cfg)
	if a.verb == "flush" && len(a.ids) == 0 && !a.given {
		return act(c, std, a, [][]string{nil}, 1)
	}
	if a.asks() && !a.yes && !terminal {
		return exitError, fmt.Errorf("%s, and there is no terminal to ask on: nothing was done; add --yes", a.danger())
	}
	if a.given {
		ids, err := c.ids(a.filter)
		if err != nil {
			return exitError, err
		}
		a.ids = ids
	}
	if terminal && !a.confirmed(std) {
		return exitError, errors.New("not confirmed, nothing was done")
	}
	return act(c, std, a, slices.Collect(slices.Chunk(a.ids, actChunk)), len(a.ids))
}

// asks: what destroys mail cannot be undone, and a filter may select more than
// was meant.
func (a *queueArgs) asks() bool { return a.destroys() || a.given && a.verb != "flush" }

func (a *queueArgs) destroys() bool { return a.verb == "delete" || a.verb == "bounce" }

func (a *queueArgs) danger() string {
	if a.given {
		return a.verb + " would touch every message that matches"
	}
	return a.verb + " cannot be undone"
}

// confirmed asks, where that is due.
func (a *queueArgs) confirmed(std stdio) bool {
	if a.yes || len(a.ids) == 0 || !a.asks() {
		return true
	}
	what := messages(len(a.ids))
	if len(a.ids) == 1 {
		what = a.ids[0]
	}
	return ask(std.in, std.err, "%s %s?", a.verb, what)
}

// readIDs reads one ID a line.
func readIDs(r io.Reader) (ids []string, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if id := strings.TrimSpace(lines.Text()); id != "" {
			ids = append(ids, id)
		}
	}
	return ids, lines.Err()
}

// actChunk is how many messages one request names: progress shows between
// them, and an interrupt ends there.
const actChunk = 512

// done is what each verb has done.
var done = map[string]string{
	"flush": "due now", "hold": "held", "release": "released",
	"delete": "deleted", "bounce": "bounced", "reroute": "rerouted",
}

// tally is what became of many messages.
type tally struct{ done, failed, gone, held, changed int }

func act(c *control, std stdio, a *queueArgs, chunks [][]string, n int) (int, error) {
	var t tally
	if !a.given {
		n = 0 // each line that is printed is progress
	}
	p := newProgress(std.err, n)
	var err error
	for _, ids := range chunks {
		if err = c.act(a.verb, actionRequest{IDs: ids, To: a.to, Only: filterQuery(a.filter).Encode()}, func(r actionResult) error {
			p.step()
			return t.result(std, a, r)
		}); err != nil {
			break
		}
	}
	p.done()
	if a.given && !a.json {
		t.print(std.out, a.verb)
	}
	switch {
	case err != nil:
		return exitError, err
	case t.failed > 0:
		return exitError, nil
	}
	return exitOK, nil
}

// result counts and prints one result. Of many that a filter selected only
// failures are told one by one; one that has left or changed meanwhile is none,
// nor is one that is held when others are flushed.
func (t *tally) result(std stdio, a *queueArgs, r actionResult) error {
	switch {
	case r.OK:
		t.done++
	case r.Gone && a.given:
		t.gone++
	case r.Held && a.given:
		t.held++
	case r.Changed && a.given:
		t.changed++
	default:
		t.failed++
	}
	if a.json {
		return json.NewEncoder(std.out).Encode(r)
	}
	var err error
	switch {
	case r.Flushed != nil:
		_, err = fmt.Fprintf(std.out, "%s: %s\n", messages(*r.Flushed), done[a.verb])
	case !r.OK && !((r.Gone || r.Held || r.Changed) && a.given):
		_, err = fmt.Fprintf(std.err, "%s: %s\n", r.ID, a.said(r))
	case !a.given:
		_, err = fmt.Fprintf(std.out, "%s: %s\n", r.ID, done[a.verb])
	}
	return err
}

// said is why something could not be done. IDs alone have a filter in the
// quarantine.
func (a *queueArgs) said(r actionResult) string {
	if r.Changed && !a.given {
		return "it is not held: nothing was done; 'gateway queue show' tells where it is"
	}
	return r.Error
}

func (t *tally) print(w io.Writer, verb string) {
	fmt.Fprintf(w, "%s: %s\n", messages(t.done), done[verb])
	if t.gone > 0 {
		fmt.Fprintf(w, "%d had left before\n", t.gone)
	}
	if t.changed > 0 {
		fmt.Fprintf(w, "%d were no longer what the filter selects: nothing was done to them\n", t.changed)
	}
	if t.held > 0 {
		fmt.Fprintf(w, "%d are held\n", t.held)
	}
	if t.failed > 0 {
		fmt.Fprintf(w, "%d could not be: see above\n", t.failed)
	}
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"mailweir/internal/config"
	"mailweir/mail"
	"mailweir/queue"
)

func listQueue(ctx context.Context, std stdio, cfg *config.Config, a *queueArgs) (int, error) {
	n := 0
	err := readQueue(ctx, cfg, func(q queueReader) error {
		if a.json {
			return q.listJSON(a.filter, std.out)
		}
		return q.list(a.filter, func(i queue.Item) error {
			n++
			if n == 1 {
				fmt.Fprintf(std.out, "%-26s %9s  %-19s  %-8s  %s\n", "id", "size", "arrived (UTC)", "state", "sender, recipients")
			}
			return listItem(std.out, &i)
		})
	})
	if err == nil && !a.json {
		_, err = fmt.Fprintln(std.out, messages(n))
	}
	return exitOK, err
}

// listItem is the short form: one line, and the recipients that are left below
// what keeps them.
func listItem(w io.Writer, i *queue.Item) error {
	b := bufio.NewWriter(w) // one write an item
	fmt.Fprintf(b, "%s %9d  %s  %-8s  %s\n", i.ID, i.Size, i.Arrived.UTC().Format(time.DateTime), i.State, or(string(i.ReversePath), "<>"))
	said := ""
	if i.Class != "" {
		fmt.Fprintf(b, "      (class %s)\n", i.Class)
	}
	for _, r := range i.Recipients {
		if r.State != queue.Pending {
			continue
		}
		reason := r.Reply
		if i.State == queue.Held || reason == "" {
			reason = i.Reason
		}
		if reason != said {
			fmt.Fprintf(b, "      (%s)\n", reason)
			said = reason
		}
		fmt.Fprintf(b, "      %s\n", r.Address)
	}
	return b.Flush()
}

func showQueue(ctx context.Context, std stdio, cfg *config.Config, a *queueArgs) (int, error) {
	return readEach(ctx, std, cfg, a.ids, func(q queueReader, id mail.ID) error {
		if a.message {
			return q.message(id, std.out)
		}
		i, err := q.get(id)
		if err != nil {
			return err
		}
		return printItem(std.out, &i, a.json)
	})
}

// readEach calls f with each ID. Without a single one the queue is not read: to
// open the spool of a gateway that does not run can take seconds.
func readEach(ctx context.Context, std stdio, cfg *config.Config, ids []string, f func(queueReader, mail.ID) error) (code int, err error) {
	isID := func(s string) bool { _, err := mail.ParseID(s); return err == nil }
	if !slices.ContainsFunc(ids, isID) {
		return eachID(std, ids, nil), nil
	}
	err = readQueue(ctx, cfg, func(q queueReader) error {
		code = eachID(std, ids, func(id mail.ID) error { return f(q, id) })
		return nil
	})
	return code, err
}

// printItem is the long form.
func printItem(w io.Writer, i *queue.Item, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(i)
	}
	state := string(i.State)
	if i.Reason != "" {
		state += " (" + i.Reason + ")"
	}
	_, err := fmt.Fprintf(w, "%s  %s  %8d  %s\n    from <%s>", i.ID, i.Arrived.Format(time.DateTime), i.Size, state, i.ReversePath)
	if i.NextAttempt != nil {
		fmt.Fprintf(w, ", next attempt %s, %d so far", i.NextAttempt.Format(time.DateTime), i.Attempts)
	}
	fmt.Fprintln(w)
	for _, r := range i.Recipients {
		fmt.Fprintf(w, "    to <%s> %s %s %s\n", r.Address, r.State, r.NextHop, r.Reply)
	}
	return err
}

func whyQueue(ctx context.Context, std stdio, cfg *config.Config, a *queueArgs) (int, error) {
	return readEach(ctx, std, cfg, a.ids, func(q queueReader, id mail.ID) error {
		why, err := q.why(id)
		if err != nil {
			return err
		}
		if a.json {
			return json.NewEncoder(std.out).Encode(why)
		}
		return explainWait(std.out, id.String(), &why)
	})
}

// explainWait prints one sentence, or one for each kind of wait.
func explainWait(w io.Writer, id string, why *queue.Why) (err error) {
	for k := range why.Waits {
		wait := &why.Waits[k]
		_, err = fmt.Fprintf(w, "%s  %s: %s\n", id, firstOf(wait.Recipients), wait.Text)
	}
	return err
}

// firstOf names one, and counts the others.
func firstOf(list []mail.Path) string {
	if len(list) == 1 {
		return "<" + string(list[0]) + ">"
	}
	return fmt.Sprintf("<%s> and %d more", list[0], len(list)-1)
}

func summarizeQueue(ctx context.Context, std stdio, cfg *config.Config, a *queueArgs) (int, error) {
	err := readQueue(ctx, cfg, func(q queueReader) error {
		rows, err := q.summary(a.filter)
		if err != nil {
			return err
		}
		if a.json {
			return encodeRows(std.out, rows)
		}
		return printRows(std.out, rows)
	})
	reportDamage(std.err, spoolDir(cfg)+"/corrupt")
	return exitOK, err
}

// reportDamage says that there is something which an admin must look at. What a
// crash cut short was never acknowledged, and is none of it.
func reportDamage(w io.Writer, dir string) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return // no spool yet
	}
	n := 0
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), "tail-") {
			n++
		}
	}
	if n > 0 {
		fmt.Fprintf(w, "gateway: DAMAGE was found in the spool: %d files are kept in %s, the log has the details; remove them when you have seen them\n", n, dir)
	}
}

// ageRow is the JSON of one row: counts[i] are younger than minutes[i], the
// last ones have no bound.
type ageRow struct {
	queue.AgeRow
	Minutes []int `json:"minutes"`
}

func ageMinutes() []int {
	list := make([]int, len(queue.AgeLimits))
	for i, d := range queue.AgeLimits {
		list[i] = int(d.Minutes())
	}
	return list
}

func encodeRows(w io.Writer, rows []queue.AgeRow) error {
	minutes := ageMinutes()
	for _, r := range rows {
		if err := json.NewEncoder(w).Encode(ageRow{r, minutes}); err != nil {
			return err
		}
	}
	return nil
}

// printRows is qshape's table.
func printRows(w io.Writer, rows []queue.AgeRow) error {
	wide := len(queue.Total)
	for _, r := range rows {
		wide = max(wide, len(r.Domain))
	}
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%*s %6s", wide, "", "T")
	minutes := ageMinutes()
	for _, m := range minutes {
		fmt.Fprintf(b, " %6d", m)
	}
	fmt.Fprintf(b, " %6s\n", fmt.Sprintf("%d+", minutes[len(minutes)-1]))
	for _, r := range rows {
		fmt.Fprintf(b, "%*s %6d", wide, r.Domain, r.Total)
		for _, n := range r.Counts {
			fmt.Fprintf(b, " %6d", n)
		}
		fmt.Fprintln(b)
	}
	return b.Flush()
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"mailweir/filter"
)

func (c *checker) print(w io.Writer, f *finding, several bool) {
	if c.o.json {
		b, err := json.Marshal(f)
		if err != nil { // NaN scores and the like cannot occur in checked rules
			failed := newFinding()
			failed.File, failed.Error = f.File, err.Error()
			b, _ = json.Marshal(failed)
		}
		fmt.Fprintf(w, "%s\n", b)
		return
	}
	if f.Error != "" {
		fmt.Fprintf(w, "%s: %s\n", f.File, f.Error)
		return
	}
	if several {
		fmt.Fprintf(w, "%-10s %6.2f  %s\n", f.Action, f.Score, f.File)
		return
	}
	f.explain(w)
}

// explain is the long form: what was found, what it added up to, how long each
// stage took.
func (f *finding) explain(w io.Writer) {
	fmt.Fprintf(w, "%s: %s", f.File, f.Action)
	if f.Reason != "" {
		fmt.Fprintf(w, " (%s)", f.Reason)
	}
	fmt.Fprintf(w, "\nreply      %d %s %s\n", f.Reply.Code, f.Reply.Enhanced, f.Reply.Text)
	if f.Greylist != "" {
		fmt.Fprintf(w, "greylist   a sender that is not known would first hear: %s\n", f.Greylist)
	}
	for _, r := range f.Recipients {
		r.print(w)
	}
	for _, s := range f.Steps {
		s.print(w)
	}
	fmt.Fprintln(w, "\nsymbols")
	for k, s := range f.Symbols {
		printSymbol(w, "  ", filter.Symbol(s), f.Origins[k])
	}
	fmt.Fprintf(w, "  %7.2f  = score, tagged from %.2f (rules %s)\n", f.Score, f.Required, f.RulesHash)
	printPivots(w, "  ", f.Pivots)
	f.Learned.print(w)
	f.Structure.print(w, f.scannerState())
	f.files(w)
	for _, e := range f.Privacy {
		fmt.Fprintf(w, "privacy    %s: %s %s\n", e.Name, e.Kind, e.Reason)
	}
	fmt.Fprintln(w, "\nstages                     start       took")
	stages := slices.Clone(f.Stages)
	sort.SliceStable(stages, func(a, b int) bool { return stages[a].Start < stages[b].Start })
	for _, s := range stages {
		fmt.Fprintf(w, "  %-14s %-8s %6.1f ms  %6.1f ms  %s\n",
			s.Name, s.State, float64(s.Start)/1000, float64(s.Duration)/1000, s.Cause)
	}
}

func (r *recipientJSON) print(w io.Writer) {
	score := ""
	if r.Score != nil {
		score = fmt.Sprintf(", score %.2f", *r.Score)
	}
	fmt.Fprintf(w, "recipient  %s: %s%s\n", r.Address, r.Action, score)
	for k := range r.Effects {
		fmt.Fprintf(w, "             %s by %s\n", &r.Effects[k], r.Effects[k].Rule)
	}
	for _, s := range r.Symbols {
		if s.Score != 0 || s.Do != nil {
			fmt.Fprintf(w, "             %7.2f  %s\n", s.Score, s.Name)
		}
	}
}

// scannerState is how the virus scan ended, in words.
func (f *finding) scannerState() string {
	for _, s := range f.Stages {
		if s.Name == "clamav" {
			return strings.TrimSpace(string(s.State) + " " + printable(s.Cause))
		}
	}
	return "there is no [clamav]"
}

// files is the tree of the attachments. Where a message is ambiguous, what
// another reading gives once more, with all that lies in it, is only counted.
func (f *finding) files(w io.Writer) {
	if len(f.Attachments) == 0 {
		return
	}
	fmt.Fprintln(w, "\nattachments")
	seen, again := map[string]bool{}, 0
	for list := f.Attachments; len(list) > 0; {
		n := 1
		for n < len(list) && list[n].Depth > 0 {
			n++
		}
		var b strings.Builder
		for _, a := range list[:n] {
			b.WriteString(a.line())
		}
		if list = list[n:]; seen[b.String()] {
			again++
			continue
		}
		seen[b.String()] = true
		io.WriteString(w, b.String())
	}
	if again > 0 {
		fmt.Fprintf(w, "  %d more, in other readings, are the same\n", again)
	}
}

func (a *attachmentJSON) line() string {
	size := "not read whole"
	if a.Size >= 0 {
		size = fmt.Sprintf("%d octets", a.Size)
	}
	line := fmt.Sprintf("%*s%s (%s, %s) %s", 2+2*a.Depth, "", or(a.Name, "without a name"), or(a.Type, "no known type"), size, strings.Join(a.Symbols, " "))
	return strings.TrimRight(line, " ") + "\n"
}

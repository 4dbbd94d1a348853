package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"mailweir/filter/bayes"
)

// learnedJSON is what the learned filter's opinion hangs on.
type learnedJSON []bayes.Evidence

// print is one line for each place of the message, in log-odds: 0 is undecided,
// +4.6 is 99 % spam.
func (l learnedJSON) print(w io.Writer) {
	if len(l) == 0 {
		return
	}
	sum := 0.0
	for _, e := range l {
		sum += e.Weight
	}
	fmt.Fprintf(w, "\nlearned    log-odds of spam %+.2f: 0 is undecided, +4.6 is 99 %% spam, -4.6 is 99 %% ham\n", sum)
	for _, e := range l {
		line := fmt.Sprintf("  %+7.2f  %-18s", e.Weight, e.Place)
		for _, f := range e.Most {
			line += fmt.Sprintf("  %s %+.2f", strconv.QuoteToGraphic(f.Text), f.Weight)
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// check is one check as the gateway itself says that it ran.
type check struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Duration int64  `json:"duration_us"`
	Cause    string `json:"cause,omitempty"`
}

// checksOf asks the gateway why it did what it did with a message: a figure
// for "the full pipeline" is worth nothing when a check was skipped unseen.
func checksOf(ctx context.Context, p *process, id string) ([]check, error) {
	var err error
	for range 30 { // the history is written once a second
		var raw []byte
		cmd := exec.CommandContext(ctx, p.binary, "why", "--config", p.config, "--json", id)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if raw, err = cmd.Output(); err == nil {
			return parseChecks(raw)
		}
		err = fmt.Errorf("gateway why %s: %w\n%s", id, err, errs.String())
		if !pause(ctx, 100*time.Millisecond) {
			break
		}
	}
	return nil, err
}

// parseChecks finds the verdict among the events, one JSON object each.
func parseChecks(raw []byte) ([]check, error) {
	for d := json.NewDecoder(bytes.NewReader(raw)); ; {
		var event struct {
			Kind string `json:"kind"`
			Data struct {
				Facts struct {
					Checks []check `json:"checks"`
				} `json:"facts"`
			} `json:"data"`
		}
		if err := d.Decode(&event); err != nil {
			return nil, fmt.Errorf("no verdict in the history: %w", err)
		}
		if event.Kind == "verdict" {
			return event.Data.Facts.Checks, nil
		}
	}
}

func printChecks(w io.Writer, all map[string][]check) {
	fmt.Fprintln(w, "\nchecks that ran (last message of each scenario, from the gateway's history)")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		var words []string
		for _, c := range all[name] {
			words = append(words, c.Name+" "+c.State)
		}
		fmt.Fprintf(w, "%-15s %s\n", name, strings.Join(words, ", "))
	}
}

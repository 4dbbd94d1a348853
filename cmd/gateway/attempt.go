package main

import (
	"context"
	"log/slog"
	"time"

	"mailweir/queue"
)

// attemptRecord is what is kept and logged of a delivery attempt.
type attemptRecord struct {
	Recipient   string     `json:"recipient"`
	Result      string     `json:"result"`
	State       string     `json:"state"`
	Hold        string     `json:"hold,omitempty"`
	Destination string     `json:"destination"`
	NextHop     string     `json:"next_hop"`
	Reply       string     `json:"reply"`
	Attempts    int        `json:"attempts"`
	Next        *time.Time `json:"next_attempt,omitempty"`
	DelayMS     int64      `json:"delay_ms"`    // since the message arrived
	DurationMS  int64      `json:"duration_ms"` // of this attempt
}

// observe logs and keeps the end of a delivery attempt.
func (g *gateway) observe(a queue.Attempt) {
	r := &attemptRecord{
		Recipient: string(a.Recipient), Result: a.Outcome.Result.String(), State: a.State, Hold: a.Hold,
		Destination: string(a.Destination), NextHop: a.Outcome.NextHop, Reply: a.Outcome.Reply.String(),
		Attempts: a.Attempts, DelayMS: a.Delay.Milliseconds(), DurationMS: a.Duration.Milliseconds(),
	}
	if !a.Next.IsZero() {
		r.Next = &a.Next
	}
	g.log.LogAttrs(context.Background(), slog.LevelInfo, "delivery",
		slog.String("id", a.ID.String()),
		slog.String("reverse_path", string(a.ReversePath)),
		slog.String("recipient", r.Recipient),
		slog.String("result", r.Result),
		slog.String("state", r.State),
		slog.String("hold", r.Hold),
		slog.String("next_hop", r.NextHop),
		slog.String("reply", r.Reply),
		slog.Int("attempts", r.Attempts),
		slog.Int64("delay_ms", r.DelayMS),
		slog.Int64("duration_ms", r.DurationMS),
	)
	g.history.Append(a.ID, "attempt", time.Now(), r)
}

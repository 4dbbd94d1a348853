package main

import (
	"log/slog"
	"time"

	"mailweir/internal/jsonx"
	"mailweir/internal/logline"
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
	now := time.Now()
	logline.Log(g.log, now, slog.LevelInfo, "delivery", &deliveryLine{&a, r})
	g.history.Append(a.ID, "attempt", now, r)
}

// deliveryLine is an attempt's line in the log.
type deliveryLine struct {
	a *queue.Attempt
	r *attemptRecord
}

// AppendFields implements logline.Line.
func (l *deliveryLine) AppendFields(o *jsonx.Object) {
	o.String("id", l.a.ID.String())
	o.String("reverse_path", string(l.a.ReversePath))
	o.String("recipient", l.r.Recipient)
	o.String("result", l.r.Result)
	o.String("state", l.r.State)
	o.String("hold", l.r.Hold)
	o.String("next_hop", l.r.NextHop)
	o.String("reply", l.r.Reply)
	o.Int("attempts", int64(l.r.Attempts))
	o.Int("delay_ms", l.r.DelayMS)
	o.Int("duration_ms", l.r.DurationMS)
}

// LogValue implements slog.LogValuer, for the text format.
func (l *deliveryLine) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", l.a.ID.String()),
		slog.String("reverse_path", string(l.a.ReversePath)),
		slog.String("recipient", l.r.Recipient),
		slog.String("result", l.r.Result),
		slog.String("state", l.r.State),
		slog.String("hold", l.r.Hold),
		slog.String("next_hop", l.r.NextHop),
		slog.String("reply", l.r.Reply),
		slog.Int("attempts", l.r.Attempts),
		slog.Int64("delay_ms", l.r.DelayMS),
		slog.Int64("duration_ms", l.r.DurationMS),
	)
}

// AppendJSON implements jsonx.Appender, for the history.
func (r *attemptRecord) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.String("recipient", r.Recipient)
	o.String("result", r.Result)
	o.String("state", r.State)
	o.StringIf("hold", r.Hold)
	o.String("destination", r.Destination)
	o.String("next_hop", r.NextHop)
	o.String("reply", r.Reply)
	o.Int("attempts", int64(r.Attempts))
	if r.Next != nil {
		o.Time("next_attempt", *r.Next)
	}
	o.Int("delay_ms", r.DelayMS)
	o.Int("duration_ms", r.DurationMS)
	return o.End()
}

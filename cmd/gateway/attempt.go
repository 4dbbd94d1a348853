package main

import (
	"log/slog"
	"strings"
	"time"

	"mailweir/internal/events"
	"mailweir/internal/jsonx"
	"mailweir/internal/logline"
	"mailweir/queue"
	"mailweir/smtpd"
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
func (g *gateway) observe(a *queue.Attempt) {
	r := &attemptRecord{
		Recipient: string(a.Recipient), Result: a.Outcome.Result.String(), State: a.State, Hold: a.Hold,
		Destination: string(a.Destination), NextHop: a.Outcome.NextHop, Reply: a.Outcome.Reply.String(),
		Attempts: a.Attempts, DelayMS: a.Delay.Milliseconds(), DurationMS: a.Duration.Milliseconds(),
	}
	if !a.Next.IsZero() {
		r.Next = &a.Next
	}
	now := time.Now()
	logline.Log(g.log, now, slog.LevelInfo, "delivery", g.deliveryLine(now, a, r))
	g.history.Append(a.ID, "attempt", now, r)
	g.events.Finished(&events.Event{
		ID: a.ID, At: now, Sender: string(a.ReversePath), Recipient: r.Recipient,
		Outcome: events.Outcome{State: endOf(r), Reply: r.Reply, NextHop: r.NextHop, Done: now},
	})
}

// endOf is the state after an attempt as events have it: "pending" alone would
// not tell that nothing more is tried.
func endOf(r *attemptRecord) string {
	if r.Hold != "" {
		return "held"
	}
	return r.State
}

// deliveryLine is an attempt's line in the log.
type deliveryLine struct {
	a                             *queue.Attempt
	r                             *attemptRecord
	reversePath, recipient, reply string
}

func (g *gateway) deliveryLine(now time.Time, a *queue.Attempt, r *attemptRecord) *deliveryLine {
	l := &deliveryLine{
		a: a, r: r, reply: r.Reply,
		reversePath: g.names.Mail(now, string(a.ReversePath)), recipient: g.names.Mail(now, r.Recipient),
	}
	if l.recipient != r.Recipient {
		l.reply = codes(r.Reply) // servers repeat addresses in their text
	}
	return l
}

// codes is the part of a reply that is no text.
func codes(reply string) string {
	end := 0
	for end < len(reply) && (reply[end] == ' ' || reply[end] == '.' || '0' <= reply[end] && reply[end] <= '9') {
		end++
	}
	return strings.TrimSpace(reply[:end])
}

// Class implements logline.Classed.
func (l *deliveryLine) Class() string { return smtpd.ClassMail }

// AppendFields implements logline.Line.
func (l *deliveryLine) AppendFields(o *jsonx.Object) {
	o.String("id", l.a.ID.String())
	o.String("reverse_path", l.reversePath)
	o.String("recipient", l.recipient)
	o.String("result", l.r.Result)
	o.String("state", l.r.State)
	o.String("hold", l.r.Hold)
	o.String("next_hop", l.r.NextHop)
	o.String("reply", l.reply)
	o.Int("attempts", int64(l.r.Attempts))
	o.Int("delay_ms", l.r.DelayMS)
	o.Int("duration_ms", l.r.DurationMS)
}

// LogValue implements slog.LogValuer, for the text format.
func (l *deliveryLine) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", l.a.ID.String()),
		slog.String("reverse_path", l.reversePath),
		slog.String("recipient", l.recipient),
		slog.String("result", l.r.Result),
		slog.String("state", l.r.State),
		slog.String("hold", l.r.Hold),
		slog.String("next_hop", l.r.NextHop),
		slog.String("reply", l.reply),
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

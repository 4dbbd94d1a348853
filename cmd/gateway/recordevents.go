package main

import (
	"strings"
	"time"

	"mailweir/filter"
	"mailweir/internal/events"
	"mailweir/mail"
	"mailweir/smtpd"
)

// eventRecorder turns verdicts into events. Clients appear in them as in the
// log.
type eventRecorder struct {
	store *events.Store
	names smtpd.Names
}

// Append implements smtpd.Recorder.
func (r eventRecorder) Append(id mail.ID, kind string, at time.Time, v any) {
	record, ok := v.(*smtpd.Record)
	if !ok || kind != "verdict" {
		return
	}
	row := events.Event{
		ID: id, At: at, Sender: record.ReversePath, Client: r.names.Client(at, record.Client),
		Action: string(record.Action), Reason: record.Reason, Score: record.Score, Symbols: symbolList(record.Symbols),
		Outcome: events.Outcome{Reply: record.Reply, Done: at},
	}
	if record.Facts != nil {
		row.Size, row.TLS = record.Facts.Size, record.Facts.Client.TLS
	}
	for _, rcpt := range record.Accepted {
		e := row
		e.Recipient, e.Action, e.State = rcpt.Address, string(rcpt.Action), stateOf(record, rcpt.Action)
		for _, to := range rcpt.To { // whom rules named has an end of his own
			other := e
			other.Recipient = to
			r.store.Received(&other)
		}
		if rcpt.Away {
			e.State, e.Reply = "redirected", "to "+strings.Join(rcpt.To, ", ")
		}
		r.store.Received(&e)
	}
	for _, rcpt := range record.Refused {
		e := row
		e.Recipient, e.Reply, e.State = rcpt.Address, rcpt.Reply, "refused"
		r.store.Received(&e)
	}
}

// stateOf is how a recipient of a judged message begins.
func stateOf(r *smtpd.Record, a filter.Action) string {
	switch {
	case r.Reply == "":
		return "aborted"
	case r.Reply[0] != '2':
		return "refused"
	case a == filter.Discard:
		return "discarded"
	case a == filter.Quarantine:
		return "held"
	}
	return "queued"
}

func symbolList(list []filter.Symbol) string {
	var b strings.Builder
	for k, s := range list {
		if k > 0 {
			b.WriteByte(',')
		}
		b.WriteString(s.Name)
	}
	return b.String()
}

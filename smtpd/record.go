package smtpd

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/emersion/go-smtp"

	"mailweir/filter"
	"mailweir/filter/effect"
	"mailweir/filter/privacy"
	"mailweir/internal/logline"
)

// Record is what is kept of a transaction for `gateway why`, and what its log
// line is made of. It never holds the body.
type Record struct {
	ReversePath string `json:"reverse_path"`
	Client      string `json:"client,omitempty"`
	Helo        string `json:"helo,omitempty"`

	Action   filter.Action      `json:"action"` // "" when there was no message to judge
	Reason   string             `json:"reason,omitempty"`
	Symbol   string             `json:"symbol,omitempty"` // what decided
	Score    float64            `json:"score"`
	Required float64            `json:"required"`
	Reply    string             `json:"reply,omitempty"`
	Accepted []RecipientVerdict `json:"recipients,omitempty"`
	Refused  []RefusedRecipient `json:"refused,omitempty"`
	Symbols  []filter.Symbol    `json:"symbols,omitempty"` // weighed
	Rules    string             `json:"rules_hash,omitempty"`
	Edits    []privacy.Edit     `json:"privacy,omitempty"`
	Signed   []string           `json:"signed,omitempty"` // "selector._domainkey.domain" of our signatures
	// StrippedAs is the ID of the message that was made by taking attachments
	// out of this one, which is held.
	StrippedAs string        `json:"stripped_as,omitempty"`
	Facts      *filter.Facts `json:"facts,omitempty"`
	Timings    Timings       `json:"timings"`

	verdicts []filter.Verdict
	did      []did // by recipient; nil when no rule did anything
}

// RecipientVerdict is what became of one recipient.
type RecipientVerdict struct {
	Address string        `json:"address"`
	Action  filter.Action `json:"action"`
	// Symbols are those of this recipient, where rules or lists with a scope
	// make them others than the message's.
	Symbols []filter.Symbol `json:"symbols,omitempty"`
	Effects []effect.Effect `json:"rules,omitempty"` // what rules did
	// To is who else got the message; Away, in his place.
	To   []string `json:"to,omitempty"`
	Away bool     `json:"redirected,omitempty"`
}

// RefusedRecipient is a recipient that RCPT refused.
type RefusedRecipient struct {
	Address string `json:"address"`
	Reply   string `json:"reply"`
}

// Timings of a transaction, in microseconds.
type Timings struct {
	Total    int64 `json:"total_us"`     // MAIL to the final reply
	Data     int64 `json:"data_us"`      // 354 to the final dot
	AfterDot int64 `json:"after_dot_us"` // final dot to the reply
	Judge    int64 `json:"judge_us"`     // final dot to the verdict
	Commit   int64 `json:"commit_us"`    // verdict to durable
}

// conclude records the transaction's end: once, whatever the end was.
func (tx *transaction) conclude(j *filter.Judgement, d filter.Decision, reply *smtp.SMTPError) {
	if tx.ended {
		return
	}
	tx.ended = true
	tx.done = time.Now()
	r := &tx.record
	r.ReversePath, r.Helo = string(tx.env.ReversePath), tx.env.Client.Helo
	switch {
	case j != nil:
		r.Client = j.Facts.Client.Address
	case tx.env.Client.Addr.IsValid():
		r.Client = tx.env.Client.Addr.String()
	}
	if reply != nil {
		r.Reply = replyString(reply)
	}
	r.Timings = tx.timings()
	if j != nil {
		tx.recordVerdict(j, d, reply)
	} else {
		for _, rcpt := range tx.env.Recipients {
			r.Accepted = append(r.Accepted, RecipientVerdict{Address: string(rcpt.Path)})
		}
	}
	tx.count(reply)
	logline.Log(tx.s.gw.log, tx.done, slog.LevelInfo, "transaction", newTransactionLine(tx))
	tx.s.gw.recorder.Append(tx.env.ID, "verdict", tx.done, r)
}

func (tx *transaction) recordVerdict(j *filter.Judgement, d filter.Decision, reply *smtp.SMTPError) {
	r := &tx.record
	r.Action, r.Symbol = d.Verdict.Action, d.Verdict.Symbol
	r.Score, r.Required = d.Verdict.Score, d.Verdict.Required
	r.Symbols, r.Rules, r.Facts = j.For(d.By), j.Rules, j.Facts
	if r.Reason == "" { // a disk that failed after the verdict has said its own
		r.Reason = string(d.Verdict.Reason)
	}
	if reply.Code != 250 && severityAccepts(r.Action) {
		r.Action = filter.Defer
	}
	if reply.Code != 250 {
		r.did = nil // nothing came of it
	}
	for k, rcpt := range tx.env.Recipients {
		v := RecipientVerdict{Address: string(rcpt.Path), Action: d.Recipients[k]}
		if j.View(k) != j.View(d.By) {
			v.Symbols = j.For(k)
		}
		if r.did != nil {
			v.Effects, v.To, v.Away = r.did[k].effects, r.did[k].to, r.did[k].away
		}
		r.Accepted = append(r.Accepted, v)
	}
}

// severityAccepts reports an action that should have ended in a 250.
func severityAccepts(a filter.Action) bool { return a != filter.Defer && a != filter.Reject }

func (tx *transaction) timings() Timings {
	t := Timings{Total: tx.done.Sub(tx.begin).Microseconds()}
	if !tx.dot.IsZero() {
		t.Data = tx.dot.Sub(tx.dataBegin).Microseconds()
		t.AfterDot = tx.done.Sub(tx.dot).Microseconds()
	}
	if !tx.judged.IsZero() {
		t.Judge = tx.judged.Sub(tx.dot).Microseconds()
		t.Commit = tx.done.Sub(tx.judged).Microseconds()
	}
	return t
}

func (tx *transaction) count(reply *smtp.SMTPError) {
	m := tx.s.gw.m
	switch r := &tx.record; {
	case reply == nil: // refused at RCPT, counted there, or gone
		m.message("aborted", "")
	case reply.Code == 250:
		m.message("accepted", string(r.Action))
		tx.countEffects()
		m.size.Observe(float64(r.Facts.Size))
	case reply.Code < 500:
		m.message("deferred", string(r.Action))
		m.refused(r.Reason, reply.Code)
	default:
		m.message("rejected", string(r.Action))
		m.refused(r.Reason, reply.Code)
	}
	if !tx.dot.IsZero() {
		m.afterDot.Observe(tx.done.Sub(tx.dot).Seconds())
	}
}

func replyString(e *smtp.SMTPError) string {
	b := strconv.AppendInt(make([]byte, 0, 128), int64(e.Code), 10)
	for k, n := range e.EnhancedCode {
		b = append(b, " .."[k])
		b = strconv.AppendInt(b, int64(n), 10)
	}
	b = append(b, ' ')
	return string(append(b, e.Message...))
}

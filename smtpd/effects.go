package smtpd

import (
	"mailweir/filter"
	"mailweir/filter/effect"
	"mailweir/mail"
)

// Responder sends the answers that rules want, after the message is stored. It
// must not block.
type Responder interface {
	Respond(message mail.ID, r *effect.Reply)
}

// Answer sets who sends answers; before it is called there are none. Only before
// the first session.
func (g *Gateway) Answer(r Responder) { g.responder = r }

// effects notes what rules did to the mail of recipient k, and to whom it went.
func (tx *transaction) effects(k int, routed effect.Routed, list []effect.Effect) {
	if tx.record.did == nil {
		tx.record.did = make([]did, len(tx.env.Recipients))
	}
	d := did{effects: list}
	for _, r := range append(routed.Kept, routed.Copies...) {
		if r.Path != tx.env.Recipients[k].Path {
			d.to = append(d.to, string(r.Path))
		}
	}
	d.away = routed.Redirected
	tx.record.did[k] = d
}

// did is what rules did for one recipient.
type did struct {
	effects []effect.Effect
	to      []string // others who get the message
	away    bool     // in his place
}

// Effects are what rules would do with a message for a recipient whose verdict
// accepts it, and the answers that would be sent if none was lately.
func (set *Settings) Effects(j *filter.Judgement, env *mail.Envelope, r mail.Recipient, v filter.Verdict, action filter.Action) (effect.Routed, []*effect.Reply) {
	routed := effect.Route(r, v.Acts, set.Marks.Looped(j.Header, r.Path))
	var replies []*effect.Reply
	for _, a := range v.Acts {
		if a.AutoReply == nil {
			continue
		}
		reply, why := effect.NewReply(a, env, r.Path, j.Header, proven(j.Facts), !flagged(v, action))
		if reply != nil {
			replies = append(replies, reply)
		}
		routed.Effects = append(routed.Effects, effect.Effect{Rule: a.Symbol, Does: "auto_reply", Skipped: why})
	}
	return routed, replies
}

// answer sends the answers that are due: the message is stored.
func (tx *transaction) answer() {
	for _, replies := range tx.replies {
		for _, r := range replies {
			if tx.s.gw.responder != nil {
				tx.s.gw.responder.Respond(tx.env.ID, r)
			}
		}
	}
}

// countEffects counts what was done when the message was taken.
func (tx *transaction) countEffects() {
	for _, d := range tx.record.did {
		for i := range d.effects {
			tx.s.gw.m.effect(&d.effects[i])
		}
	}
}

// ruleWords are the log's words for what rules did: it names nobody.
func (r *Record) ruleWords() (words []string) {
	for _, d := range r.did {
		for i := range d.effects {
			e := &d.effects[i]
			word := e.Rule + " " + e.Kind()
			if e.Skipped != "" {
				word += " skipped:" + e.Skipped
			}
			words = append(words, word)
		}
	}
	return words
}

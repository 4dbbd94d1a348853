package smtpd

import (
	"slices"

	"mailweir/filter"
	"mailweir/filter/effect"
	"mailweir/mail"
)

// distribution collects who gets a message: the recipients, or in their place
// and beside them those that rules name. What holds a recipient's mail holds
// theirs, too.
type distribution struct {
	tx     *transaction
	heads  *heads
	direct []mail.Recipient // as the client named them
	others []mail.Recipient // in place of one of them
	copies []mail.Recipient
}

// add takes recipient k, with his Hold, under an action.
func (to *distribution) add(k int, r mail.Recipient, action filter.Action) {
	v := to.tx.record.verdicts[k]
	if len(v.Acts) == 0 {
		r.Head = to.heads.index(k, v, action, "")
		to.direct = append(to.direct, r)
		return
	}
	routed, replies := to.tx.s.set.Effects(to.heads.j, &to.tx.env, r, v, action)
	if routed.Redirected {
		to.others = appendTo(to.others, routed.Kept, to.heads.index(k, v, action, r.Path))
	} else {
		to.direct = appendTo(to.direct, routed.Kept, to.heads.index(k, v, action, ""))
	}
	if len(routed.Copies) > 0 {
		to.copies = appendTo(to.copies, routed.Copies, to.heads.index(k, v, action, r.Path))
	}
	to.tx.effects(k, routed, slices.Concat(to.heads.done[to.heads.j.View(k)], routed.Effects))
	if len(replies) > 0 {
		if to.tx.replies == nil {
			to.tx.replies = map[int][]*effect.Reply{}
		}
		to.tx.replies[k] = replies
	}
}

func appendTo(list, more []mail.Recipient, head int) []mail.Recipient {
	for _, r := range more {
		r.Head = head
		list = append(list, r)
	}
	return list
}

// fill gives m its recipients. Who is named twice gets it once, but for one that
// is held and one that is not.
func (to *distribution) fill(m *mail.Message) {
	m.Envelope.Recipients = to.direct
	for _, r := range slices.Concat(to.others, to.copies) {
		twice := slices.ContainsFunc(m.Envelope.Recipients, func(o mail.Recipient) bool {
			return o.Path == r.Path && (o.Hold == "" || r.Hold != "")
		})
		if !twice {
			m.Envelope.Recipients = append(m.Envelope.Recipients, r)
		}
	}
	m.Heads = to.heads.list
}

// accepted counts the recipients that a client named.
func accepted(m *mail.Message) (n int) {
	for i := range m.Envelope.Recipients {
		if !m.Envelope.Recipients[i].Generated {
			n++
		}
	}
	return n
}

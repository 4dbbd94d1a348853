package smtpd

import (
	"net/netip"
	"time"

	"github.com/emersion/go-smtp"

	"mailweir/filter"
	"mailweir/internal/rate"
	"mailweir/mail"
)

// RateBy is whose mail a Rate counts.
type RateBy string

// The values of RateBy. The first three are for strangers, the last one for
// those who log in to send mail.
const (
	ByClient       RateBy = "client"        // an IP address
	ByNetwork      RateBy = "network"       // a /24, or a /64
	BySenderDomain RateBy = "sender_domain" // accepted mail, see senderKey
	ByUser         RateBy = "user"
)

// Rate is one limit on what a sender may send in a time. A reload that does not
// change it keeps its buckets.
type Rate struct {
	By         RateBy
	Messages   *rate.Buckets  // nil: no limit
	Recipients *rate.Buckets  // nil: no limit
	Exempt     []netip.Prefix // clients that it is not for
}

// What a Rate counts.
const (
	rateMessages = iota
	rateRecipients
)

var rateWords = [...]string{rateMessages: "messages", rateRecipients: "recipients"}

func (r *Rate) buckets(what int) *rate.Buckets {
	if what == rateMessages {
		return r.Messages
	}
	return r.Recipients
}

// holds reports whether the limit is for a client.
func (r *Rate) holds(c *mail.Client) bool {
	if r.By == ByUser {
		if c.User == "" {
			return false
		}
	} else if c.Own {
		return false
	}
	for _, p := range r.Exempt {
		if p.Contains(c.Addr) {
			return false
		}
	}
	return true
}

// key is the sender's at MAIL and RCPT; nil where the Rate has none then.
func (r *Rate) key(c *mail.Client) any {
	switch {
	case r.By == ByUser:
		return c.User
	case !c.Addr.IsValid():
		return nil
	case r.By == ByClient:
		return c.Addr
	case r.By == ByNetwork:
		return filter.ClientNetwork(c.Addr)
	}
	return nil
}

// senderKey is for the domain that is authenticated, or else for the domain of
// the reverse-path from this network alone: anybody can write that, and must not
// use up what its owner may send. The null reverse-path belongs to nobody.
func senderKey(f *filter.Facts, c *mail.Client) any {
	type pair struct {
		domain  string
		network netip.Prefix
	}
	if d := filter.AuthenticatedDomain(f); d != "" {
		return pair{d, netip.Prefix{}}
	}
	if d := f.Envelope.FromDomain; d != "" {
		return pair{d, filter.ClientNetwork(c.Addr)}
	}
	return nil
}

// limited counts one message or recipient of the client, or refuses it: then
// nothing is counted.
func (s *Session) limited(what int, id mail.ID) *smtp.SMTPError {
	return s.rated(what, 1, id, replyRate, func(r *Rate) any { return r.key(&s.client) })
}

// limitedSender counts an accepted message, and its recipients, of the domain.
func (tx *transaction) limitedSender(f *filter.Facts) *smtp.SMTPError {
	if len(tx.s.set.Rates) == 0 {
		return nil
	}
	sender := senderKey(f, &tx.env.Client)
	key := func(r *Rate) any {
		if r.By != BySenderDomain {
			return nil
		}
		return sender
	}
	if reply := tx.s.rated(rateMessages, 1, tx.env.ID, replyRateLate, key); reply != nil {
		return reply
	}
	return tx.s.rated(rateRecipients, len(tx.env.Recipients), tx.env.ID, replyRateLate, key)
}

// rated asks all limits before it counts with any of them.
func (s *Session) rated(what, n int, id mail.ID, reply Reply, key func(*Rate) any) *smtp.SMTPError {
	for take := range 2 {
		for k := range s.set.Rates {
			r := &s.set.Rates[k]
			b := r.buckets(what)
			if b == nil || !r.holds(&s.client) {
				continue
			}
			who := key(r)
			switch {
			case who == nil:
			case take == 1:
				b.Take(who, n)
			default:
				if wait := b.Wait(who, n); wait > 0 {
					s.gw.m.rates.WithLabelValues(string(r.By), rateWords[what]).Inc()
					return reply.limit(what, r.By, wait, id)
				}
			}
		}
	}
	return nil
}

// limit says who sent too much of what, and when to go on.
func (r Reply) limit(what int, by RateBy, wait time.Duration, id mail.ID) *smtp.SMTPError {
	who := map[RateBy]string{ByClient: "your address", ByNetwork: "your network", BySenderDomain: "your domain", ByUser: "you"}[by]
	return r.text(r.Text + rateWords[what] + " from " + who + ": try again in " + filter.InWords(wait) + "; id " + id.String())
}

// refuseMail records a message that is refused at MAIL.
func (s *Session) refuseMail(tx *transaction, reply *smtp.SMTPError) error {
	tx.record.Reason = reasonRate
	tx.conclude(nil, filter.Decision{}, reply)
	return reply
}

const reasonRate = "rate_limit"

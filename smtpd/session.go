package smtpd

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/emersion/go-smtp"

	"mailweir/filter"
	"mailweir/filter/access"
	"mailweir/internal/recipients"
	"mailweir/mail"
)

// Session is one client's session: what the engine, or go-smtp's server,
// drives. One goroutine calls its methods.
type Session struct {
	gw     *Gateway
	ctx    context.Context // the connection's
	client mail.Client
	set    *Settings
	conn   *filter.Connection
	tx     *transaction // nil outside of a transaction
}

// connect starts the checks of the connect phase.
func (s *Session) connect(set *Settings) {
	s.set = set
	s.client.Own = s.client.Addr.IsValid() && set.Own(s.client.Addr) || s.mayBecomeOwn()
	s.conn = s.pipeline().Connect(s.ctx, s.client)
}

// Greet implements Greeter.
func (s *Session) Greet(client mail.Client) {
	own := s.client.Own
	s.client = client
	s.client.Own = own || s.mayBecomeOwn()
}

// Mail implements smtp.Session: it begins a transaction.
func (s *Session) Mail(from string, opts *smtp.MailOptions) error {
	s.end()
	// A reload between two transactions: the client is looked up again under
	// the new settings, since lists and networks may have changed.
	if set := s.gw.settings.Load(); set != s.set {
		s.conn.Close()
		s.connect(set)
	}
	now := time.Now()
	id := mail.NewID(now)
	if err := s.gw.acceptor.Room(opts.Size); err != nil {
		s.gw.m.refused("no_space", 452)
		return replyNoSpace.With(id)
	}
	if s.client.Outbound {
		if reply := s.maySend(mail.Path(from), id); reply != nil {
			return reply
		}
	}
	tx := &transaction{s: s, begin: now, sizeHint: opts.Size}
	tx.env = mail.Envelope{
		ID: id, Arrived: now, Client: s.client, ReversePath: mail.Path(from),
		EightBit: opts.Body == smtp.Body8BitMIME, UTF8: opts.UTF8,
		Return: string(opts.Return), EnvID: encodeXtext(opts.EnvelopeID),
	}
	if reply := s.limited(rateMessages, id); reply != nil {
		return s.refuseMail(tx, reply)
	}
	tx.inspection = s.conn.Begin(s.ctx, s.client, &tx.env)
	s.tx = tx
	return nil
}

// Rcpt implements smtp.Session.
func (s *Session) Rcpt(to string, opts *smtp.RcptOptions) error {
	tx, path := s.tx, mail.Path(to)
	d := s.set.domainOf(path)
	if d != nil || s.client.Outbound {
		if reply := s.limited(rateRecipients, tx.env.ID); reply != nil {
			return tx.refuse(path, reply, reasonRate)
		}
	}
	if d == nil && s.client.Outbound {
		tx.add(path, s.set.Outbound.Domain, opts)
		return nil
	}
	if d == nil {
		return tx.refuse(path, replyRelayDenied.With(tx.env.ID), "relay_denied")
	}
	// The client is judged before the recipient is looked up: who is refused
	// anyway shall not learn which addresses exist.
	if v, refused := s.set.Refused(tx.inspection, d, tx.env.ReversePath, path); refused {
		return tx.refuse(path, rejectReply(v, tx.env.ID), string(v.Reason))
	}
	if path.Routed() && !s.client.Outbound && !d.names(path) {
		return tx.refuse(path, replyRelayDenied.With(tx.env.ID), "relay_denied")
	}
	if d.Recipients != nil && !path.IsPostmaster() {
		switch d.Recipients.Verify(s.ctx, path) {
		case recipients.Known:
		case recipients.Unknown:
			return tx.refuse(path, replyUnknownRecipient.With(tx.env.ID), "unknown_recipient")
		default:
			return tx.refuse(path, replyVerifyFailed.With(tx.env.ID), "verify_unavailable")
		}
	}
	if s.client.Outbound {
		d = s.set.Outbound.Domain
	}
	tx.add(path, d, opts)
	return nil
}

// names reports that the admin has listed this very recipient. The next hop trusts
// us: what it takes for a route to elsewhere would make the two of us an open relay,
// and what it says about such a recipient proves nothing.
func (d *Domain) names(p mail.Path) bool {
	list, ok := d.Recipients.(interface{ Names(p mail.Path) bool })
	return ok && list.Names(p)
}

// domainOf is the domain that serves a recipient. Postmaster without a domain
// (RFC 5321 section 4.5.1) belongs to the first one.
func (set *Settings) domainOf(p mail.Path) *Domain {
	return set.Domains[mail.CanonicalDomain(p.Domain())]
}

// Refused decides at RCPT what needs no message: a client that an admin has
// blocked, or that the DNSBLs alone reject. Postmaster is not refused for them:
// there a listed sender can ask why.
func (set *Settings) Refused(i *filter.Inspection, d *Domain, reverse, rcpt mail.Path) (filter.Verdict, bool) {
	if rcpt.IsPostmaster() {
		return filter.Verdict{}, false
	}
	now := time.Now()
	if e := set.Access.Network(access.Block, i.ClientAddr(), rcpt, now); e != nil && !d.Policy.TagMode {
		return filter.Verdict{Action: filter.Reject, Reason: filter.ReasonBlocked, Symbol: filter.SymBlocked}, true
	}
	// Whether a domain is proven is known at the final dot, and a DNSBL must
	// not refuse before that.
	if set.Access.Network(access.Allow, i.ClientAddr(), rcpt, now) != nil || set.Access.Names(access.Allow, reverse, rcpt, now) {
		return filter.Verdict{}, false
	}
	return i.Listed(d.Policy)
}

// StartData implements Starter.
func (s *Session) StartData() error {
	intake, err := s.gw.acceptor.Begin(s.ctx, s.tx.sizeHint)
	if err != nil {
		return s.tx.fail(err)
	}
	s.tx.intake = intake
	s.tx.inspection.Receive(intake)
	return nil
}

// Data implements smtp.Session. go-smtp's server has no StartData.
func (s *Session) Data(r io.Reader) error {
	if s.tx.intake == nil {
		if err := s.StartData(); err != nil {
			return err
		}
	}
	tx := s.tx
	tx.dataBegin = time.Now()
	_, err := io.Copy(tx, r)
	tx.dot = time.Now()
	if err != nil {
		if errors.Is(err, filter.ErrHeaderTooLarge) {
			io.Copy(io.Discard, r) // the contract: r is consumed
			err = replyHeaderTooLarge.With(tx.env.ID)
		}
		return tx.fail(err)
	}
	reply := tx.finish()
	s.end()
	return reply
}

// Reset implements smtp.Session.
func (s *Session) Reset() { s.end() }

// Logout implements smtp.Session.
func (s *Session) Logout() error {
	s.end()
	s.conn.Close()
	return nil
}

// end is the one way out of a transaction, good or bad.
func (s *Session) end() {
	if s.tx != nil {
		s.tx.close()
		s.tx = nil
	}
}

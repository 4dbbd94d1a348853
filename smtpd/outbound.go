package smtpd

import (
	"context"
	"strings"

	"github.com/emersion/go-smtp"

	"mailweir/filter"
	"mailweir/filter/dmarc"
	"mailweir/internal/password"
	"mailweir/mail"
)

// Listeners for outgoing mail take it from clients of own_networks, with a
// certificate, or logged in, and from nobody else: what is not allowed here is
// refused at MAIL, whoever the recipients are.

// pipeline is the one for the session's direction.
func (s *Session) pipeline() *filter.Pipeline {
	if s.client.Outbound && s.set.Outbound != nil {
		return s.set.Outbound.Pipeline
	}
	return s.set.Pipeline
}

// mayBecomeOwn reports a client that has shown to be one of us.
func (s *Session) mayBecomeOwn() bool {
	return s.client.Outbound && (s.client.User != "" || s.client.TLS.Certificate != "")
}

// maySend refuses whoever may not send, or not with this reverse-path.
func (s *Session) maySend(from mail.Path, id mail.ID) error {
	switch {
	case s.set.Outbound == nil: // the listener's role has changed since
		s.gw.m.refused("relay_denied", replyRelayDenied.Code)
		return replyRelayDenied.With(id)
	case !s.client.Own:
		s.gw.m.refused("auth_required", replyAuthRequired.Code)
		return replyAuthRequired.With(id)
	case !s.senderAllowed(from):
		s.gw.m.refused("sender_denied", replySenderDenied.Code)
		return replySenderDenied.With(id)
	}
	return nil
}

// senderAllowed: the null reverse-path is that of DSNs and is always allowed.
func (s *Session) senderAllowed(from mail.Path) bool {
	switch o := s.set.Outbound; {
	case from.IsNull() || o.Senders == SendersAny:
		return true
	case o.Senders == SendersLogin && strings.Contains(s.client.User, "@"):
		return strings.EqualFold(string(from), s.client.User)
	}
	return s.set.ownDomain(from.Domain())
}

func (set *Settings) ownDomain(name string) bool {
	name = mail.CanonicalDomain(name)
	return name != "" && set.Domains[name] != nil
}

// fromAllowed looks at the From field, which is what people see: every domain
// in it must be ours.
func (s *Session) fromAllowed(h *mail.Header) bool {
	if s.set.Outbound.Senders == SendersAny {
		return true
	}
	authors := dmarc.ParseAuthors(h)
	for _, d := range authors.Domains {
		if !s.set.ownDomain(d) {
			return false
		}
	}
	return !authors.Malformed && !authors.More
}

// TakesPasswords implements Authenticator.
func (s *Session) TakesPasswords() bool {
	return s.client.Outbound && s.set.Outbound != nil && s.set.Outbound.Login != nil
}

// Authenticate implements Authenticator.
func (s *Session) Authenticate(ctx context.Context, user, secret string) error {
	switch s.set.Outbound.Login(ctx, s.client.Addr, user, secret) {
	case password.Right:
		s.client.User, s.client.Own = user, true
		return nil
	case password.Throttled:
		return replyAuthThrottled.Err()
	case password.Busy:
		return replyAuthBusy.Err()
	}
	return replyAuthWrong.Err()
}

var _ Authenticator = (*Session)(nil)

// appendMissing adds what RFC 5322 section 3.6 demands of every message, and
// simple clients leave out (RFC 6409 section 8).
// Nothing goes on top of a line that is no field: it would continue ours.
func appendMissing(b []byte, tx *transaction, h *mail.Header) []byte {
	if len(h.Fields) > 0 && h.Fields[0].Name() == "" {
		return b
	}
	if h.Count("Date") == 0 {
		b = append(b, "Date: "...)
		b = tx.env.Arrived.AppendFormat(b, dateFormat)
		b = append(b, "\r\n"...)
	}
	if h.Count("Message-ID") == 0 {
		b = append(b, "Message-ID: <"...)
		b = tx.env.ID.AppendTo(b)
		b = append(b, '@')
		b = append(b, tx.s.set.Hostname...)
		b = append(b, ">\r\n"...)
	}
	return b
}

// refuseFrom is the refusal of a message whose From field is somebody else's.
func (tx *transaction) refuseFrom() *smtp.SMTPError {
	tx.record.Reason = "sender_denied"
	return replyFromDenied.With(tx.env.ID)
}

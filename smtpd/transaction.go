package smtpd

import (
	"errors"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"mailweir/filter"
	"mailweir/filter/effect"
	"mailweir/mail"
)

// transaction is everything from MAIL to the end of data.
type transaction struct {
	s          *Session
	env        mail.Envelope
	domains    []*Domain // beside env.Recipients
	inspection *filter.Inspection
	intake     Intake // nil before data, and after Commit or Abort
	sizeHint   int64

	replies map[int][]*effect.Reply // by recipient: answers that rules want

	begin, dataBegin, dot, judged, done time.Time
	record                              Record
	ended                               bool // a final reply was given and recorded
}

func (tx *transaction) add(path mail.Path, d *Domain, opts *smtp.RcptOptions) {
	for _, r := range tx.env.Recipients {
		if r.Path == path {
			return // given twice, relayed once
		}
	}
	r := mail.Recipient{Path: path, Notify: notify(opts.Notify)}
	if opts.OriginalRecipient != "" {
		// The type is case-insensitive, and go-smtp has it in upper case; all
		// others write it like this (RFC 3461 section 4.2).
		r.ORcpt = strings.ToLower(string(opts.OriginalRecipientType)) + ";" + encodeXtext(opts.OriginalRecipient)
	}
	tx.env.Recipients = append(tx.env.Recipients, r)
	tx.domains = append(tx.domains, d)
}

// refuse records a recipient that was refused, and returns its reply.
func (tx *transaction) refuse(path mail.Path, reply *smtp.SMTPError, reason string) error {
	tx.record.Refused = append(tx.record.Refused, RefusedRecipient{Address: string(path), Reply: replyString(reply)})
	tx.record.Reason = reason
	tx.record.Reply = replyString(reply)
	tx.s.gw.m.refused(reason, reply.Code)
	return reply
}

// Write implements io.Writer for the arriving data: first it is kept, then the
// checks see it.
func (tx *transaction) Write(b []byte) (int, error) {
	n, err := tx.intake.Write(b)
	if err != nil {
		return n, err
	}
	return n, tx.inspection.Write(b)
}

// finish judges the complete message and stores it, or refuses it. The reply
// is an error even when it is positive: go-smtp's way to set its text.
func (tx *transaction) finish() error {
	content := tx.intake.Content()
	j := tx.inspection.Judge(content)
	tx.judged = time.Now()
	if j.Header.Count("Received") > tx.s.set.MaxHops {
		return tx.fail(TooManyHops(tx.env.ID))
	}
	if tx.env.Client.Outbound && !tx.s.fromAllowed(j.Header) {
		return tx.fail(tx.refuseFrom())
	}
	d := tx.decide(j)
	reply := ReplyFor(d.Verdict, tx.env.ID)
	if reply.Code == 250 {
		if limited := tx.limitedSender(j.Facts); limited != nil {
			reply, tx.record.Reason = limited, reasonRate
		} else if fault := tx.commit(j, &d, content); fault != nil {
			reply = fault
		} else {
			tx.answer()
		}
	}
	tx.conclude(j, d, reply)
	if (reply.Code == 250) == severityAccepts(d.Verdict.Action) { // it came to be
		for _, o := range tx.s.set.Observers {
			o.Observe(j, &d)
		}
	}
	return reply
}

// decide judges each recipient by its domain's policy.
func (tx *transaction) decide(j *filter.Judgement) filter.Decision {
	verdicts := make([]filter.Verdict, len(tx.env.Recipients))
	for k, d := range tx.domains {
		verdicts[k] = filter.Decide(j.For(k), d.PolicyFor(tx.env.Recipients[k].Path))
	}
	tx.record.verdicts = verdicts
	return filter.Combine(verdicts)
}

// PolicyFor is the domain's policy for one recipient.
func (d *Domain) PolicyFor(p mail.Path) *filter.DomainPolicy {
	if p.IsPostmaster() {
		return d.Postmaster
	}
	return d.Policy
}

// commit stores the message for the recipients that are not discarded. It
// returns the reply of a failure.
func (tx *transaction) commit(j *filter.Judgement, d *filter.Decision, content mail.Content) *smtp.SMTPError {
	copied := tx.strip(j, d, content)
	if copied != nil {
		defer copied.close()
	}
	m, heads := tx.compose(j, d, content)
	defer heads.release()
	if heads.err != nil {
		tx.s.gw.log.Error("message not signed, and so not queued", "id", tx.env.ID, "error", heads.err)
		return tx.storageReply(heads.err)
	}
	discarded := len(tx.env.Recipients) - accepted(m)
	if len(m.Envelope.Recipients) == 0 {
		tx.s.gw.acceptor.Discarded(discarded)
		return nil
	}
	// Nothing may read the intake any more when its buffer goes back.
	tx.inspection.Close()
	intake := tx.intake
	tx.intake = nil
	if err := intake.Commit(tx.s.ctx, m); err != nil {
		tx.s.gw.log.Error("message not queued", "id", tx.env.ID, "error", err)
		return tx.storageReply(err)
	}
	if copied != nil {
		if err := copied.commit(tx.s.ctx); err != nil {
			tx.s.gw.log.Error("stripped message not queued; its original is held", "id", tx.env.ID, "error", err)
			return tx.storageReply(err)
		}
	}
	if discarded > 0 {
		tx.s.gw.acceptor.Discarded(discarded)
	}
	return nil
}

// compose makes the stored message: a header section for each class of
// recipients, the holds, and whether a DSN may go back.
func (tx *transaction) compose(j *filter.Judgement, d *filter.Decision, content mail.Content) (*mail.Message, *heads) {
	m, heads := tx.message(j, mail.Section(content, int64(len(j.Header.Raw))))
	to := distribution{tx: tx, heads: heads}
	for k, r := range tx.env.Recipients {
		action, v := d.Recipients[k], tx.record.verdicts[k]
		if action == filter.Discard {
			continue
		}
		switch {
		case d.Mixed[k]:
			r.Hold = "mixed"
		case action == filter.Quarantine:
			r.Hold = "quarantine:" + holdSymbol(v)
		case action == filter.Strip:
			r.Hold = holdStripped + holdSymbol(v)
		}
		to.add(k, r, action)
	}
	to.fill(m)
	tx.record.Edits, tx.record.Signed = heads.edits, heads.signed
	return m, heads
}

// message begins a message with this body: nobody gets it yet. Its header
// sections are for it alone, since a seal covers the body.
func (tx *transaction) message(j *filter.Judgement, body mail.Content) (*mail.Message, *heads) {
	m := &mail.Message{Envelope: tx.env, Body: body}
	m.Envelope.Client.Name = j.Facts.Client.Name
	m.Envelope.MayReturn = mayReturn(&tx.env, j.Facts)
	return m, newHeads(tx, j, body)
}

// holdSymbol is what decided; a score alone is SCORE.
func holdSymbol(v filter.Verdict) string {
	if v.Symbol == "" {
		return "SCORE"
	}
	return v.Symbol
}

// mayReturn tells whether a DSN may go to the reverse-path: SPF vouches for
// it, or a DKIM signature of its own organization, or it is ours. Alignment
// with From is not enough: From and reverse-path may belong to two people.
func mayReturn(env *mail.Envelope, f *filter.Facts) bool { return env.Client.Own || proven(f) }

// proven reports that SPF or a signature speaks for the reverse-path.
func proven(f *filter.Facts) bool {
	if f.SPF.Result == "pass" && f.SPF.Identity == "mailfrom" {
		return true
	}
	org := filter.Organization(f.Envelope.FromDomain)
	for _, sig := range f.DKIM {
		if org != "" && sig.Result == "pass" && filter.Organization(mail.CanonicalDomain(sig.Domain)) == org {
			return true
		}
	}
	return false
}

// fail ends the transaction with an error that is no verdict.
func (tx *transaction) fail(err error) error {
	var reply *smtp.SMTPError
	switch {
	case errors.As(err, &reply):
		reply = withID(reply, tx.env.ID)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, smtp.ErrDataReset):
		tx.record.Reason = "connection_lost"
		if errors.Is(err, smtp.ErrDataReset) { // RSET or QUIT between two chunks
			tx.record.Reason = "reset"
		}
		tx.conclude(nil, filter.Decision{}, nil)
		return err
	default:
		tx.s.gw.log.Error("transaction failed", "id", tx.env.ID, "error", err)
		reply = tx.storageReply(err)
	}
	if tx.record.Reason == "" {
		tx.record.Reason = "refused_data"
	}
	tx.conclude(nil, filter.Decision{}, reply)
	return reply
}

// withID adds the trace ID to a refusal that the engine's reader made: it does
// not know of transactions.
func withID(e *smtp.SMTPError, id mail.ID) *smtp.SMTPError {
	if strings.Contains(e.Message, id.String()) {
		return e
	}
	named := *e
	named.Message += "; id " + id.String()
	return &named
}

// storageReply is what a client hears of a queue that does not take the
// message. A full disk has its own code, so that senders slow down.
func (tx *transaction) storageReply(err error) *smtp.SMTPError {
	tx.record.Reason = "not_queued"
	if tx.s.gw.acceptor.Room(tx.sizeHint) != nil {
		return replyNoSpace.With(tx.env.ID)
	}
	return replyNotQueued.With(tx.env.ID)
}

// close lets go of everything. A transaction that got no reply to its data is
// recorded here: its recipients were refused, or the client went away.
func (tx *transaction) close() {
	if !tx.ended && (len(tx.record.Refused) > 0 || len(tx.env.Recipients) > 0) {
		if tx.record.Reason == "" {
			tx.record.Reason = "aborted"
		}
		tx.conclude(nil, filter.Decision{}, nil)
	}
	tx.inspection.Close()
	if tx.intake != nil {
		tx.intake.Abort()
		tx.intake = nil
	}
}

// ReplyFor is the reply that a verdict means to the client.
func ReplyFor(v filter.Verdict, id mail.ID) *smtp.SMTPError {
	if v.Reply != nil && (v.Action == filter.Reject || v.Action == filter.Defer) {
		return Reply{v.Reply.Code, smtp.EnhancedCode(v.Reply.Enhanced), v.Reply.Text, false}.With(id)
	}
	switch v.Action {
	case filter.Reject:
		return rejectReply(v, id)
	case filter.Defer:
		switch v.Reason {
		case filter.ReasonScanner:
			return replyScanner.With(id)
		case filter.ReasonDNS:
			return replyDNS.With(id)
		case filter.ReasonGreylist:
			return Greylisted(v.Detail, id)
		}
		return replyDeferred.With(id)
	}
	return Queued(id)
}

// TooBig is the reply to a message over the size limit.
func TooBig(id mail.ID) *smtp.SMTPError { return replyTooBig.With(id) }

// HeaderTooLarge is the reply to a header section over its limit.
func HeaderTooLarge(id mail.ID) *smtp.SMTPError { return replyHeaderTooLarge.With(id) }

// Bare is the reply to a message with a bare CR or LF.
func Bare(id mail.ID) *smtp.SMTPError { return replyBare.With(id) }

// NUL is the reply to a message with one in it.
func NUL(id mail.ID) *smtp.SMTPError { return replyNUL.With(id) }

// TooManyHops is the reply to a message that loops.
func TooManyHops(id mail.ID) *smtp.SMTPError { return replyTooManyHops.With(id) }

func rejectReply(v filter.Verdict, id mail.ID) *smtp.SMTPError {
	switch v.Reason {
	case filter.ReasonVirus:
		return replyVirus.With(id)
	case filter.ReasonSpam:
		return replySpam.With(id)
	case filter.ReasonDMARC:
		return replyDMARC.With(id)
	case filter.ReasonOversize:
		return replyOversize.With(id)
	case filter.ReasonRelayDenied:
		return replyRelayDenied.With(id)
	case filter.ReasonUnknownRecipient:
		return replyUnknownRecipient.With(id)
	case filter.ReasonAttachment:
		return attachmentReply(v.Symbol).With(id)
	case filter.ReasonStructure:
		return structureReply(v.Symbol).With(id)
	case filter.ReasonListed:
		return Listed(v.Detail, id)
	case filter.ReasonBlocked:
		return replyBlocked.With(id)
	}
	return replyRule.With(id)
}

func notify(list []smtp.DSNNotify) mail.Notify {
	var n mail.Notify
	for _, v := range list {
		switch v {
		case smtp.DSNNotifyNever:
			n |= mail.NotifyNever
		case smtp.DSNNotifySuccess:
			n |= mail.NotifySuccess
		case smtp.DSNNotifyFailure:
			n |= mail.NotifyFailure
		case smtp.DSNNotifyDelayed:
			n |= mail.NotifyDelay
		}
	}
	return n
}

// encodeXtext is the xtext of RFC 3461 section 4: the sessions get these
// parameters decoded, the next hop wants them encoded again.
func encodeXtext(s string) string {
	const hex = "0123456789ABCDEF"
	if !strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' || r == '+' || r == '=' }) {
		return s
	}
	b := make([]byte, 0, len(s)+8)
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < '!' || c > '~' || c == '+' || c == '=' {
			b = append(b, '+', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

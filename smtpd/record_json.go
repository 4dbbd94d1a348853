package smtpd

import (
	"log/slog"
	"slices"

	"mailweir/filter"
	"mailweir/filter/effect"
	"mailweir/filter/privacy"
	"mailweir/internal/jsonx"
)

// transactionLine is the transaction's one line in the log: what of it is
// public as it is, what tells of people as Names will have it.
type transactionLine struct {
	*transaction
	client, helo, user, reversePath string
	accepted                        []RecipientVerdict
	refused                         []RefusedRecipient
}

func newTransactionLine(tx *transaction) *transactionLine {
	names, at, r := tx.s.gw.names, tx.done, &tx.record
	l := &transactionLine{
		transaction: tx, accepted: r.Accepted, refused: r.Refused,
		client: names.Client(at, r.Client), helo: names.Host(at, r.Helo),
		user: names.Mail(at, tx.env.Client.User), reversePath: names.Mail(at, r.ReversePath),
	}
	if l.accepted == nil {
		l.accepted = []RecipientVerdict{} // all were refused: an empty list, for scripts that walk it
	}
	for k, v := range r.Accepted {
		if name := names.Mail(at, v.Address); name != v.Address || v.Symbols != nil || v.Effects != nil {
			if &l.accepted[0] == &r.Accepted[0] {
				l.accepted = slices.Clone(r.Accepted)
			}
			l.accepted[k] = RecipientVerdict{Address: name, Action: v.Action}
		}
	}
	for k, v := range r.Refused {
		if name := names.Mail(at, v.Address); name != v.Address {
			if k == 0 {
				l.refused = make([]RefusedRecipient, len(r.Refused))
			}
			l.refused[k] = RefusedRecipient{name, v.Reply}
		}
	}
	return l
}

// The classes of lines, which can be kept for different times.
const (
	ClassMail       = "mail"
	ClassConnection = "connection"
	ClassAbuse      = "abuse" // what was refused
)

// Class implements logline.Classed.
func (l *transactionLine) Class() string {
	if len(l.record.Reply) > 0 && l.record.Reply[0] == '5' {
		return ClassAbuse
	}
	return ClassMail
}

// AppendFields implements logline.Line.
func (l *transactionLine) AppendFields(o *jsonx.Object) {
	r := &l.record
	o.String("id", l.env.ID.String())
	o.String("client", l.client)
	o.String("helo", l.helo)
	o.String("reverse_path", l.reversePath)
	jsonx.List(o, "recipients", l.accepted, (*RecipientVerdict).AppendJSON)
	o.String("action", string(r.Action))
	o.String("reason", r.Reason)
	o.Float("score", r.Score)
	o.String("reply", r.Reply)
	o.Value("timings", &r.Timings)
	o.StringIf("user", l.user)
	jsonx.ListIf(o, "refused", l.refused, (*RefusedRecipient).AppendJSON)
	if r.Facts != nil {
		o.Int("size", r.Facts.Size)
		o.Strings("symbols", symbolNames(r.Symbols))
	}
	jsonx.ListIf(o, "privacy", r.Edits, (*privacy.Edit).AppendJSON)
	o.StringsIf("signed", r.Signed)
	o.StringIf("stripped_as", r.StrippedAs)
	o.StringsIf("rules", r.ruleWords())
}

// LogValue implements slog.LogValuer, for the text format.
func (l *transactionLine) LogValue() slog.Value {
	r := &l.record
	attrs := []slog.Attr{
		slog.String("id", l.env.ID.String()),
		slog.String("client", l.client),
		slog.String("helo", l.helo),
		slog.String("reverse_path", l.reversePath),
		slog.Any("recipients", l.accepted),
		slog.String("action", string(r.Action)),
		slog.String("reason", r.Reason),
		slog.Float64("score", r.Score),
		slog.String("reply", r.Reply),
		slog.Any("timings", r.Timings),
	}
	if l.user != "" {
		attrs = append(attrs, slog.String("user", l.user))
	}
	if len(l.refused) > 0 {
		attrs = append(attrs, slog.Any("refused", l.refused))
	}
	if r.Facts != nil {
		attrs = append(attrs, slog.Int64("size", r.Facts.Size), slog.Any("symbols", symbolNames(r.Symbols)))
	}
	if len(r.Edits) > 0 {
		attrs = append(attrs, slog.Any("privacy", r.Edits))
	}
	if len(r.Signed) > 0 {
		attrs = append(attrs, slog.Any("signed", r.Signed))
	}
	if r.StrippedAs != "" {
		attrs = append(attrs, slog.String("stripped_as", r.StrippedAs))
	}
	if words := r.ruleWords(); len(words) > 0 {
		attrs = append(attrs, slog.Any("rules", words))
	}
	return slog.GroupValue(attrs...)
}

func symbolNames(list []filter.Symbol) []string {
	names := make([]string, len(list))
	for k, s := range list {
		names[k] = s.Name
	}
	return names
}

// AppendJSON implements jsonx.Appender: the history has one of these for each
// transaction.
func (r *Record) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.String("reverse_path", r.ReversePath)
	o.StringIf("client", r.Client)
	o.StringIf("helo", r.Helo)
	o.String("action", string(r.Action))
	o.StringIf("reason", r.Reason)
	o.StringIf("symbol", r.Symbol)
	o.Float("score", r.Score)
	o.Float("required", r.Required)
	o.StringIf("reply", r.Reply)
	jsonx.ListIf(&o, "recipients", r.Accepted, (*RecipientVerdict).AppendJSON)
	jsonx.ListIf(&o, "refused", r.Refused, (*RefusedRecipient).AppendJSON)
	jsonx.ListIf(&o, "symbols", r.Symbols, (*filter.Symbol).AppendJSON)
	o.StringIf("rules_hash", r.Rules)
	jsonx.ListIf(&o, "privacy", r.Edits, (*privacy.Edit).AppendJSON)
	o.StringsIf("signed", r.Signed)
	o.StringIf("stripped_as", r.StrippedAs)
	if r.Facts != nil {
		o.Value("facts", r.Facts)
	}
	o.Value("timings", &r.Timings)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (v *RecipientVerdict) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.String("address", v.Address)
	o.String("action", string(v.Action))
	jsonx.ListIf(&o, "symbols", v.Symbols, (*filter.Symbol).AppendJSON)
	jsonx.ListIf(&o, "rules", v.Effects, (*effect.Effect).AppendJSON)
	o.StringsIf("to", v.To)
	o.BoolIf("redirected", v.Away)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (r *RefusedRecipient) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.String("address", r.Address)
	o.String("reply", r.Reply)
	return o.End()
}

// AppendJSON implements jsonx.Appender.
func (t *Timings) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.Int("total_us", t.Total)
	o.Int("data_us", t.Data)
	o.Int("after_dot_us", t.AfterDot)
	o.Int("judge_us", t.Judge)
	o.Int("commit_us", t.Commit)
	return o.End()
}

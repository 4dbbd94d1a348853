package smtpd

import (
	"log/slog"

	"mailweir/filter"
	"mailweir/filter/privacy"
	"mailweir/internal/jsonx"
)

// transactionLine is the transaction's one line in the log.
type transactionLine transaction

// AppendFields implements logline.Line.
func (l *transactionLine) AppendFields(o *jsonx.Object) {
	r := &l.record
	o.String("id", l.env.ID.String())
	o.String("client", r.Client)
	o.String("helo", r.Helo)
	o.String("reverse_path", r.ReversePath)
	jsonx.List(o, "recipients", r.Accepted, (*RecipientVerdict).AppendJSON)
	o.String("action", string(r.Action))
	o.String("reason", r.Reason)
	o.Float("score", r.Score)
	o.String("reply", r.Reply)
	o.Value("timings", &r.Timings)
	jsonx.ListIf(o, "refused", r.Refused, (*RefusedRecipient).AppendJSON)
	if r.Facts != nil {
		o.Int("size", r.Facts.Size)
		o.Strings("symbols", symbolNames(r.Symbols))
	}
	jsonx.ListIf(o, "privacy", r.Edits, (*privacy.Edit).AppendJSON)
}

// LogValue implements slog.LogValuer, for the text format.
func (l *transactionLine) LogValue() slog.Value {
	r := &l.record
	attrs := []slog.Attr{
		slog.String("id", l.env.ID.String()),
		slog.String("client", r.Client),
		slog.String("helo", r.Helo),
		slog.String("reverse_path", r.ReversePath),
		slog.Any("recipients", r.Accepted),
		slog.String("action", string(r.Action)),
		slog.String("reason", r.Reason),
		slog.Float64("score", r.Score),
		slog.String("reply", r.Reply),
		slog.Any("timings", r.Timings),
	}
	if len(r.Refused) > 0 {
		attrs = append(attrs, slog.Any("refused", r.Refused))
	}
	if r.Facts != nil {
		attrs = append(attrs, slog.Int64("size", r.Facts.Size), slog.Any("symbols", symbolNames(r.Symbols)))
	}
	if len(r.Edits) > 0 {
		attrs = append(attrs, slog.Any("privacy", r.Edits))
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

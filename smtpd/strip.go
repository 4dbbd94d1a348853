package smtpd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailweir/filter"
	"mailweir/filter/mime"
	"mailweir/internal/jsonx"
	"mailweir/mail"
)

// holdStripped begins the reason of the hold of an original.
const holdStripped = "strip:"

// strippedCopy is the message that is relayed in place of one whose attachments
// the policy takes out. The original is held under the transaction's own ID;
// both are durable before the 250. When the second of them cannot be stored the
// client is told to try again: what is left of the first attempt is held, and
// reaches nobody by itself.
type strippedCopy struct {
	tx     *transaction
	m      *mail.Message
	intake Intake // nil after Commit or Abort
}

// Stripped is what the history keeps of a stripped message beside its
// deliveries.
type Stripped struct {
	From string `json:"from"` // the ID of the original
}

// AppendJSON implements jsonx.Appender.
func (s *Stripped) AppendJSON(b []byte) []byte {
	o := jsonx.Begin(b)
	o.String("from", s.From)
	return o.End()
}

// strip makes the copy where a recipient's verdict is Strip; nil where none is.
// Where the attachment cannot be told from the rest of the message the verdict
// becomes Quarantine: all of it is held.
func (tx *transaction) strip(j *filter.Judgement, d *filter.Decision, content mail.Content) *strippedCopy {
	if !slices.Contains(d.Recipients, filter.Strip) {
		return nil
	}
	c, err := tx.makeCopy(j, d, content)
	if err == nil {
		return c
	}
	tx.s.gw.log.Warn("attachment not taken out; the message is held", "id", tx.env.ID, "error", err)
	for k, action := range d.Recipients {
		if action == filter.Strip {
			d.Recipients[k] = filter.Quarantine
		}
	}
	if d.Verdict.Action == filter.Strip {
		d.Verdict.Action = filter.Quarantine
	}
	return nil
}

// makeCopy writes the body of the copy.
func (tx *transaction) makeCopy(j *filter.Judgement, d *filter.Decision, content mail.Content) (*strippedCopy, error) {
	with, err := tx.replacements(j.Facts, d)
	if err != nil {
		return nil, err
	}
	body := mail.Section(content, int64(len(j.Header.Raw)))
	intake, err := tx.s.gw.acceptor.Begin(tx.s.ctx, body.Size())
	if err != nil {
		return nil, err
	}
	if err := mime.Strip(intake, j.Header, body, with); err != nil {
		intake.Abort()
		return nil, err
	}
	c := &strippedCopy{tx: tx, intake: intake}
	if err := c.compose(j, d); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// compose makes the message of the recipients that get the copy.
func (c *strippedCopy) compose(j *filter.Judgement, d *filter.Decision) error {
	tx := c.tx
	m, heads := tx.message(j, mail.Section(c.intake.Content(), 0))
	m.Envelope.ID = mail.NewID(time.Now())
	to := distribution{tx: tx, heads: heads}
	for k, r := range tx.env.Recipients {
		if d.Recipients[k] == filter.Strip {
			to.add(k, r, filter.Strip)
		}
	}
	to.fill(m)
	for k := range m.Envelope.Recipients {
		m.Envelope.Recipients[k].Generated = true // the original has been accepted
	}
	c.m = m
	return heads.err
}

// errNoPlace is the cause where what is to be taken out has no place of its own
// in the message.
var errNoPlace = errors.New("smtpd: an attachment that cannot be taken out by itself")

// replacements are the texts in place of parts, by the offset of a part: of all
// classes that the policy of any of the recipients takes out, and all that their
// rules name.
func (tx *transaction) replacements(f *filter.Facts, d *filter.Decision) (map[int64]string, error) {
	classes := map[filter.AttachmentClass]bool{}
	var named []string // by rules
	for k, action := range d.Recipients {
		if action != filter.Strip {
			continue
		}
		for _, c := range tx.domains[k].Policy.Attachments.Strips() {
			classes[c] = true
		}
		for _, a := range tx.record.verdicts[k].Acts {
			named = append(named, a.Strip...)
		}
	}
	if f.AttachmentsMore > 0 {
		return nil, errNoPlace
	}
	with := map[int64]string{}
	var part *filter.AttachmentFacts // around what is looked at
	for i := range f.Attachments {
		a := &f.Attachments[i]
		if a.Depth == 0 {
			part = a
		}
		why := ""
		for _, symbol := range a.Symbols {
			if class := filter.ClassOf(symbol); why == "" && classes[class] {
				why = string(class)
			}
		}
		if why == "" && a.Named(named) {
			why = "not allowed here"
		}
		if why == "" {
			continue
		}
		if part == nil || part.Offset <= 0 {
			return nil, errNoPlace
		}
		with[part.Offset] = tx.notice(part.Shown, why)
	}
	if len(with) == 0 {
		return nil, errNoPlace
	}
	return with, nil
}

// notice is the part that stands in place of another. It is ASCII, whatever the
// name was: the message may not be allowed to hold more.
func (tx *transaction) notice(name, why string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, name)
	if name == "" {
		name = "(without a name)"
	}
	return fmt.Sprintf("Content-Type: text/plain; charset=us-ascii\r\nContent-Disposition: inline\r\n\r\n"+
		"The mail gateway %s took an attachment out of this message:\r\n\r\n    %s\r\n    (%s)\r\n\r\n"+
		"The original message is held there. Whoever runs the gateway can release it:\r\n\r\n    %s",
		tx.s.set.Hostname, name, why, tx.env.ID)
}

// commit stores the copy, after the original.
func (c *strippedCopy) commit(ctx context.Context) error {
	intake := c.intake
	c.intake = nil
	if err := intake.Commit(ctx, c.m); err != nil {
		return err
	}
	id := c.m.Envelope.ID
	c.tx.record.StrippedAs = id.String()
	c.tx.s.gw.recorder.Append(id, "stripped", time.Now(), &Stripped{From: c.tx.env.ID.String()})
	return nil
}

// close lets go of a copy that was not stored.
func (c *strippedCopy) close() {
	if c.intake != nil {
		c.intake.Abort()
	}
}

package effect

import (
	"bytes"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"mailweir/filter"
	"mailweir/mail"
)

// Reply is an automatic answer that is due (RFC 3834), if it was not given
// lately.
type Reply struct {
	Rule string
	To   mail.Path // the reverse-path, and nobody else (section 4)
	From mail.Path // the recipient who answers
	Days int       // until the same sender gets it again
	Text string

	subject, messageID string
	references         []string
}

// The words of Skipped for an answer, in the order of the questions.
const (
	NoSender       = "null_reverse_path"
	NotProven      = "sender_not_proven" // neither SPF nor a DKIM signature speaks for the reverse-path
	NotAccepted    = "not_accepted"      // it is held, or flagged as spam
	Automatic      = "automatic"         // Auto-Submitted, or a program's address
	List           = "list"              // of a mailing list, or sent in bulk
	NotNamed       = "recipient_not_named"
	OwnAddress     = "own_address" // the sender is the recipient
	AnsweredLately = "answered_lately"
)

// NewReply is the answer of a rule to a message, or why there is none. proven:
// SPF or a DKIM signature of its own organization speaks for the reverse-path.
func NewReply(a filter.RuleAct, env *mail.Envelope, rcpt mail.Path, h *mail.Header, proven, accepted bool) (*Reply, string) {
	switch from := env.ReversePath; {
	case from.IsNull() || from.Domain() == "":
		return nil, NoSender
	case !proven:
		return nil, NotProven
	case !accepted:
		return nil, NotAccepted
	case from.Mailbox() == rcpt.Mailbox():
		return nil, OwnAddress
	case automatic(h) || program(from):
		return nil, Automatic
	case bulk(h):
		return nil, List
	case !named(h, rcpt):
		return nil, NotNamed
	}
	r := &Reply{
		Rule: a.Symbol, To: env.ReversePath, From: rcpt, Days: a.AutoReply.Days, Text: a.AutoReply.Text,
		subject: subjectOf(h), messageID: messageIDs(h.Value("Message-ID"), 1)[0],
	}
	r.references = messageIDs(h.Value("References"), maxReferences)
	return r, ""
}

// automatic reports what no person has sent (section 2; section 5 for the
// field). Microsoft's servers have a field of their own for the wish.
func automatic(h *mail.Header) bool {
	for _, f := range h.Fields {
		switch {
		case f.Is("Auto-Submitted"):
			word, _, _ := strings.Cut(strings.ToLower(f.Value()), ";")
			word, _, _ = strings.Cut(word, "(")
			if strings.TrimSpace(word) != "no" {
				return true
			}
		case f.Is("X-Auto-Response-Suppress"):
			v := strings.ToLower(f.Value())
			if strings.Contains(v, "all") || strings.Contains(v, "oof") || strings.Contains(v, "autoreply") {
				return true
			}
		}
	}
	return false
}

// program reports an address that no person reads (section 2).
func program(p mail.Path) bool {
	local := strings.ToLower(p.Unquoted())
	switch local {
	case "mailer-daemon", "listserv", "majordomo", "postmaster", "noreply", "no-reply", "donotreply", "do-not-reply", "bounce", "bounces":
		return true
	}
	return strings.HasPrefix(local, "owner-") || strings.HasSuffix(local, "-owner") || strings.HasSuffix(local, "-request") ||
		strings.HasPrefix(local, "bounce-") || strings.HasPrefix(local, "bounces+")
}

// bulk reports mail to many.
func bulk(h *mail.Header) bool {
	for _, f := range h.Fields {
		if len(f.NameBytes()) > 5 && strings.EqualFold(string(f.NameBytes()[:5]), "List-") {
			return true
		}
		if f.Is("Precedence") {
			switch strings.ToLower(f.Value()) {
			case "bulk", "junk", "list":
				return true
			}
		}
	}
	return false
}

// named reports a recipient whom the message itself names: who got it without
// that, or by a list, is not answered for (section 2).
func named(h *mail.Header, rcpt mail.Path) bool {
	address := rcpt.Mailbox()
	for _, f := range h.Fields {
		if !slices.ContainsFunc([]string{"To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc"}, f.Is) {
			continue
		}
		words := strings.FieldsFunc(f.Value(), func(r rune) bool { return strings.ContainsRune("<>,;: \t\r\n", r) })
		for _, w := range words {
			if p, err := mail.ParsePath(w, true); err == nil && p.Domain() != "" && p.Mailbox() == address {
				return true
			}
		}
	}
	return false
}

// maxSubject bounds what an answer repeats of the subject, in octets.
const maxSubject = 200

// subjectOf is the subject as it can be repeated: decoded, printable, short.
func subjectOf(h *mail.Header) string {
	s, err := new(mime.WordDecoder).DecodeHeader(h.Value("Subject"))
	if err != nil {
		return ""
	}
	s = strings.ToValidUTF8(s[:min(len(s), maxSubject)], "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s))
}

const maxReferences = 10

// messageID is compiled when it is first used: the start of every command would
// pay for it.
var messageID = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`<[!-;=?-~]{1,200}@[!-;=?-~]{1,200}>`)
})

// messageIDs are the last n message IDs in s that can be repeated; at least one,
// which may be "".
func messageIDs(s string, n int) []string {
	all := messageID().FindAllString(s, -1)
	if len(all) == 0 {
		return []string{""}
	}
	return all[max(0, len(all)-n):]
}

// Message is the answer as a message: the null reverse-path ends all loops
// (section 3.3), and nobody hears of its end.
func (r *Reply) Message(hostname string, now time.Time) (env *mail.Envelope, head, body []byte) {
	env = &mail.Envelope{
		ID: mail.NewID(now), Arrived: now,
		Recipients: []mail.Recipient{{Path: r.To, Notify: mail.NotifyNever}},
	}
	var h bytes.Buffer
	fmt.Fprintf(&h, "From: <%s>\r\nTo: <%s>\r\n", r.From, r.To)
	fmt.Fprintf(&h, "Subject: %s\r\n", encoded("Auto: "+r.subject, ""))
	fmt.Fprintf(&h, "Date: %s\r\nMessage-ID: <%s@%s>\r\n", now.Format(time.RFC1123Z), env.ID, hostname)
	if r.messageID != "" {
		refs := slices.DeleteFunc(append(r.references, r.messageID), func(s string) bool { return s == "" })
		fmt.Fprintf(&h, "In-Reply-To: %s\r\nReferences: %s\r\n", r.messageID, strings.Join(refs, "\r\n "))
	}
	h.WriteString("Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n")
	h.WriteString("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	var text bytes.Buffer
	qp := quotedprintable.NewWriter(&text)
	qp.Write([]byte(strings.ReplaceAll(strings.TrimRight(r.Text, "\n")+"\n", "\n", "\r\n"))) // a bytes.Buffer takes all
	qp.Close()
	env.UTF8 = strings.ContainsFunc(string(r.From)+string(r.To), func(c rune) bool { return c > '~' })
	return env, h.Bytes(), text.Bytes()
}

// Key names the sender, the one who answers, and the rule: what may be answered
// once in a while.
func (r *Reply) Key() string { return r.Rule + "\x00" + r.From.Mailbox() + "\x00" + r.To.Mailbox() }
